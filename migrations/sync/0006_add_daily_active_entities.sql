-- One row per day (YYYY-MM-DD, UTC) and user or graph seen on it.
CREATE TABLE IF NOT EXISTS daily_active_entities (
  day_utc TEXT,
  entity_type TEXT CHECK (entity_type IN ('user', 'graph')),
  entity_id TEXT,
  first_seen_at INTEGER,
  PRIMARY KEY (day_utc, entity_type, entity_id)
);
CREATE INDEX IF NOT EXISTS idx_daily_active_entities_type_day ON daily_active_entities (entity_type, day_utc);
