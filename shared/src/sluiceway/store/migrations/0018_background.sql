-- A turn that only waits for operations makes room for the next message, and another turn continues it (ADR 29).

-- Since when: it is not its session's active turn any more, and no worker takes it.
ALTER TABLE tasks ADD COLUMN background_at timestamptz;
-- Of a turn that continues another one with its results: that one.
ALTER TABLE tasks ADD COLUMN continues text;
-- Its message need not wait for a turn that only waits for operations.
ALTER TABLE tasks ADD COLUMN chats_on boolean NOT NULL DEFAULT false;
