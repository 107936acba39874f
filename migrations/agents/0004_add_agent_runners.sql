-- agents.md 13.2: machines of users on which agents run. Times are milliseconds since the Unix epoch.
CREATE TABLE IF NOT EXISTS agent_runners (
  runner_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  base_url TEXT NOT NULL,
  agent_token TEXT,
  access_client_id TEXT,
  access_client_secret TEXT,
  status TEXT NOT NULL DEFAULT 'online',
  max_sessions INTEGER NOT NULL DEFAULT 1,
  active_sessions INTEGER NOT NULL DEFAULT 0,
  last_heartbeat_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, runner_id)
);

CREATE INDEX IF NOT EXISTS idx_agent_runners_user_status_heartbeat
  ON agent_runners (user_id, status, last_heartbeat_at DESC);
