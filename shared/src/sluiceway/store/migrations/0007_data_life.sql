-- How a Postgres that went back is noticed: a number that only grows, which the reconciler also keeps in Redis.
CREATE TABLE store_mark (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    number  bigint NOT NULL
);
INSERT INTO store_mark (number) VALUES (1);

-- What was deleted, by the ids of its turns and operations, without a word of it: the outbox of what has to be erased from
-- Redis, and by what a late word about it is known, and dropped.
CREATE TABLE erasures (
    -- Of a turn, or of an operation.
    id          text PRIMARY KEY,
    task_id     text NOT NULL,
    session_id  text NOT NULL,
    deleted_at  timestamptz NOT NULL DEFAULT now(),
    -- On the turn's own row: when its keys are to be erased from Redis, again. Null: that is done.
    due_at      timestamptz,
    passes      integer NOT NULL DEFAULT 0
);
CREATE INDEX erasures_due ON erasures (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX erasures_by_task ON erasures (task_id);
CREATE INDEX erasures_due_by_session ON erasures (session_id) WHERE due_at IS NOT NULL;
CREATE INDEX erasures_oldest ON erasures (deleted_at);

CREATE INDEX dead_letters_by_task ON dead_letters (task_id);
CREATE INDEX parked_completions_by_task ON parked_completions (task_id);

-- Since when a message is no longer part of its conversation. Null: from before this column, or it is.
ALTER TABLE messages ADD COLUMN superseded_at timestamptz;

-- What retention asks for is found without reading what stays.
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX webhook_journal_dealt_with ON webhook_journal (received_at) WHERE outcome <> 'received';
CREATE INDEX dead_letters_oldest ON dead_letters (created_at);
CREATE INDEX messages_superseded ON messages (coalesce(superseded_at, created_at)) WHERE superseded AND parts <> '[]';
CREATE INDEX sessions_idle ON sessions (updated_at) WHERE active_task_id IS NULL;
CREATE INDEX sessions_idle_anonymous ON sessions (updated_at) WHERE active_task_id IS NULL AND user_id LIKE 'anon:%';

-- What one person has, page by page.
CREATE INDEX sessions_by_owner ON sessions (user_id, id);

-- That a person's data were erased, by whom, and how many rows they were. Whose, only a digest says.
CREATE TABLE erasure_receipts (
    id          text PRIMARY KEY,
    person      text NOT NULL,
    erased_by   text NOT NULL,
    counts      jsonb NOT NULL,
    erased_at   timestamptz NOT NULL DEFAULT now()
);
