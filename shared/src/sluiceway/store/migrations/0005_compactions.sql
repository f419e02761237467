-- Where a conversation that outgrew a model's window is cut, and what was said before that, in short.

CREATE TABLE compactions (
    session_id        text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    -- The last message that is no longer sent. A later cut-off takes the place of earlier ones.
    through_sequence  bigint NOT NULL,
    -- None: it was cut off without a word.
    summary           text,
    -- Which model wrote it, and the tokens that it took.
    model             text,
    usage             jsonb,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, through_sequence)
);
