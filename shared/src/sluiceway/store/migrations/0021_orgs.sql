-- People of organisations: their owner's name begins with that of the organisation, `org:ORG:USER`, see ADR 32.

-- '' for who is in none.
CREATE FUNCTION org_of(owner text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN owner LIKE 'org:%' THEN split_part(owner, ':', 2) ELSE '' END
$$;
