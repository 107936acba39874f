-- session-mailbox.md 7.1: runners that call us. Their rows have no address that anybody calls: base_url is 'mailbox:'.
-- No earlier version had any. A file that adds a column does only that, so that it can be told whether it was applied.
ALTER TABLE agent_runners ADD COLUMN transport TEXT NOT NULL DEFAULT 'tunnel';
