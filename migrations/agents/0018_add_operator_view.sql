-- agents.md 20.10: what an operator is shown. session_deadlines has one row for each session that waits for something that ends by
-- itself: what it is, and when it should be settled at the latest. agent_counters counts what leaves no rows behind.
CREATE TABLE IF NOT EXISTS session_deadlines (
  session_id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  deadline INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_session_deadlines_deadline ON session_deadlines (deadline);

CREATE TABLE IF NOT EXISTS agent_counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_agent_sessions_status ON agent_sessions (status);

CREATE INDEX IF NOT EXISTS idx_agent_sessions_active ON agent_sessions (runtime_provider) WHERE active = 1;

CREATE INDEX IF NOT EXISTS idx_webhook_deliveries_state ON webhook_deliveries (state);

CREATE INDEX IF NOT EXISTS idx_agent_runners_status ON agent_runners (status, last_heartbeat_at);
