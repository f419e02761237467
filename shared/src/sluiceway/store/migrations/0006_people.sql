-- What this takes locks for is done at once; what takes its time with large tables is in files of its own behind it.

-- What model calls have used.

-- One row for each call of a model, also where it failed or was stopped. It goes with its turn.
CREATE TABLE model_calls (
    -- Made before it is written, so that it counts once however often that is tried.
    id                text PRIMARY KEY,
    task_id           text NOT NULL REFERENCES tasks ON DELETE CASCADE,
    session_id        text NOT NULL,
    -- Which attempt at the turn, and which step of its message: 1 is the first. 0: for no step, such as a title.
    attempt           integer NOT NULL,
    step              integer NOT NULL,
    purpose           text NOT NULL,
    model             text NOT NULL,
    outcome           text NOT NULL CHECK (outcome IN ('answered', 'failed', 'stopped')),
    -- The server told no tokens: they are an estimate, from characters.
    estimated         boolean NOT NULL,
    input_tokens      bigint NOT NULL,
    output_tokens     bigint NOT NULL,
    -- Of the output, and of the input.
    reasoning_tokens  bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    -- In USD; NULL: no price is known.
    cost              double precision,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX model_calls_by_task ON model_calls (task_id);
CREATE INDEX model_calls_by_session ON model_calls (session_id);

-- The sums by user and day (UTC). They stay when a session is deleted. `slot`: turns of one user that end at once do not
-- wait for one another's row; the sum is over all of them.
CREATE TABLE usage_days (
    -- '' is the one person of a gateway without users.
    user_id           text NOT NULL,
    day               date NOT NULL,
    model             text NOT NULL,
    slot              smallint NOT NULL,
    calls             bigint NOT NULL,
    input_tokens      bigint NOT NULL,
    output_tokens     bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    cost              double precision NOT NULL,
    -- Calls of a model without a price: the cost is without them.
    unpriced          bigint NOT NULL,
    PRIMARY KEY (user_id, day, model, slot)
);
CREATE INDEX usage_days_by_day ON usage_days (day);

-- Titles that a model makes.

-- Which turn has begun to make one, and when: until that is old, no other turn does.
ALTER TABLE sessions ADD COLUMN title_task_id text;
ALTER TABLE sessions ADD COLUMN title_begun_at timestamptz;

-- Which prompt a turn was answered with: {"name", "version", "source"}.
ALTER TABLE tasks ADD COLUMN prompt jsonb;

-- What is known about a person, as a JSON object. '' is the one person of a gateway without users.
CREATE TABLE understandings (
    user_id     text PRIMARY KEY,
    facts       jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Full-text search over messages.

-- The text of a message, as far as it is looked through. The bound keeps its words below what a tsvector can hold; what
-- stands in angle brackets would be taken for a tag, and left out.
CREATE FUNCTION text_of_parts(parts jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(translate(coalesce(
        string_agg(part->>'text', E'\n' ORDER BY place) FILTER (WHERE part->>'type' = 'text'), ''), '<>', '  '), 50000)
    FROM jsonb_array_elements(CASE jsonb_typeof(parts) WHEN 'array' THEN parts ELSE '[]' END)
        WITH ORDINALITY AS p (part, place)
$$;

-- Beside the messages, so that reading those reads no words.
CREATE TABLE message_words (
    session_id  text NOT NULL,
    message_id  text NOT NULL,
    words       tsvector NOT NULL,
    PRIMARY KEY (session_id, message_id),
    FOREIGN KEY (session_id, message_id) REFERENCES messages ON DELETE CASCADE
);
-- What gathers before it goes into the index is little, so that no single message waits for much of it.
CREATE INDEX message_words_found ON message_words USING gin (words) WITH (gin_pending_list_limit = 256);

CREATE FUNCTION keep_message_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_words (session_id, message_id, words)
        VALUES (NEW.session_id, NEW.id, to_tsvector('simple', text_of_parts(NEW.parts)))
        ON CONFLICT (session_id, message_id) DO UPDATE SET words = excluded.words;
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_words AFTER INSERT OR UPDATE OF parts, done ON messages
    FOR EACH ROW WHEN (NEW.done) EXECUTE FUNCTION keep_message_words();
