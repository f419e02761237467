-- Files that people and tools attach. The bytes are in an object store, each under its file's id.
CREATE TABLE files (
    id          text PRIMARY KEY,
    user_id     text,
    -- The conversation that it belongs to, and goes with. Null: no message has named it yet.
    session_id  text REFERENCES sessions (id) ON DELETE CASCADE,
    name        text NOT NULL,
    media_type  text NOT NULL,
    -- While its bytes are coming: how many they may become.
    size        bigint NOT NULL,
    sha256      text NOT NULL DEFAULT '',
    -- Null: its bytes are still coming.
    stored_at   timestamptz,
    -- What a model is told of a document that was read already: {text, problem}.
    reading     jsonb,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX files_by_session ON files (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX files_by_owner ON files (user_id, id);
CREATE INDEX files_unattached ON files (created_at) WHERE session_id IS NULL;

-- Objects whose file has gone, however it went: the outbox of what is to be removed from the object store.
CREATE TABLE file_removals (
    id          text PRIMARY KEY,
    removed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX file_removals_oldest ON file_removals (removed_at);

CREATE FUNCTION note_removed_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO file_removals (id) VALUES (OLD.id) ON CONFLICT (id) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER files_removed AFTER DELETE ON files FOR EACH ROW EXECUTE FUNCTION note_removed_file();
