-- Turns that wait for their model without a worker.

-- `retry_at`: a turn with status 'waiting' and this is to ask its model again then. `model_wait`: what it has gone through,
-- as the chat worker reads it.
ALTER TABLE tasks ADD COLUMN retry_at timestamptz, ADD COLUMN model_wait jsonb;
