-- The same words as before, in a database that is not in UTF8, too: there Postgres knows no such characters, and a message
-- with an accent could not be stored. In plpgsql, as a planner that knows the text computes every branch of an SQL function.

CREATE OR REPLACE FUNCTION spread_text(said text, mark text DEFAULT '_') RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN
        RETURN said;
    END IF;
    RETURN regexp_replace(said, '([\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])',
        mark || '\1' || mark, 'g');
END
$$;

CREATE OR REPLACE FUNCTION words_of(said text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF getdatabaseencoding() <> 'UTF8' OR said !~ '[^\x01-\x7f]' THEN
        RETURN to_tsvector('simple', said);
    END IF;
    RETURN to_tsvector('simple', spread_text(said)) || to_tsvector('simple', normalize(regexp_replace(
        normalize(replace(lower(said), 'ß', 'ss'), NFKD), '[\u0300-\u036f\u0640\u064b-\u0652]', '', 'g'), NFKC));
END
$$;
