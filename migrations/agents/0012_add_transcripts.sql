-- transcripts.md 4.3: what is kept of conversations. A body lies in its row (inline, base64) or under object_key. The partial
-- columns hold an unfinished turn. A key in transcript_garbage names an object that no row needs, to be deleted after that time.
CREATE TABLE IF NOT EXISTS transcript_snapshots (
  session_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  run_seq INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  status TEXT CHECK (status IN ('completed', 'failed', 'timeout', 'cancelled')),
  byte_size INTEGER,
  sha256 TEXT,
  codec TEXT,
  inline TEXT,
  object_key TEXT,
  manifest TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  partial_inline TEXT,
  partial_key TEXT,
  partial_codec TEXT,
  partial_manifest TEXT,
  partial_size INTEGER,
  partial_at INTEGER,
  PRIMARY KEY (session_id, epoch, run_id)
);

CREATE INDEX IF NOT EXISTS idx_transcript_snapshots_latest
  ON transcript_snapshots (session_id, epoch, status, run_seq DESC);
CREATE INDEX IF NOT EXISTS idx_transcript_snapshots_updated_at ON transcript_snapshots (updated_at);

CREATE TABLE IF NOT EXISTS transcript_heads (
  session_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  run_id TEXT,
  run_seq INTEGER,
  updated_at INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS transcript_garbage (
  object_key TEXT PRIMARY KEY,
  after INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_transcript_garbage_after ON transcript_garbage (after);
