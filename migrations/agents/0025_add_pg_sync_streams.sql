-- Under which name the log of a source is read as a stream (pg-sync.md 4.14): how a request finds the object.
ALTER TABLE pg_sync_bridges ADD COLUMN source_ref TEXT;
CREATE INDEX IF NOT EXISTS idx_pg_sync_bridges_source_ref ON pg_sync_bridges (user_id, source_ref);
