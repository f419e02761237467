-- The few that somebody has pinned, and the few that are old enough to go.
CREATE INDEX sessions_pinned ON sessions (user_id, pinned_at DESC, id DESC) WHERE pinned_at IS NOT NULL;
CREATE INDEX sessions_temporary ON sessions (updated_at) WHERE active_task_id IS NULL AND temporary;
