-- Under which name the log of a source is read as a stream (pg-sync.md 4.14).
ALTER TABLE pg_sync_bridges ADD COLUMN source_ref TEXT;
