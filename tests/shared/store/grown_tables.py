"""Tables that have grown: which of them do, and the rows by which Postgres knows that they have."""

# Tables that grow with use. API keys are made by hand, and parked completions go away by themselves.
GROWING = {
    "compactions",
    "dead_letters",
    "erasure_receipts",
    "erasures",
    "feedback",
    "file_removals",
    "files",
    "message_words",
    "messages",
    "model_calls",
    "operations",
    "sessions",
    "shares",
    "tasks",
    "understandings",
    "usage_days",
    "webhook_journal",
}
# Without triggers: what they would do row by row, foreign keys and the words of messages, is seen to here.
ROWS = """
SET session_replication_role = replica;
ALTER INDEX message_words_found SET (gin_pending_list_limit = 65536);
INSERT INTO sessions (id, user_id, title, created_at, updated_at)
    SELECT 's' || n, nullif('u' || n % 2000, 'u0'), 'title ' || n, now() - n * interval '1 minute',
           now() - n * interval '1 minute' FROM generate_series(1, 40000) n;
INSERT INTO messages (session_id, id, sequence, role, parts, done)
    SELECT 's' || n, 'm' || m, m, CASE WHEN m % 2 = 0 THEN 'user' ELSE 'assistant' END,
           format('[{"type": "text", "text": "word%s of many"}]', n)::jsonb, true
    FROM generate_series(1, 40000) n, generate_series(1, 4) m;
INSERT INTO messages (session_id, id, sequence, role, parts, done, parent_id, superseded, superseded_at)
    SELECT 's' || n, 'm' || m, m, 'assistant', '[{"type": "text", "text": "once"}]', true, 'm2', true, now()
    FROM generate_series(1, 40000, 3) n, generate_series(5, 6) m;
INSERT INTO message_words (session_id, message_id, words)
    SELECT session_id, id, to_tsvector('simple', text_of_parts(parts)) FROM messages WHERE done
    ON CONFLICT DO NOTHING;
INSERT INTO feedback (session_id, message_id, rating, given_at)
    SELECT 's' || n, 'm1', 1, now() - n * interval '1 minute' FROM generate_series(1, 40000) n;
INSERT INTO shares (session_id, token, message_id, parts)
    SELECT 's' || n, 'token' || n, 'm1', 1 FROM generate_series(1, 40000) n;
INSERT INTO tasks (id, session_id, user_id, user_message_id, message_id, sequence, status, ended_at, settled_at)
    SELECT 't' || n || '-' || m, 's' || n, nullif('u' || n % 2000, 'u0'), 'm' || m, 'm' || m + 1, m + 1, 'completed',
           now() - n * interval '1 minute', now() FROM generate_series(1, 40000) n, generate_series(0, 2, 2) m;
INSERT INTO operations (id, task_id, session_id, message_id, step, tool_call_id, tool_name, input, queue, status,
                        deadline_seconds, deadline_at, ended_at)
    SELECT 'o' || n, 't' || n || '-0', 's' || n, 'm1', 1, 'c', 'tool', '{}', 'default', 'succeeded', 60,
           now() - n * interval '1 minute', now() - n * interval '1 minute' FROM generate_series(1, 40000) n;
INSERT INTO webhook_journal (operation_id, webhook_id, kind, sender, body, outcome)
    SELECT 'o' || n, 'w' || m, 'progress', 'signature', '{}', CASE WHEN n % 1000 = 0 THEN 'late' ELSE 'applied' END
    FROM generate_series(1, 40000) n, generate_series(1, 2) m;
INSERT INTO model_calls (id, task_id, session_id, attempt, step, purpose, model, outcome, estimated, input_tokens,
                         output_tokens, reasoning_tokens, cached_tokens)
    SELECT 'call' || n, 't' || n || '-0', 's' || n, 1, 1, 'answer', 'm', 'answered', false, 1, 1, 0, 0
    FROM generate_series(1, 40000) n;
INSERT INTO usage_days SELECT 'u' || n % 2000, current_date - n / 2000, 'm', 0, 1, 1, 1, 0, 0, 0, 0
    FROM generate_series(1, 60000) n;
INSERT INTO compactions (session_id, through_sequence) SELECT 's' || n, 1 FROM generate_series(1, 20000) n;
INSERT INTO erasures (id, task_id, session_id, due_at)
    SELECT 'e' || n, 'e' || n, 's' || n, CASE WHEN n % 1000 = 0 THEN now() END FROM generate_series(1, 20000) n;
INSERT INTO files (id, user_id, session_id, name, media_type, size, stored_at, created_at)
    SELECT 'f' || n, nullif('u' || n % 2000, 'u0'), CASE WHEN n % 100 > 0 THEN 's' || n END, 'a', 'text/plain', 1,
           now(), now() - n * interval '1 minute' FROM generate_series(1, 40000) n;
INSERT INTO file_removals (id) SELECT 'r' || n FROM generate_series(1, 20000) n;
INSERT INTO understandings (user_id, facts) SELECT 'u' || n, '{}' FROM generate_series(1, 20000) n;
INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries)
    SELECT 'q', n::text, '', 'why', 1 FROM generate_series(1, 20000) n;
RESET session_replication_role;
"""
