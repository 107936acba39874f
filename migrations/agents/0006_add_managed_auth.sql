-- agents.md 13.4: stored logins. The tokens are sealed (agents.md 12.6).
CREATE TABLE IF NOT EXISTS managed_auth_sessions (
  auth_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  auth_method TEXT NOT NULL,
  access_token TEXT,
  refresh_token TEXT,
  id_token TEXT,
  token_type TEXT,
  scope TEXT,
  issued_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  revoked_at INTEGER
);

CREATE UNIQUE INDEX IF NOT EXISTS idx_managed_auth_sessions_user_provider_method
  ON managed_auth_sessions (user_id, provider, auth_method);
CREATE INDEX IF NOT EXISTS idx_managed_auth_sessions_user_updated_at
  ON managed_auth_sessions (user_id, updated_at DESC);
