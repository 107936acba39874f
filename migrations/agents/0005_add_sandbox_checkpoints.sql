-- agents.md 13.3: the last snapshot of a branch of a repository.
CREATE TABLE IF NOT EXISTS sandbox_checkpoints (
  repo_key TEXT NOT NULL,
  branch TEXT NOT NULL,
  provider TEXT NOT NULL,
  snapshot_id TEXT NOT NULL,
  checkpoint_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (repo_key, branch)
);

CREATE INDEX IF NOT EXISTS idx_sandbox_checkpoints_expires_at ON sandbox_checkpoints (expires_at);
