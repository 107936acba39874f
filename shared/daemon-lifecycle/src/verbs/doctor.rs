//! `doctor`: what is wrong with directory, locks and daemons. What else a binary checks comes from it.

use std::path::Path;

use serde_json::json;

use super::{Doctor, Outcome, Surroundings, limits};
use crate::lock::{self, FileSystem};
use crate::state::State;
use crate::survey::Survey;
use crate::{Error, Scope, directory, legacy};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// Something may become wrong.
    Warning,
    /// Something is wrong.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    /// Nothing is wrong.
    pub fn ok(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, level: Level::Ok, message: message.into(), remedy: None }
    }

    /// Something is, or may become, wrong.
    pub fn bad(code: &'static str, level: Level, message: impl Into<String>, remedy: &str) -> Self {
        Self { code, level, message: message.into(), remedy: Some(remedy.to_owned()) }
    }
}

/// Below so many free bytes uploads are refused (self-host.md 9.1).
const FREE: u64 = 256 << 20;

/// The fewest files that a server must be able to open.
const FILES: u64 = 1024;

pub(super) fn doctor(args: &Doctor, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let scope = around.scope(&args.common)?;
    let mut checks = vec![data_dir(around.given(&args.common))];
    if scope.directory().is_dir() {
        checks.push(free_space(scope.directory()));
        checks.push(file_system(scope.directory()));
        checks.extend(daemons(&scope, args, around));
    }
    checks.push(open_files());
    checks.extend((around.checks)(&scope, args));
    let worst = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
    let exit = match worst {
        Level::Ok => 0,
        Level::Warning => 1,
        Level::Error => 74,
    };
    let name = |level| match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let data = checks.iter().map(|check| {
        json!({ "code": check.code, "level": name(check.level), "message": check.message, "remedy": check.remedy })
    });
    let data = json!({ "checks": data.collect::<Vec<_>>() });
    let lines: Vec<String> = checks.iter().map(line).collect();
    Ok(Outcome { data, words: lines.join("\n"), exit })
}

fn line(check: &Check) -> String {
    let mark = match check.level {
        Level::Ok => "ok  ",
        Level::Warning => "warn",
        Level::Error => "fail",
    };
    let remedy = check.remedy.as_ref().map(|remedy| format!(" ({remedy})")).unwrap_or_default();
    format!("{mark} {}: {}{remedy}", check.code, check.message)
}

fn data_dir(given: &Path) -> Check {
    if !given.exists() {
        return Check::bad(
            "data-dir",
            Level::Warning,
            format!("{}: does not exist", given.display()),
            "server start makes it",
        );
    }
    match directory::prepare(given) {
        Ok(warnings) => match warnings.first() {
            Some(warning) => Check::bad("data-dir", Level::Warning, warning.as_str(), "chmod o-rwx"),
            None => Check::ok("data-dir", given.display().to_string()),
        },
        Err(error) => Check::bad("data-dir", Level::Error, error.to_string(), "give it to this user alone: mode 0700"),
    }
}

fn free_space(directory: &Path) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let message = format!("{} MiB", free >> 20);
            if free < FREE {
                return Check::bad("free-space", Level::Warning, message, "make room: uploads are refused");
            }
            Check::ok("free-space", message)
        }
        Err(error) => Check::bad("free-space", Level::Error, error.to_string(), "look at the disk"),
    }
}

fn file_system(directory: &Path) -> Check {
    #[expect(clippy::useless_conversion, reason = "the field's type differs between architectures")]
    match rustix::fs::statfs(directory).map(|stat| lock::file_system(i64::from(stat.f_type))) {
        Ok(FileSystem::Local) => Check::ok("locks", "locks hold here"),
        Ok(FileSystem::Fuse) => {
            Check::bad("locks", Level::Warning, "FUSE: locks hold on this machine only", "use one machine only")
        }
        Ok(FileSystem::Network(name)) => {
            Check::bad("locks", Level::Error, format!("{name}: locks do not hold here"), "move it to a local disk")
        }
        Err(error) => Check::bad("locks", Level::Error, error.to_string(), "look at the disk"),
    }
}

/// The daemons of the directory, those of its graphs included.
fn daemons(scope: &Scope, args: &Doctor, around: &Surroundings<'_>) -> Vec<Check> {
    let whole = scope.whole();
    let mut checks: Vec<Check> = legacy::living(&whole)
        .iter()
        .map(|one| {
            let message = format!("{}: open in a Logseq client", one.graph);
            Check::bad("legacy-lock", Level::Error, message, "end that client")
        })
        .collect();
    let graphs = whole.graphs().unwrap_or_default();
    for one in std::iter::once(whole).chain(graphs) {
        let is_asked = one == *scope;
        if is_asked || one.record().exists() {
            checks.extend(daemon(&one, is_asked, args, around));
        }
    }
    checks
}

fn daemon(scope: &Scope, is_asked: bool, args: &Doctor, around: &Surroundings<'_>) -> Option<Check> {
    let limits = limits();
    let looked = Survey::new(scope, around.program, args.common.owner, &limits).and_then(|mut survey| survey.look());
    let sight = match looked {
        Ok(sight) => sight,
        Err(error) => return Some(Check::bad("server", Level::Error, error.to_string(), "look at its files")),
    };
    let told = |what: &str| format!("{}: {what}", scope.name());
    Some(match sight.state {
        State::Stopped if !is_asked => return None,
        State::Stopped => Check::ok("server", told("does not run")),
        State::Ready | State::Foreign => Check::ok("server", told("answers")),
        State::Orphan => {
            Check::bad("server-orphan", Level::Error, told("a daemon without the lock runs"), "server start ends it")
        }
        State::Hung => Check::bad("server-hung", Level::Error, told("does not answer"), "server restart"),
        State::Mismatch => {
            let message = told(&format!("revision {}", sight.revision()));
            Check::bad("doctor-server-revision-mismatch", Level::Warning, message, "server restart")
        }
        State::TooNew => {
            Check::bad("metadata-too-new", Level::Warning, told("a daemon of a newer version"), "use the newer program")
        }
        State::Remote(_) if sight.answers() => Check::ok("server", told("answers, in a container or elsewhere")),
        state => Check::bad("doctor-server-not-ready", Level::Warning, told(state.name()), "wait, then look again"),
    })
}

fn open_files() -> Check {
    // Without a number there is no limit.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit < FILES {
        let message = format!("at most {limit}");
        return Check::bad("open-files", Level::Error, message, "raise the limit (ulimit -n, LimitNOFILE)");
    }
    Check::ok("open-files", "enough")
}
