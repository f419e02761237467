-- API keys of services, and what the limits of a caller count.

CREATE TABLE api_keys (
    -- Of what the key makes, `service:NAME` is the owner: a name is never given twice.
    name        text PRIMARY KEY,
    -- SHA-256 of the key, which has 256 random bits.
    digest      bytea NOT NULL UNIQUE,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);

CREATE INDEX tasks_live_by_user ON tasks (user_id) WHERE status IN ('queued', 'running', 'waiting');
