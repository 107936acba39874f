-- agents.md 11.2 (B28): a snapshot belongs to a graph or a user. Earlier rows belong to nobody, are used by nobody, and
-- expire. SQLite adds no column to a primary key, so that the table is made anew.
CREATE TABLE IF NOT EXISTS sandbox_checkpoints_owned (
  owner_key TEXT NOT NULL,
  repo_key TEXT NOT NULL,
  branch TEXT NOT NULL,
  provider TEXT NOT NULL,
  snapshot_id TEXT NOT NULL,
  checkpoint_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (owner_key, repo_key, branch)
);

INSERT OR IGNORE INTO sandbox_checkpoints_owned
  SELECT '', repo_key, branch, provider, snapshot_id, checkpoint_at, updated_at, expires_at FROM sandbox_checkpoints;
DROP TABLE sandbox_checkpoints;
ALTER TABLE sandbox_checkpoints_owned RENAME TO sandbox_checkpoints;
CREATE INDEX IF NOT EXISTS idx_sandbox_checkpoints_expires_at ON sandbox_checkpoints (expires_at);
