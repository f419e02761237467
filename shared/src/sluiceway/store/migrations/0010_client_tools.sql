-- Tools that run in the client: what a request declares, and calls that wait for the client's output.

-- {name: {description, parameters}} of the request. A turn that continues the message has them, too.
ALTER TABLE tasks ADD COLUMN client_tools jsonb;

-- client: waits for the output that the client posts.
ALTER TABLE operations DROP CONSTRAINT operations_status_check;
ALTER TABLE operations ADD CONSTRAINT operations_status_check
    CHECK (status IN ('approval', 'client', 'pending', 'running', 'accepted',
                      'succeeded', 'failed', 'denied', 'expired', 'cancelled'));
DROP INDEX operations_open;
CREATE INDEX operations_open ON operations (deadline_at)
    WHERE status IN ('approval', 'client', 'pending', 'running', 'accepted');
