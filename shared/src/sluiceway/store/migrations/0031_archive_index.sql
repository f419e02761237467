-- Those of a person that are out of the list, in its order.
CREATE INDEX sessions_archived ON sessions (user_id, updated_at DESC, id DESC) WHERE archived_at IS NOT NULL;
