//! Lines of JSON on standard error: {ts, level, code, message}. No text of a message, no secret.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a line.
pub(crate) fn line(level: &str, code: &str, message: &str) {
    let line = serde_json::json!({"ts": now(), "level": level, "code": code, "message": message});
    // A host that reads no more is no reason to end.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
