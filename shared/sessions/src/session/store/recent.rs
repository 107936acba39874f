//! The last events of some kinds.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

/// How far back is looked for them.
const ROWS: i64 = 2_000;

/// The last events of those kinds, newest first; at most `most`.
pub fn recent_events(sql: &impl Sql, kinds: &[&str], most: usize) -> Result<Vec<serde_json::Value>, SqlError> {
    let mut found = Vec::new();
    let params = [Param::Int(ROWS)];
    sql.query("SELECT type, body FROM events ORDER BY cursor DESC LIMIT ?", &params, &mut |row| {
        let kind = row.text(0)?.unwrap_or_default();
        if kinds.contains(&kind.as_ref())
            && let Ok(event) = serde_json::from_str(&row.text(1)?.unwrap_or_default())
        {
            found.push(event);
        }
        Ok(if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(found)
}
