//! `status` and `list`.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Common, List, Outcome, Status, Surroundings, limits};
use crate::identity::Verdict;
use crate::record::Reading;
use crate::state::State;
use crate::survey::{Sight, Survey};
use crate::{Error, Limits, Scope, holder};

pub(super) fn status(args: &Status, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let scope = around.scope(&args.common)?;
    let limits = Limits { hang: args.hang_limit.unwrap_or(limits().hang), ..limits() };
    let mut survey = Survey::new(&scope, around.program, args.common.owner, &limits)?;
    let since = Instant::now();
    let sight = loop {
        let sight = survey.look()?;
        // Watched only where that was asked for; a look takes a second where nobody answers.
        let watched = args.hang_limit.is_some_and(|limit| since.elapsed() <= limit + limits.probe + limits.period);
        if sight.state != State::Busy || !watched {
            break sight;
        }
        std::thread::sleep(limits.period);
    };
    let data = told(&scope, &sight);
    let mut words = String::new();
    for (name, value) in data.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !value.is_null() {
            let _ = writeln!(words, "{name}: {text}");
        }
    }
    words.truncate(words.trim_end().len());
    Ok(Outcome { data, words, exit: sight.state.exit(sight.answers()) })
}

/// What `status` says of a daemon.
fn told(scope: &Scope, sight: &Sight) -> Value {
    // What a dead daemon left is no news of a living one.
    let record = sight.record().filter(|_| !matches!(sight.state, State::Stopped | State::Orphan));
    let (host, port) = record.and_then(crate::Record::public_address).unzip();
    let pid = match &sight.reading {
        Reading::TooNew { members, .. } => members.get("pid").cloned(),
        _ => record.map(|record| record.pid.into()),
    };
    let started = record.map(|record| record.started_at.clone()).filter(|text| !text.is_empty());
    let uptime = started.as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let uptime = uptime.map(|started| jiff::Timestamp::now().duration_since(started).as_secs().max(0));
    let mut data = json!({
        "repo": scope.name(), "status": sight.state.name(), "host": host, "port": port, "pid": pid,
        "owner": record.map(|_| sight.owner()), "revision": record.map(|_| sight.revision()),
        "started_at": started, "uptime_s": uptime, "manageable": sight.verdict == Some(Verdict::Same),
    });
    if let (State::Remote(reason), Some(members)) = (sight.state, data.as_object_mut()) {
        members.insert("reason".to_owned(), reason.name().into());
    }
    data
}

/// A daemon that was found by its metadata.
pub(super) struct Found {
    pub(super) scope: Scope,
    pub(super) sight: Sight,
}

/// The daemons of the data directory and of those that were used before, each looked at.
pub(super) fn found(common: &Common, around: &Surroundings<'_>, limits: &Limits) -> Result<Vec<Found>, Error> {
    let own = Scope::new(around.given(common), None).map_err(|error| Error::Usage(error.to_string()))?;
    let mut wholes = vec![own];
    if let Some(registry) = &around.registry {
        // Bounded by the largest registry that is read.
        for directory in registry.read() {
            if let Ok(scope) = Scope::new(&directory, None)
                && !wholes.contains(&scope)
            {
                wholes.push(scope);
            }
        }
        let _ = registry.prune(|directory| !directory.is_dir());
    }
    let mut found = Vec::new();
    for whole in wholes {
        let graphs = whole.graphs().unwrap_or_default();
        for scope in std::iter::once(whole).chain(graphs) {
            if holder::reading(&scope) == Reading::Absent {
                continue;
            }
            // One directory that cannot be read does not hide the others.
            let looked = Survey::new(&scope, around.program, common.owner, limits).and_then(|mut survey| survey.look());
            if let Ok(sight) = looked {
                found.push(Found { scope, sight });
            }
        }
    }
    Ok(found)
}

pub(super) fn list(args: &List, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let mut found = found(&args.common, around, &limits())?;
    found.retain(|one| args.all || one.sight.state != State::Stopped);
    let servers: Vec<Value> = found
        .iter()
        .map(|one| {
            let mut server = told(&one.scope, &one.sight);
            if let Some(members) = server.as_object_mut() {
                members.insert("graph".to_owned(), json!(one.scope.graph()));
                members.insert("data_dir".to_owned(), json!(one.scope.directory().to_string_lossy()));
            }
            server
        })
        .collect();
    let words = table(&servers, &around.program.build.revision, args.common.compat_logseq);
    let count = servers.len();
    Ok(Outcome { data: json!({ "servers": servers, "count": count }), words, exit: 0 })
}

const COLUMNS: [&str; 7] = ["GRAPH", "STATUS", "HOST", "PORT", "PID", "OWNER", "REVISION"];

/// The servers in columns, how many there are, and which of them are of another revision.
fn table(servers: &[Value], revision: &str, compatible: bool) -> String {
    let cell = |server: &Value, name: &str| match server.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if compatible && text == "desktop" => "electron".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(
        servers.iter().map(|server| {
            ["repo", "status", "host", "port", "pid", "owner", "revision"].map(|name| cell(server, name))
        }),
    );
    let mut widths = [0; COLUMNS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut words = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(words, "{}", cells.join("  ").trim_end());
    }
    let _ = write!(words, "Count: {}", servers.len());
    let differs = |server: &&Value| cell(server, "revision") != revision && cell(server, "revision") != "-";
    let others: Vec<String> = servers.iter().filter(differs).map(|server| cell(server, "repo")).collect();
    if !others.is_empty() {
        let _ = write!(words, "\n\nWarning: of another revision than this program ({revision}):");
        for repo in others {
            let _ = write!(words, "\n  {repo}");
        }
        words.push_str("\nThe command `server cleanup` stops those that it started.");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fact 39: an owner column, and the warning about other revisions.
    #[test]
    fn a_table_has_columns_a_count_and_a_warning() {
        let server = json!({ "repo": "notes", "status": "ready", "host": "127.0.0.1", "port": 8080, "pid": 7, "owner": "desktop", "revision": "old" });
        let words = table(&[server], "new", false);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), COLUMNS);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["notes", "ready", "127.0.0.1", "8080", "7", "desktop", "old"]
        );
        assert_eq!(lines[2], "Count: 1");
        assert!(words.contains("Warning"));
        assert_eq!(table(&[], "new", false).lines().last(), Some("Count: 0"));
    }
}
