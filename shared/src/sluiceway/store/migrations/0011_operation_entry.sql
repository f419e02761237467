-- Under which queue entry an operation was begun: while that entry's lease is renewed, its runner lives.
ALTER TABLE operations ADD COLUMN entry_id text;
