-- A turn is continued once, whoever tries, and however often.
CREATE UNIQUE INDEX tasks_continues ON tasks (continues) WHERE continues IS NOT NULL;
