-- For the limit of an organisation's turns. It has rows only where there are organisations.
CREATE INDEX tasks_live_by_org ON tasks (org_of(user_id))
    WHERE status IN ('queued', 'running', 'waiting') AND user_id LIKE 'org:%';
