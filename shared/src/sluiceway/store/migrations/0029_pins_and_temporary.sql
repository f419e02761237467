-- A conversation that its owner has pinned, since when; and one that is kept for a short time only, from its beginning on.
ALTER TABLE sessions ADD COLUMN pinned_at timestamptz;
ALTER TABLE sessions ADD COLUMN temporary boolean NOT NULL DEFAULT false;
-- What a person wants every answer to heed, in his own words.
ALTER TABLE understandings ADD COLUMN instructions text NOT NULL DEFAULT '';
