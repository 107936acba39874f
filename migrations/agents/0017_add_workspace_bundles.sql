-- agents.md 5.3.10: what sessions had not pushed when their sandboxes were left. The bytes lie in pieces under object_key, a point and
-- the number of the piece. Objects that no row needs are named in transcript_garbage.
CREATE TABLE IF NOT EXISTS workspace_bundles (
  session_id TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  byte_size INTEGER NOT NULL,
  pieces INTEGER NOT NULL,
  object_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, bundle_id)
);

CREATE INDEX IF NOT EXISTS idx_workspace_bundles_created_at ON workspace_bundles (created_at);

-- transcripts.md 4.4: how much is kept of a user.
CREATE INDEX IF NOT EXISTS idx_transcript_snapshots_user ON transcript_snapshots (user_id);
