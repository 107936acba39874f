-- What each session used on each day (UTC, counted from 1970), so that the use of a user and day can be limited.
CREATE TABLE IF NOT EXISTS usage_daily (
  user_id TEXT NOT NULL,
  day INTEGER NOT NULL,
  session_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  running_ms INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  cost TEXT NOT NULL,
  PRIMARY KEY (user_id, day, session_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_usage_daily_day ON usage_daily (day);
