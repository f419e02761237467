-- The words of what was said before there was a search. Nobody waits for this: what is written meanwhile sees to itself.

INSERT INTO message_words (session_id, message_id, words)
    SELECT session_id, id, to_tsvector('simple', text_of_parts(parts)) FROM messages WHERE done
    ON CONFLICT (session_id, message_id) DO NOTHING;
