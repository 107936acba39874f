//! The texts of the statements (transcripts.md 4.3).

/// What is known of a run.
pub(super) const ROW: &str = "SELECT status, attempt, manifest FROM transcript_snapshots \
    WHERE session_id = ? AND epoch = ? AND run_id = ?";

/// Bytes of everything else that is kept of a user.
pub(super) const OF_USER: &str = "SELECT COALESCE(SUM(COALESCE(byte_size, 0) + COALESCE(partial_size, 0)), 0) \
    FROM transcript_snapshots WHERE user_id = ? AND NOT (session_id = ? AND epoch = ? AND run_id = ?)";

const COLUMNS: &str = "run_id, run_seq, status, byte_size, codec, inline, object_key, manifest, epoch";

/// Completed snapshots of a session, the last run first. More than one, because a body may be missing.
pub(super) fn latest() -> String {
    format!(
        "SELECT {COLUMNS} FROM transcript_snapshots WHERE session_id = ? AND user_id = ? AND epoch = ? \
         AND status = 'completed' ORDER BY run_seq DESC LIMIT 5"
    )
}

/// The snapshot of a run, however it has ended.
pub(super) fn of_run() -> String {
    format!(
        "SELECT {COLUMNS} FROM transcript_snapshots WHERE session_id = ? AND user_id = ? AND epoch = ? AND run_id = ? \
         AND status IS NOT NULL"
    )
}

/// The unfinished turn of a run.
pub(super) const PARTIAL: &str = "SELECT run_id, run_seq, NULL, partial_size, partial_codec, partial_inline, \
    partial_key, partial_manifest, epoch FROM transcript_snapshots WHERE session_id = ? AND user_id = ? AND epoch = ? \
    AND run_id = ? AND partial_manifest IS NOT NULL";

/// The head of a session.
pub(super) const HEAD: &str = "SELECT user_id, epoch, run_seq FROM transcript_heads WHERE session_id = ?";

/// An object is about to be stored: should its row never come, it is garbage.
pub(super) const EXPECT: &str = "INSERT OR REPLACE INTO transcript_garbage (object_key, after) VALUES (?, ?)";

/// The object that a row names now is garbage from then on.
pub(super) const DROP_OBJECT: &str = "INSERT OR REPLACE INTO transcript_garbage (object_key, after) \
    SELECT object_key, ? FROM transcript_snapshots WHERE session_id = ? AND epoch = ? AND run_id = ? \
    AND object_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transcript_heads WHERE session_id = ? AND epoch > ?)";

/// The same of its unfinished turn.
pub(super) const DROP_PARTIAL: &str = "INSERT OR REPLACE INTO transcript_garbage (object_key, after) \
    SELECT partial_key, ? FROM transcript_snapshots WHERE session_id = ? AND epoch = ? AND run_id = ? \
    AND partial_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transcript_heads WHERE session_id = ? AND epoch > ?)";

/// Stores the snapshot of a run, unless the conversation was reset meanwhile.
pub(super) const KEEP: &str = "INSERT INTO transcript_snapshots (session_id, user_id, epoch, run_id, run_seq, attempt, \
    status, byte_size, sha256, codec, inline, object_key, manifest, created_at, updated_at) \
    SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? \
    WHERE NOT EXISTS (SELECT 1 FROM transcript_heads WHERE session_id = ? AND epoch > ?) \
    ON CONFLICT (session_id, epoch, run_id) DO UPDATE SET attempt = excluded.attempt, status = excluded.status, \
    byte_size = excluded.byte_size, sha256 = excluded.sha256, codec = excluded.codec, inline = excluded.inline, \
    object_key = excluded.object_key, manifest = excluded.manifest, updated_at = excluded.updated_at";

/// Stores the unfinished turn of a run, in the same way.
pub(super) const KEEP_PARTIAL: &str = "INSERT INTO transcript_snapshots (session_id, user_id, epoch, run_id, run_seq, \
    attempt, partial_size, partial_codec, partial_inline, partial_key, partial_manifest, partial_at, created_at, updated_at) \
    SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? \
    WHERE NOT EXISTS (SELECT 1 FROM transcript_heads WHERE session_id = ? AND epoch > ?) \
    ON CONFLICT (session_id, epoch, run_id) DO UPDATE SET partial_size = excluded.partial_size, \
    partial_codec = excluded.partial_codec, partial_inline = excluded.partial_inline, partial_key = excluded.partial_key, \
    partial_manifest = excluded.partial_manifest, partial_at = excluded.partial_at, updated_at = excluded.updated_at";

