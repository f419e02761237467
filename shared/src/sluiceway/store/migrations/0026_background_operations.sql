-- Calls of tools that never block: the model was told that they were started, and their turn goes on without them.
ALTER TABLE operations ADD COLUMN background boolean NOT NULL DEFAULT false;
