-- Where the shape services of users are, and which bridges to them there are (pg-sync.md 4.1, 4.11). What a bridge
-- knows is in its own object: a row here counts it, and is how the clock finds it.
CREATE TABLE IF NOT EXISTS pg_connections (
  user_id TEXT NOT NULL,
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  secret TEXT,
  tables TEXT NOT NULL,
  replica TEXT NOT NULL,
  mode TEXT NOT NULL,
  poll_ms INTEGER,
  revision INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, name)
);
CREATE TABLE IF NOT EXISTS pg_sync_bridges (
  source_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  connection TEXT NOT NULL,
  state TEXT NOT NULL,
  reserved_at INTEGER NOT NULL,
  checked_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_pg_sync_bridges_user ON pg_sync_bridges (user_id, connection);
CREATE INDEX IF NOT EXISTS idx_pg_sync_bridges_checked_at ON pg_sync_bridges (checked_at);
