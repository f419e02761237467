-- Operations (tool calls), their approvals, the webhook journal, and completions that came too early.

CREATE TABLE operations (
    id            text PRIMARY KEY,
    -- The order of calls within a step.
    place         bigint GENERATED ALWAYS AS IDENTITY,
    task_id       text NOT NULL REFERENCES tasks ON DELETE CASCADE,
    session_id    text NOT NULL,
    message_id    text NOT NULL,
    -- Of which step of the message it is a call: 1 is the first.
    step          integer NOT NULL,
    tool_call_id  text NOT NULL,
    tool_name     text NOT NULL,
    input         jsonb NOT NULL,
    queue         text NOT NULL,
    -- approval: waits for a person. pending: queued. accepted: an outside service works on it.
    status        text NOT NULL CHECK (status IN ('approval', 'pending', 'running', 'accepted',
                                                  'succeeded', 'failed', 'denied', 'expired', 'cancelled')),
    -- How often a runner has begun it.
    attempt       integer NOT NULL DEFAULT 0,
    runner        text,
    approval_id   text,
    -- What the person said: {"approved": bool, "reason": text or absent, "by": user or absent}
    approval      jsonb,
    -- The whole result, also where what the conversation carries was shortened.
    output        jsonb,
    error         jsonb,
    -- Which completion ended it, where that named only the task: a digest of it, so that its repeat ends no other one.
    completed_by  text,
    traceparent   text,
    deadline_seconds double precision NOT NULL,
    deadline_at   timestamptz NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    ended_at      timestamptz,
    UNIQUE (session_id, message_id, tool_call_id)
);
CREATE INDEX operations_by_task ON operations (task_id);
CREATE INDEX operations_open ON operations (deadline_at)
    WHERE status IN ('approval', 'pending', 'running', 'accepted');

-- Operations of the task that have to end before its next step: those neither ended nor waiting for a person.
ALTER TABLE tasks ADD COLUMN open_operations integer NOT NULL DEFAULT 0;
-- A turn that goes on with a message, after an approval: how many parts the message had when the turn began.
ALTER TABLE tasks ADD COLUMN parts_before integer NOT NULL DEFAULT 0;
CREATE INDEX tasks_waiting ON tasks (id) WHERE status = 'waiting';

-- The ended turn whose tool calls wait for a person. Another message in the session takes its place.
ALTER TABLE sessions ADD COLUMN approval_task_id text;

-- Every webhook that was taken, with what came of it.
CREATE TABLE webhook_journal (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id  text NOT NULL REFERENCES operations ON DELETE CASCADE,
    webhook_id    text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('complete', 'progress')),
    -- Who sent it: an outside service by its signature, or a caller inside by its key.
    sender        text NOT NULL CHECK (sender IN ('signature', 'api-key')),
    body          jsonb NOT NULL,
    -- received: to be applied. applied. late: its operation had ended. superseded: a progress that a later one overtook.
    outcome       text NOT NULL CHECK (outcome IN ('received', 'applied', 'late', 'superseded')),
    received_at   timestamptz NOT NULL DEFAULT now(),
    applied_at    timestamptz,
    UNIQUE (operation_id, kind, webhook_id)
);
CREATE INDEX webhook_journal_unapplied ON webhook_journal (received_at) WHERE outcome = 'received';

-- Completions for operations that nobody knows yet.
CREATE TABLE parked_completions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id  text,
    task_id       text,
    body          jsonb NOT NULL,
    parked_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX parked_completions_by_operation ON parked_completions (operation_id);
