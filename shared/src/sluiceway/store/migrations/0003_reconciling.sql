-- What the reconciler asks for in every round is found without reading what has ended.

CREATE INDEX operations_unfinished ON operations (id) WHERE status IN ('pending', 'running');
CREATE INDEX tasks_ended ON tasks (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_stranded ON tasks (id) WHERE status = 'waiting' AND open_operations = 0;
