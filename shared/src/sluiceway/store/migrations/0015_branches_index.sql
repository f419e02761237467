-- What is beside a message, and what follows it on a branch that is not shown. Of what is shown it has nothing, so that a
-- conversation without branches does not pay for it.
CREATE INDEX messages_branches ON messages (session_id, parent_id) WHERE superseded;