/// A run is completed: its unfinished turn is of no use any more.
pub(super) const CLEAR_PARTIAL: &str = "UPDATE transcript_snapshots SET partial_inline = NULL, partial_key = NULL, \
    partial_codec = NULL, partial_manifest = NULL, partial_size = NULL, partial_at = NULL \
    WHERE session_id = ? AND epoch = ? AND run_id = ? AND status = 'completed'";

/// The head moves forward only.
pub(super) const MOVE_HEAD: &str = "INSERT INTO transcript_heads (session_id, user_id, epoch, run_id, run_seq, updated_at) \
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, epoch = excluded.epoch, \
    run_id = excluded.run_id, run_seq = excluded.run_seq, updated_at = excluded.updated_at \
    WHERE excluded.epoch > transcript_heads.epoch OR (excluded.epoch = transcript_heads.epoch \
    AND (transcript_heads.run_seq IS NULL OR excluded.run_seq > transcript_heads.run_seq))";

/// The object has its row.
pub(super) const ARRIVED: &str = "DELETE FROM transcript_garbage WHERE object_key = ? AND EXISTS \
    (SELECT 1 FROM transcript_snapshots WHERE session_id = ? AND epoch = ? AND run_id = ? AND ? IN (object_key, partial_key))";

/// Completed snapshots beyond the last few: which they are.
const OLD: &str = "session_id = ? AND epoch = ? AND status = 'completed' AND run_seq < \
    (SELECT MIN(run_seq) FROM (SELECT run_seq FROM transcript_snapshots WHERE session_id = ? AND epoch = ? \
    AND status = 'completed' ORDER BY run_seq DESC LIMIT ?))";

/// Their objects.
pub(super) fn drop_old_objects() -> String {
    format!(
        "INSERT OR REPLACE INTO transcript_garbage (object_key, after) SELECT object_key, ? FROM transcript_snapshots \
         WHERE object_key IS NOT NULL AND {OLD}"
    )
}

/// Their rows.
pub(super) fn drop_old() -> String {
    format!("DELETE FROM transcript_snapshots WHERE {OLD}")
}

/// Everything before an epoch: objects, objects of unfinished turns, rows; and the head that says so.
pub(super) const RESET_OBJECTS: &str = "INSERT OR REPLACE INTO transcript_garbage (object_key, after) \
    SELECT object_key, ? FROM transcript_snapshots WHERE session_id = ? AND epoch < ? AND object_key IS NOT NULL";
pub(super) const RESET_PARTIALS: &str = "INSERT OR REPLACE INTO transcript_garbage (object_key, after) \
    SELECT partial_key, ? FROM transcript_snapshots WHERE session_id = ? AND epoch < ? AND partial_key IS NOT NULL";
pub(super) const RESET: &str = "DELETE FROM transcript_snapshots WHERE session_id = ? AND epoch < ?";
pub(super) const RESET_HEAD: &str = "INSERT INTO transcript_heads (session_id, user_id, epoch, updated_at) \
    VALUES (?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, epoch = excluded.epoch, \
    run_id = NULL, run_seq = NULL, updated_at = excluded.updated_at WHERE excluded.epoch > transcript_heads.epoch";

/// Garbage whose time has come.
pub(super) const GARBAGE: &str = "SELECT object_key FROM transcript_garbage WHERE after <= ? ORDER BY after LIMIT ?";
pub(super) const SWEPT: &str = "DELETE FROM transcript_garbage WHERE object_key = ?";

/// Snapshots of runs that did not end well, when their time is over: which they are.
const STALE: &str = "rowid IN (SELECT rowid FROM transcript_snapshots WHERE updated_at <= ? \
    AND (status IS NULL OR status <> 'completed') ORDER BY rowid LIMIT ?)";

/// Their objects.
pub(super) fn drop_stale_objects(column: &str) -> String {
    format!(
        "INSERT OR REPLACE INTO transcript_garbage (object_key, after) SELECT {column}, ? FROM transcript_snapshots \
         WHERE {column} IS NOT NULL AND {STALE}"
    )
}

/// Their rows.
pub(super) fn drop_stale() -> String {
    format!("DELETE FROM transcript_snapshots WHERE {STALE}")
}
