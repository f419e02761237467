-- Sessions, messages, tasks (turns) and dead letters.

CREATE TABLE sessions (
    id              text PRIMARY KEY,
    user_id         text,
    title           text,
    title_by_user   boolean NOT NULL DEFAULT false,
    next_sequence   bigint NOT NULL DEFAULT 1,
    active_task_id  text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_newest ON sessions (user_id, updated_at DESC, id DESC);

CREATE TABLE messages (
    session_id  text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    id          text NOT NULL,
    sequence    bigint NOT NULL,
    role        text NOT NULL CHECK (role IN ('user', 'assistant')),
    parts       jsonb NOT NULL,
    metadata    jsonb,
    -- An assistant message is written at its turn's start, to have its place, and is done at its end.
    done        boolean NOT NULL,
    -- Regenerated answers and what followed an edited message: kept, but no longer part of the conversation.
    superseded  boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, id),
    UNIQUE (session_id, sequence)
);

CREATE TABLE tasks (
    id                   text PRIMARY KEY,
    session_id           text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id              text,
    user_message_id      text NOT NULL,
    message_id           text NOT NULL,
    -- The assistant message's sequence: the order of turns within a session.
    sequence             bigint NOT NULL,
    status               text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    attempt              integer NOT NULL DEFAULT 0,
    model                text,
    error                jsonb,
    usage                jsonb,
    traceparent          text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    started_at           timestamptz,
    cancel_requested_at  timestamptz,
    ended_at             timestamptz,
    -- The end's effects outside of Postgres (stream closed, next turn released) are done.
    settled_at           timestamptz
);
CREATE INDEX tasks_live ON tasks (session_id, sequence) WHERE status IN ('queued', 'running', 'waiting');
CREATE INDEX tasks_live_by_id ON tasks (id) WHERE status IN ('queued', 'running', 'waiting');
CREATE INDEX tasks_unsettled ON tasks (ended_at) WHERE ended_at IS NOT NULL AND settled_at IS NULL;
CREATE INDEX tasks_by_user_message ON tasks (session_id, user_message_id, sequence DESC);
CREATE INDEX tasks_by_message ON tasks (session_id, message_id);

CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue       text NOT NULL,
    entry_id    text NOT NULL,
    body        bytea NOT NULL,
    reason      text NOT NULL,
    deliveries  integer NOT NULL,
    task_id     text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (queue, entry_id)
);
