-- People of organisations: their owner's name begins with that of the organisation, `org:ORG:USER`, see ADR 32.

-- '' for who is in none.
CREATE FUNCTION org_of(owner text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN owner LIKE 'org:%' THEN split_part(owner, ':', 2) ELSE '' END
$$;

-- For the limit of an organisation's turns. It has rows only where there are organisations.
CREATE INDEX tasks_live_by_org ON tasks (org_of(user_id))
    WHERE status IN ('queued', 'running', 'waiting') AND user_id LIKE 'org:%';
