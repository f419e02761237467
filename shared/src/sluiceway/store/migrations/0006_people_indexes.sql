-- Lists that are read a page at a time, without reading what is before it.

CREATE INDEX webhook_journal_by_operation ON webhook_journal (operation_id, id);
CREATE INDEX webhook_journal_by_outcome ON webhook_journal (outcome, id);
