-- agents.md 6.7: sandboxes that were asked for, so that one whose session was lost is found. state: creating, bound, ended.
CREATE TABLE IF NOT EXISTS sandbox_intents (
  intent_id TEXT PRIMARY KEY,
  session_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  state TEXT NOT NULL,
  sandbox_id TEXT,
  deadline INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_sandbox_intents_sandbox_id ON sandbox_intents (sandbox_id);
CREATE INDEX IF NOT EXISTS idx_sandbox_intents_environment_state ON sandbox_intents (environment, state, updated_at);
