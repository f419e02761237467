-- The second wall between organisations: what the role `sluiceway_walled` sees of people is of the organisation that the
-- setting `sluiceway.org` of its transaction names, whatever its statements say. See ADR 32.

-- No other role is held up: for it the policies are `true`, which costs nothing.
CREATE FUNCTION build_wall(name text, condition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP POLICY IF EXISTS open_to_services ON %I', name);
    EXECUTE format('DROP POLICY IF EXISTS org_wall ON %I', name);
    EXECUTE format('CREATE POLICY open_to_services ON %I USING (true)', name);
    EXECUTE format('CREATE POLICY org_wall ON %I AS RESTRICTIVE TO sluiceway_walled USING (%s)', name, condition);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
END $$;

-- May be done again. Where a table comes that has something of people's: a line here, in a migration that replaces this.
CREATE FUNCTION build_walls() RETURNS void LANGUAGE plpgsql AS $$
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
    PERFORM build_wall('webhook_journal', of_operation), build_wall('dead_letters', of_task);
    PERFORM build_wall('parked_completions', of_task || ' OR ' || of_operation);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sluiceway_walled', current_schema());
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO sluiceway_walled', current_schema());
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES'
                   ' TO sluiceway_walled', current_schema());
END $$;

-- A role belongs to all databases of a server, and another may have made it. Who may not make one has no wall, and needs
-- none before there are organisations: then the gateway asks for it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluiceway_walled') THEN
        BEGIN
            CREATE ROLE sluiceway_walled NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'sluiceway_walled', 'MEMBER') THEN
        EXECUTE format('GRANT sluiceway_walled TO %I', current_user);
    END IF;
    PERFORM build_walls();
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no wall between organisations: %', SQLERRM;
END $$;
