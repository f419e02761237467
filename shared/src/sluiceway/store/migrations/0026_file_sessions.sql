-- A file belongs to every conversation that names it: to the one that named it first, and to those that were forked from
-- it. It goes with the last of them. `files.session_id` is one of these; who sets it need not know of this table.
ALTER TABLE files DROP CONSTRAINT files_session_id_fkey;

CREATE TABLE file_sessions (
    session_id  text NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    file_id     text NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    PRIMARY KEY (session_id, file_id)
);
CREATE INDEX file_sessions_by_file ON file_sessions (file_id, session_id);

INSERT INTO file_sessions (session_id, file_id) SELECT session_id, id FROM files WHERE session_id IS NOT NULL;
-- Forks from before: their messages have the ids of those that they were copied from.
INSERT INTO file_sessions (session_id, file_id)
    SELECT DISTINCT fork.id, f.id FROM files f
    JOIN messages m ON m.session_id = f.session_id AND strpos(m.parts::text, f.id) > 0
    JOIN sessions fork ON fork.user_id = f.user_id AND fork.id <> f.session_id
    JOIN messages copied ON copied.session_id = fork.id AND copied.id = m.id
    ON CONFLICT DO NOTHING;

CREATE FUNCTION note_file_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.session_id IS NOT NULL THEN
        INSERT INTO file_sessions (session_id, file_id) VALUES (NEW.session_id, NEW.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER files_attached AFTER INSERT OR UPDATE OF session_id ON files
    FOR EACH ROW EXECUTE FUNCTION note_file_session();

-- Of two that go at once the second waits here, and finds what the first has left.
CREATE FUNCTION leave_file_session() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    other text;
BEGIN
    PERFORM 1 FROM files WHERE id = OLD.file_id FOR UPDATE;
    SELECT session_id INTO other FROM file_sessions WHERE file_id = OLD.file_id ORDER BY session_id LIMIT 1;
    IF other IS NULL THEN
        DELETE FROM files WHERE id = OLD.file_id;
    ELSE
        UPDATE files SET session_id = other WHERE id = OLD.file_id AND session_id = OLD.session_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER file_sessions_left AFTER DELETE ON file_sessions
    FOR EACH ROW EXECUTE FUNCTION leave_file_session();

-- As of 0025, with a line for this table.
CREATE OR REPLACE FUNCTION build_walls() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own constant text := 'org_of(user_id) = current_setting(''sluiceway.org'', true)';
    -- What these look at is behind the wall itself.
    of_session constant text := 'EXISTS (SELECT FROM sessions s WHERE s.id = session_id)';
    of_task constant text := 'EXISTS (SELECT FROM tasks t WHERE t.id = task_id)';
    of_operation constant text := 'EXISTS (SELECT FROM operations o WHERE o.id = operation_id)';
BEGIN
    PERFORM build_wall('sessions', own), build_wall('tasks', own), build_wall('files', own);
    PERFORM build_wall('usage_days', own), build_wall('understandings', own);
    PERFORM build_wall('messages', of_session), build_wall('message_words', of_session);
    PERFORM build_wall('operations', of_session), build_wall('model_calls', of_session);
    PERFORM build_wall('compactions', of_session), build_wall('feedback', of_session), build_wall('shares', of_session);
    PERFORM build_wall('file_sessions', of_session);
    PERFORM build_wall('webhook_journal', of_operation), build_wall('dead_letters', of_task);
    PERFORM build_wall('parked_completions', of_task || ' OR ' || of_operation);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sluiceway_walled', current_schema());
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO sluiceway_walled', current_schema());
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES'
                   ' TO sluiceway_walled', current_schema());
END $$;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'org_wall') THEN
        PERFORM build_walls();
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no wall between organisations for file_sessions: %', SQLERRM;
END $$;
