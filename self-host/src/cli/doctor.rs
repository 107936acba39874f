//! What `server doctor` looks at beyond daemons (self-host.md 5): configuration, databases, addresses, issuers.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use daemon_lifecycle::lock::{self, Held};
use daemon_lifecycle::survey::Survey;
use daemon_lifecycle::verbs::{Check, Level};
use daemon_lifecycle::{Limits, Owner, Program, Scope};
use rusqlite::{Connection, OpenFlags};

use super::reach;
use crate::config::{Config, Problem, Resolved};
use crate::serve::Bind;

/// What the environment and the data directory look like. `problems` are those that reading the configuration found.
/// `base_urls` are further addresses to try.
pub(super) fn checks(
    scope: &Scope,
    resolved: &Resolved,
    problems: &[Problem],
    program: &Program,
    base_urls: &[String],
) -> Vec<Check> {
    let (config, more) = match Config::new(resolved) {
        Ok(config) => (Some(config), Vec::new()),
        Err(more) => (None, more),
    };
    let mut checks: Vec<Check> = problems.iter().chain(&more).map(wrong).collect();
    if checks.is_empty() {
        checks.push(Check::ok("configuration", "is good"));
    }
    let runs = lock::ask(&scope.whole().lock()).is_ok_and(|held| held != Held::Free);
    checks.extend(databases(scope.directory(), runs));
    if let Some(config) = config {
        let (own, lock_id) = own_server(scope, program);
        checks.extend(config.binds.iter().map(|bind| place(bind, &own)));
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                checks.extend(reach::issuers(&runtime, &config));
                checks.extend(reach::addresses(&runtime, &config, base_urls, lock_id.as_deref()));
            }
            Err(error) => checks.push(Check::bad("network", Level::Error, error.to_string(), "look at the system")),
        }
        checks.extend(reach::certificate(&config));
    }
    checks.push(reach::backup(scope));
    checks
}

fn wrong(problem: &Problem) -> Check {
    Check::bad("configuration", Level::Error, problem.to_string(), "see docs/self-hosting.md")
}

/// The index, stored users and every graph.
fn databases(directory: &Path, runs: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for (code, name) in [("index", "index.sqlite"), ("users", "self-host.sqlite")] {
        let path = directory.join(name);
        if path.exists() {
            checks.push(match whole(&path, runs) {
                Ok(()) => Check::ok(code, "is whole"),
                Err(why) => Check::bad(code, Level::Error, format!("{name}: {why}"), "restore a backup of it"),
            });
        }
    }
    let (mut good, mut bad) = (0_u64, Vec::new());
    // Bounded by the number of the directory's graphs.
    for entry in std::fs::read_dir(directory.join("graphs")).into_iter().flatten().flatten() {
        let path = entry.path().join("db.sqlite");
        if !path.is_file() {
            continue;
        }
        match whole(&path, runs) {
            Ok(()) => good += 1,
            Err(why) => {
                let message = format!("{}: {why}", entry.file_name().to_string_lossy());
                bad.push(Check::bad("graph", Level::Error, message, "restore a backup of it"));
            }
        }
    }
    if bad.is_empty() {
        bad.push(Check::ok("graphs", format!("{good} are whole")));
    }
    checks.extend(bad);
    checks
}

/// Lets SQLite look at a database without writing. One that no server has open is read without a log, so that none is left
/// beside it.
fn whole(path: &Path, runs: bool) -> Result<(), String> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let still = if runs || Path::new(&log).exists() { "" } else { "?immutable=1" };
    let text = |error: rusqlite::Error| error.to_string();
    let address = format!("file:{}{still}", web::url::encode(&path.to_string_lossy()));
    let connection = Connection::open_with_flags(address, flags).map_err(text)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(text)?;
    if found == "ok" { Ok(()) } else { Err(found) }
}

/// Where the directory's own server listens, and what it is known by.
fn own_server(scope: &Scope, program: &Program) -> (Vec<String>, Option<String>) {
    let limits = Limits::default();
    let sight = Survey::new(scope, program, Owner::Cli, &limits).and_then(|mut survey| survey.look());
    let known = sight.ok().and_then(|sight| {
        let record = sight.record()?;
        Some((record.listen.clone(), Some(record.lock_id.clone())))
    });
    known.unwrap_or_default()
}

fn place(bind: &Bind, own: &[String]) -> Check {
    match bind {
        Bind::Tcp(address) => port(*address, own),
        Bind::Unix(path) if own.contains(&bind.to_string()) => {
            Check::ok("port", format!("{} is this server's", path.display()))
        }
        Bind::Unix(path) if UnixStream::connect(path).is_ok() => {
            Check::bad("port", Level::Error, format!("{bind}: somebody listens there"), "choose another: --bind")
        }
        Bind::Unix(_) => Check::ok("port", format!("{bind} is free")),
    }
}

fn port(address: SocketAddr, own: &[String]) -> Check {
    let is_ours = || own.iter().any(|listen| listen.ends_with(&format!("://{address}")));
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("port", format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_ours() => {
            Check::ok("port", format!("{address} is this server's"))
        }
        Err(error) => Check::bad("port", Level::Error, format!("{address}: {error}"), "choose another: --port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_looked_at_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?#%.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("create table t (c)").unwrap();
        whole(&path, true).unwrap();
        drop(connection);
        whole(&path, false).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "no log was left beside it");
        std::fs::write(&path, "no database at all, whatever it is called".repeat(100)).unwrap();
        assert!(whole(&path, false).is_err());
    }

    #[test]
    fn a_port_is_free_or_ours_or_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(port(address, &[format!("http://{address}")]).level, Level::Ok);
        assert_eq!(port(address, &[]).level, Level::Error);
        drop(listener);
        assert_eq!(port(address, &[]).level, Level::Ok);
    }
}
