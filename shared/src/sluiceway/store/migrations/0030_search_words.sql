-- Search finds what is written without spaces (Chinese, Japanese) anywhere in a sentence, and words without their accents.
-- What was said before this keeps the words that it has.

-- A database that is not in UTF8 knows no such characters. In plpgsql, as a planner that knows the text computes every branch
-- of an SQL function.

-- Each character of such a script as a word of its own, between two marks. An underscore keeps them one phrase in a query.
CREATE FUNCTION spread_text(said text, mark text DEFAULT '_') RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN
        RETURN said;
    END IF;
    RETURN regexp_replace(said, '([\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])',
        mark || '\1' || mark, 'g');
END
$$;

-- Both as it is written and without accents, vowel signs and lengthenings.
CREATE FUNCTION words_of(said text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF getdatabaseencoding() <> 'UTF8' OR said !~ '[^\x01-\x7f]' THEN
        RETURN to_tsvector('simple', said);
    END IF;
    -- A sign can be one for many (㌖), and what Postgres takes as words has a limit.
    RETURN to_tsvector('simple', spread_text(said)) || to_tsvector('simple', left(normalize(regexp_replace(
        normalize(replace(lower(said), 'ß', 'ss'), NFKD), '[\u0300-\u036f\u0640\u064b-\u0652]', '', 'g'), NFKC), 50000));
END
$$;

CREATE OR REPLACE FUNCTION keep_message_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_words (session_id, message_id, words)
        VALUES (NEW.session_id, NEW.id, words_of(text_of_parts(NEW.parts)))
        ON CONFLICT (session_id, message_id) DO UPDATE SET words = excluded.words;
    RETURN NULL;
END
$$;
