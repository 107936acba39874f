-- agents.md 20.3: where users want to be told of what happens in their sessions, and what became of each notification. The sessions
-- themselves own the deliveries, and these rows are what users are shown of them.
CREATE TABLE IF NOT EXISTS agent_webhooks (
  webhook_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  graph_id TEXT,
  url TEXT NOT NULL,
  events TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER,
  dead_in_row INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS idx_agent_webhooks_user ON agent_webhooks (user_id, created_at);

CREATE INDEX IF NOT EXISTS idx_agent_webhooks_graph ON agent_webhooks (graph_id);

CREATE TABLE IF NOT EXISTS webhook_deliveries (
  delivery_id TEXT PRIMARY KEY,
  webhook_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  type TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  state TEXT NOT NULL,
  last_status INTEGER,
  next_at INTEGER,
  created_at INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created_at, delivery_id);

CREATE INDEX IF NOT EXISTS idx_webhook_deliveries_session ON webhook_deliveries (session_id);

CREATE INDEX IF NOT EXISTS idx_webhook_deliveries_created ON webhook_deliveries (created_at);
