//! The tables (docs/spec/session-mailbox.md 4.3). Integers are milliseconds since 1970 unless a name says otherwise.

/// What `user_version` says.
pub(crate) const VERSION: i64 = 1;

/// The host's tables, in the order in which they are made.
pub(crate) const INBOUND: &[&str] = &[
    "CREATE TABLE messages_in(id TEXT PRIMARY KEY, seq INTEGER UNIQUE NOT NULL CHECK(seq % 2 = 0), kind TEXT NOT NULL, \
     created_at INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'pending' \
     CHECK(status IN ('pending','completed','failed','paused','cancelled','dead')), process_after INTEGER, \
     expires_at INTEGER, recurrence TEXT, series_id TEXT, tries INTEGER NOT NULL DEFAULT 0, \
     trigger INTEGER NOT NULL DEFAULT 1, on_wake INTEGER NOT NULL DEFAULT 0, reply_to TEXT, origin TEXT, content TEXT, \
     content_hash BLOB NOT NULL, source_session_id TEXT, lane TEXT NOT NULL CHECK(lane IN ('prompt','control')), \
     work_seq INTEGER, sent_tries INTEGER NOT NULL DEFAULT 0, deferrals INTEGER NOT NULL DEFAULT 0, ended_at INTEGER, \
     error TEXT)",
    "CREATE INDEX messages_in_status ON messages_in(status)",
    "CREATE TABLE delivered(message_out_id TEXT PRIMARY KEY, status TEXT CHECK(status IN ('delivered','failed')), \
     remote_id TEXT, attempts INTEGER NOT NULL DEFAULT 0, error TEXT, at INTEGER NOT NULL)",
    "CREATE TABLE destinations(name TEXT PRIMARY KEY, display_name TEXT, type TEXT NOT NULL, target TEXT NOT NULL)",
    "CREATE TABLE control(id INTEGER PRIMARY KEY CHECK(id = 1), lease INTEGER NOT NULL DEFAULT 0, \
     generation INTEGER NOT NULL DEFAULT 0, spawned_at INTEGER, stop_requested_at INTEGER, \
     interrupt_seq INTEGER NOT NULL DEFAULT 0, config_hash TEXT)",
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 1), mailbox_id TEXT NOT NULL)",
    "CREATE TABLE notices(id TEXT PRIMARY KEY, code TEXT NOT NULL, data TEXT NOT NULL, created_at INTEGER NOT NULL, \
     sent_at INTEGER)",
    "INSERT INTO control(id) VALUES (1)",
];

/// The tables of the agent's side. The host reads them only when they are these, to the letter: a view or a computed column
/// would be a program of the agent's that the host runs.
pub(crate) const OUTBOUND: &[&str] = &[
    "CREATE TABLE messages_out(id TEXT PRIMARY KEY, seq INTEGER UNIQUE NOT NULL CHECK(seq % 2 = 1), prev INTEGER, \
     generation INTEGER NOT NULL, attempt INTEGER NOT NULL, in_reply_to TEXT, created_at INTEGER NOT NULL, \
     deliver_after INTEGER, kind TEXT NOT NULL, target TEXT, content TEXT NOT NULL)",
    "CREATE TABLE requests(id TEXT PRIMARY KEY, generation INTEGER NOT NULL, rpc_id TEXT NOT NULL, asked_at INTEGER NOT NULL, \
     state TEXT NOT NULL CHECK(state IN ('open','answered','void')))",
    "CREATE TABLE processing_ack(message_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, attempt INTEGER NOT NULL, \
     status TEXT NOT NULL CHECK(status IN ('processing','sent','completed','failed','deferred','skipped')), error TEXT, \
     until INTEGER, result_seq INTEGER, changed_at INTEGER NOT NULL)",
    "CREATE TABLE session_state(key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at INTEGER NOT NULL)",
    "CREATE TABLE runtime_state(id INTEGER PRIMARY KEY CHECK(id = 1), generation INTEGER NOT NULL, phase TEXT NOT NULL \
     CHECK(phase IN ('starting','idle','running','waiting_user','rate_limited','stopping')), current_tool TEXT, \
     tool_declared_timeout_ms INTEGER, tool_started_at INTEGER, progress_at INTEGER, until INTEGER, \
     interrupted_through INTEGER NOT NULL DEFAULT 0, stopped TEXT, updated_at INTEGER NOT NULL)",
    "CREATE TABLE usage_log(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, series_id TEXT, model TEXT, input INTEGER, \
     output INTEGER, cache_read INTEGER, cache_creation INTEGER, cost_micros INTEGER)",
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 1), mailbox_id TEXT NOT NULL)",
];

/// What the database of the agent's side says of its own tables, those that SQLite makes by itself left out.
pub(crate) const OWN_TABLES: &str = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid";
