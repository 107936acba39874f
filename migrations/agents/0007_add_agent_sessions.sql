-- agents.md 13.4: one row per session, to list and count them. The session itself lies in its object.
-- active: 1 while a runtime runs or is being made.
CREATE TABLE IF NOT EXISTS agent_sessions (
  session_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  graph_id TEXT,
  status TEXT NOT NULL,
  title TEXT NOT NULL,
  repo_key TEXT,
  runtime_provider TEXT,
  active INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_agent_sessions_user_updated_at ON agent_sessions (user_id, updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_agent_sessions_graph_updated_at ON agent_sessions (graph_id, updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_agent_sessions_user_active ON agent_sessions (user_id, active);
CREATE INDEX IF NOT EXISTS idx_agent_sessions_repo_key ON agent_sessions (repo_key);
