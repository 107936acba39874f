-- How a request for a stream finds the object that has its log (pg-sync.md 4.14).
CREATE INDEX IF NOT EXISTS idx_pg_sync_bridges_source_ref ON pg_sync_bridges (user_id, source_ref);
