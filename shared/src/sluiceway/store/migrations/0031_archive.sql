-- A conversation that its owner has put out of the list, since when.
ALTER TABLE sessions ADD COLUMN archived_at timestamptz;
