-- Branches: what an edit or another answer replaces stays beside it, and can be gone back to.

-- The message that this one follows; '' for the first of a session. Null: from before this column. Those are filled in,
-- session by session, when the first branch there is made.
ALTER TABLE messages ADD COLUMN parent_id text;
