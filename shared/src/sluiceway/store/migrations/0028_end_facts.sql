-- Why a turn ended as it did, for operators alone: who wanted it to end, or what failed where (worker, model, status,
-- request id). No word of the conversation. NULL: its status says it all, or it ended before this was kept.
ALTER TABLE tasks ADD COLUMN end_facts jsonb;
