//! Daemons that live without the lock, because somebody removed or replaced its file (docs/spec/daemon.md 4.6).

use std::time::Duration;

use crate::endpoint::{self, Endpoint};
use crate::identity::{self, Here};
use crate::process::{self, Candidate, Handle, Waited};
use crate::record::{Reading, Record};
use crate::{Error, Left, Limits, Owner, Program, Scope, files, holder, stop};

/// Whose locks are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of files that were deleted or replaced. Nobody who holds the present file's lock is an orphan.
    Deleted,
    /// Any: the present lock is held by a daemon that never said what it is.
    Any,
}

/// Whether a process may be a daemon of ours: by its arguments, never by a joined text, or by its executable. What decides is
/// the lock that it holds.
fn is_proposed(candidate: &Candidate, program: &Program) -> bool {
    let by_arguments = candidate.arguments.iter().skip(1).any(|argument| argument == program.serve);
    let by_executable = candidate.executable.as_deref() == Some(program.executable.as_path());
    !identity::is_dead(candidate.state) && (by_arguments || by_executable)
}

/// The orphans of a scope.
///
/// # Errors
///
/// When the process table cannot be read.
pub fn find(scope: &Scope, program: &Program, here: &Here, which: Which) -> Result<Vec<Candidate>, Error> {
    let candidates = process::candidates(here).map_err(process::failed)?;
    let is_orphan = |candidate: &Candidate| match which {
        Which::Any => process::holds(candidate.pid, &scope.lock()),
        Which::Deleted => process::holds_deleted(candidate.pid, &scope.lock()),
    };
    Ok(candidates.into_iter().filter(|one| is_proposed(one, program) && is_orphan(one)).collect())
}

/// How an orphan may be reached: to be read before a starter writes its own in their place.
#[derive(Clone, Debug)]
pub struct Contact {
    reading: Reading,
    token: Option<String>,
}

impl Contact {
    /// What lies in the scope's folder.
    pub fn of(scope: &Scope) -> Self {
        let token = files::read(&scope.token(), 1024).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Self { reading: holder::reading(scope), token: token.map(|token| token.trim().to_owned()) }
    }

    /// Whether there is metadata.
    pub fn is_named(&self) -> bool {
        self.reading.record().is_some()
    }

    fn record(&self, pid: u32) -> Option<&Record> {
        self.reading.record().filter(|record| record.pid == pid)
    }
}

/// Ends the orphans of a scope, and says which they were.
///
/// # Errors
///
/// [`Error::Orphans`] with those that do not end.
pub fn recover(
    scope: &Scope,
    program: &Program,
    here: &Here,
    which: Which,
    contact: &Contact,
    limits: &Limits,
) -> Result<Vec<u32>, Error> {
    let mut recovered = Vec::new();
    let mut left = Vec::new();
    // Bounded by the number of processes.
    for orphan in find(scope, program, here, which)? {
        // The descriptor first, then the look: it may have ended, and its pid may be somebody else's.
        let Ok(Some(handle)) = Handle::open(orphan.pid) else {
            continue;
        };
        if !process::holds(orphan.pid, &scope.lock()) {
            continue;
        }
        if asked(scope, &handle, contact, limits) || stop::terminate(&handle, &scope.lock(), limits).is_ok() {
            recovered.push(orphan.pid);
        } else {
            let words: Vec<_> = orphan.arguments.iter().map(Into::into).collect();
            left.push(Left { pid: orphan.pid, command: crate::quoted(&words), owner: owner(contact, &orphan) });
        }
    }
    if left.is_empty() { Ok(recovered) } else { Err(Error::Orphans { repo: scope.name(), left }) }
}

/// Asks an orphan that still answers to end. Whether it did.
fn asked(scope: &Scope, handle: &Handle, contact: &Contact, limits: &Limits) -> bool {
    // Its metadata may be gone: then it answers where daemons of this scope usually do.
    let own = contact.record(handle.pid());
    let usual = || Some(Endpoint::Unix(scope.socket()));
    let endpoint = own.and_then(|record| Endpoint::read(&record.endpoint)).or_else(usual);
    let (Some(endpoint), Some(token)) = (endpoint, &contact.token) else {
        return false;
    };
    let ask = |method, path, body| endpoint::request(&endpoint, method, path, Some(token), body, limits.probe).ok();
    let is_it = ask("GET", "/healthz", b"".as_slice()).is_some_and(|answer| {
        serde_json::from_slice::<serde_json::Value>(&answer.body)
            .is_ok_and(|body| body.get("pid").and_then(serde_json::Value::as_u64) == Some(handle.pid().into()))
    });
    if !is_it || ask("POST", "/shutdown", b"".as_slice()).is_none_or(|answer| answer.status != 200) {
        return false;
    }
    let own_limit = own.map_or(Duration::from_secs(20), |record| Duration::from_millis(record.stop_timeout_ms));
    handle.wait(own_limit.min(stop::LONGEST_STOP) + limits.grace).is_ok_and(|waited| waited == Waited::Ended)
}

/// The owner that an orphan's own arguments name.
fn owner(contact: &Contact, orphan: &Candidate) -> Owner {
    if let Some(record) = contact.record(orphan.pid) {
        return record.owner;
    }
    let mut arguments = orphan.arguments.iter().map(String::as_str);
    // Bounded by the number of arguments.
    while let Some(argument) = arguments.next() {
        if argument == "--owner" {
            return arguments.next().map(Owner::read).unwrap_or_default();
        }
        if let Some(name) = argument.strip_prefix("--owner=") {
            return Owner::read(name);
        }
    }
    Owner::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Build;

    fn candidate(arguments: &[&str], executable: &str, state: char) -> Candidate {
        Candidate {
            pid: 7,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            executable: Some(executable.into()),
            state,
        }
    }

    #[test]
    fn arguments_or_the_executable_propose_and_a_joined_text_does_not() {
        let program = Program {
            executable: "/opt/logseq-sync".into(),
            serve: "serve",
            launch: &[],
            build: Build { version: String::new(), revision: String::new() },
        };
        let proposed =
            |arguments: &[&str], executable, state| is_proposed(&candidate(arguments, executable, state), &program);
        assert!(proposed(&["x", "serve"], "/usr/bin/x", 'S'));
        assert!(proposed(&["x"], "/opt/logseq-sync", 'T'));
        assert!(!proposed(&["sh", "-c", "logseq-sync serve --data-dir d"], "/bin/sh", 'S'));
        assert!(!proposed(&["serve"], "/bin/sh", 'S'));
        assert!(!proposed(&["x", "serve"], "/opt/logseq-sync", 'Z'));
    }

    #[test]
    fn an_orphans_owner_is_read_from_its_arguments() {
        let contact = Contact { reading: Reading::Absent, token: None };
        assert_eq!(owner(&contact, &candidate(&["x", "serve", "--owner", "electron"], "/x", 'S')), Owner::Desktop);
        assert_eq!(owner(&contact, &candidate(&["x", "serve", "--owner=cli"], "/x", 'S')), Owner::Cli);
        assert_eq!(owner(&contact, &candidate(&["x", "serve"], "/x", 'S')), Owner::Unknown);
    }
}
