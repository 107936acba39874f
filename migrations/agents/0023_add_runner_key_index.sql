CREATE UNIQUE INDEX IF NOT EXISTS idx_agent_runners_key ON agent_runners (runner_key) WHERE runner_key IS NOT NULL;
