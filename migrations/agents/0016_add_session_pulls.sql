-- agents.md 20.4: which session opened which pull request, so that what is said about it comes back to the session. Deliveries of GitHub
-- are remembered, because it may send one again.
CREATE TABLE IF NOT EXISTS session_pulls (
  repo_key TEXT NOT NULL,
  number INTEGER NOT NULL,
  session_id TEXT NOT NULL,
  head TEXT NOT NULL,
  pushed TEXT,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repo_key, number)
);

CREATE INDEX IF NOT EXISTS idx_session_pulls_pushed ON session_pulls (repo_key, pushed);

CREATE INDEX IF NOT EXISTS idx_session_pulls_session ON session_pulls (session_id);

CREATE TABLE IF NOT EXISTS github_deliveries (
  delivery_id TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_github_deliveries_created ON github_deliveries (created_at);
