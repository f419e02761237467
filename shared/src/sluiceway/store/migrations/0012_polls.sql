-- Operations whose outside service does not tell how they end, but is asked.

-- poll: what the tool asks with. poll_at: when it is asked again.
ALTER TABLE operations ADD COLUMN poll jsonb, ADD COLUMN poll_at timestamptz;
CREATE INDEX operations_polled ON operations (poll_at) WHERE poll_at IS NOT NULL;
