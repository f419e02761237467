-- What people think of answers, and links by which others may read a conversation.

-- One row an answer: 1 is good, -1 is not.
CREATE TABLE feedback (
    session_id  text NOT NULL,
    message_id  text NOT NULL,
    rating      smallint NOT NULL CHECK (rating IN (-1, 1)),
    comment     text NOT NULL DEFAULT '',
    -- Which model had answered, as far as that is known.
    model       text,
    given_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, message_id),
    FOREIGN KEY (session_id, message_id) REFERENCES messages (session_id, id) ON DELETE CASCADE
);
CREATE INDEX feedback_newest ON feedback (given_at);

-- At most one link a conversation. It shows what leads to one message, and of that message so many parts.
CREATE TABLE shares (
    session_id  text PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    token       text NOT NULL UNIQUE,
    message_id  text NOT NULL,
    parts       integer NOT NULL,
    shared_at   timestamptz NOT NULL DEFAULT now()
);
