//! What can go wrong with daemons, and the one place where it becomes codes, exit codes and hints
//! (docs/spec/daemon.md 2.9, 4.8).

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Owner;
use crate::record::Record;

/// A process that recovery could not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub pid: u32,
    /// Its command line, quoted for a shell.
    pub command: String,
    /// Who started it, as far as its metadata says.
    pub owner: Owner,
}

/// How a start failed before the daemon said why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process ended with this code.
    Exit(i32),
    /// A signal of this number ended the process.
    Signal(i32),
    /// It said nothing for too long.
    Silent,
    /// The process could not be started, or watched.
    NotStarted(String),
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon runs.
    #[error("no daemon runs for {repo}")]
    NotFound {
        /// The scope's name.
        repo: String,
    },
    /// Somebody else started the daemon.
    #[error("the daemon of {repo} belongs to {owner}, not to {requester}")]
    OwnedByOther {
        /// The scope's name.
        repo: String,
        /// Who started it.
        owner: Owner,
        /// Who asks.
        requester: Owner,
        /// The service manager's unit.
        unit: Option<String>,
    },
    /// Somebody holds the lock.
    #[error("{repo} is locked by another daemon{}", .holders.first().map(told).unwrap_or_default())]
    RepoLocked {
        /// The scope's name.
        repo: String,
        /// Metadata of the holders, as far as there is any.
        holders: Vec<Value>,
        /// Whether it is a Logseq client of an older form.
        legacy: bool,
    },
    /// The daemon did not come up.
    #[error("{repo}: the daemon did not start: {}; command: {command}{}", words(.failure), tail_words(.log_tail))]
    StartFailed {
        /// The scope's name.
        repo: String,
        /// The command line, quoted for a shell.
        command: String,
        /// How.
        failure: Failure,
        /// The last of what it wrote to its log.
        log_tail: String,
    },
    /// The daemon said itself why it does not start.
    #[error("{message}")]
    Child {
        /// Its code.
        code: String,
        /// Its message.
        message: String,
        /// Its exit code.
        exit: u8,
        /// What else it said.
        details: Map<String, Value>,
    },
    /// Processes without a lock could not be ended.
    #[error("{repo}: {} that lost the lock could not be ended", pids_words(.left))]
    Orphans {
        /// The scope's name.
        repo: String,
        /// The processes.
        left: Vec<Left>,
    },
    /// The daemon did not end.
    #[error("the daemon of {repo}, pid {pid}, did not end")]
    StopTimeout {
        /// The scope's name.
        repo: String,
        /// The process.
        pid: u32,
    },
    /// The daemon does not answer, and is not ours to end.
    #[error("the daemon of {repo}{}, owner {owner}, does not answer", .pid.map(|pid| format!(", pid {pid}")).unwrap_or_default())]
    Unresponsive {
        /// The scope's name.
        repo: String,
        /// The process, if it has said which one it is.
        pid: Option<u32>,
        /// Who started it.
        owner: Owner,
    },
    /// The daemon runs where it cannot be managed.
    #[error("the daemon of {repo} cannot be managed from here ({reason})")]
    Unmanageable {
        /// The scope's name.
        repo: String,
        /// `namespace`, `host` or `permission`.
        reason: &'static str,
    },
    /// The daemon is another build, and may not be replaced.
    #[error("the daemon of {repo} is of revision {actual}, this program of {expected}")]
    RevisionMismatch {
        /// The scope's name.
        repo: String,
        /// This program's.
        expected: String,
        /// The daemon's.
        actual: String,
        /// Who started it.
        owner: Owner,
        /// Why it was not replaced.
        why: &'static str,
    },
    /// The daemon of another build was not replaced, because it did not end.
    #[error("the daemon of {repo} is of revision {actual}, not {expected}, and could not be stopped: {stop_error}")]
    MismatchNotStopped {
        /// The scope's name.
        repo: String,
        /// This program's.
        expected: String,
        /// The daemon's.
        actual: String,
        /// Who started it.
        owner: Owner,
        /// Why it did not end.
        stop_error: String,
    },
    /// The daemon is another build even after it was started again.
    #[error("the daemon of {repo} is of revision {actual} after a restart, this program of {expected}")]
    MismatchAfterRestart {
        /// The scope's name.
        repo: String,
        /// This program's.
        expected: String,
        /// The daemon's.
        actual: String,
        /// Who started it.
        owner: Owner,
    },
    /// Locks do not hold on this file system.
    #[error("{}: locks do not hold here ({file_system})", .path.display())]
    LockUnsupported {
        /// The data directory.
        path: PathBuf,
        /// The file system's name.
        file_system: String,
    },
    /// Others may change the data directory.
    #[error("{}: {problem}", .path.display())]
    Permissions {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The data directory cannot be written or made.
    #[error("{}: permission denied", .path.display())]
    RootPermission {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory lies on read-only media.
    #[error("{}: read-only file system", .path.display())]
    ReadOnly {
        /// The data directory.
        path: PathBuf,
    },
    /// The metadata is of a newer form than this program knows.
    #[error("the metadata of {repo} is of form {v}, newer than this program knows")]
    MetadataTooNew {
        /// The scope's name.
        repo: String,
        /// Its form.
        v: u64,
    },
    /// Servers could not be cleaned up.
    #[error("{reason}")]
    CleanupFailed {
        /// Why.
        reason: String,
        /// What was done.
        details: Map<String, Value>,
    },
    /// This daemon lost its lock.
    #[error("{repo}: the lock is lost; another daemon may write now")]
    Lost {
        /// The scope's name.
        repo: String,
    },
    /// The command line contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// Input or output failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
}

impl Error {
    /// An input or output error at a path. Those that mean something by themselves get their own kind.
    pub fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::RootPermission { path: path.to_owned() },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    /// The code in output.
    pub fn code(&self) -> &str {
        match self {
            Self::NotFound { .. } => "server-not-found",
            Self::OwnedByOther { .. } => "server-owned-by-other",
            Self::RepoLocked { .. } | Self::Lost { .. } => "repo-locked",
            Self::StartFailed { .. } => "server-start-failed",
            Self::Child { code, .. } => code,
            Self::Orphans { .. } => "server-start-timeout-orphan",
            Self::StopTimeout { .. } => "server-stop-timeout",
            Self::Unresponsive { .. } => "server-unresponsive",
            Self::Unmanageable { .. } => "server-unmanageable",
            Self::RevisionMismatch { .. } => "server-revision-mismatch",
            Self::MismatchNotStopped { .. } => "server-revision-mismatch-restart-failed",
            Self::MismatchAfterRestart { .. } => "server-revision-mismatch-after-restart",
            Self::LockUnsupported { .. } => "data-dir-lock-unsupported",
            Self::Permissions { .. } => "data-dir-permissions",
            Self::RootPermission { .. } => "root-dir-permission",
            Self::ReadOnly { .. } => "data-dir-read-only",
            Self::MetadataTooNew { .. } => "metadata-too-new",
            Self::CleanupFailed { .. } => "server-cleanup-failed",
            Self::Usage(_) => "usage",
            Self::Io { .. } => "io-error",
        }
    }

    /// The exit code of a command, and of a daemon that does not start (self-host.md 1).
    pub fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::ReadOnly { .. } | Self::LockUnsupported { .. } => 73,
            Self::Io { .. } => 74,
            Self::RepoLocked { .. } => 75,
            Self::Lost { .. } => 76,
            Self::Permissions { .. } | Self::RootPermission { .. } => 77,
            Self::MetadataTooNew { .. } => 78,
            Self::Child { exit, .. } => *exit,
            // The daemon's own code, where it has one that means a failure.
            Self::StartFailed { failure: Failure::Exit(code), .. } => u8::try_from(*code).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OwnedByOther { owner: Owner::Service, unit, .. } => match unit {
                Some(unit) => format!("use: systemctl stop {}", shlex::try_quote(unit).unwrap_or_default()),
                None => "use: systemctl".to_owned(),
            },
            Self::OwnedByOther { owner, .. } => format!("only {owner} may stop it"),
            Self::RepoLocked { legacy: true, .. } => "end the Logseq client that has this graph open".to_owned(),
            Self::RevisionMismatch { .. } => "--force replaces it nevertheless".to_owned(),
            Self::LockUnsupported { .. } => "--allow-weak-lock starts nevertheless, with a weaker lock".to_owned(),
            Self::Unresponsive { .. } => "its owner can restart it".to_owned(),
            Self::NotFound { .. } => "server list shows what runs".to_owned(),
            _ => return None,
        })
    }

    /// The error as it stands in JSON output and on the readiness pipe.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = match self.details() {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        members.insert("code".to_owned(), self.code().into());
        members.insert("message".to_owned(), self.to_string().into());
        if let Some(hint) = self.hint() {
            members.insert("hint".to_owned(), hint.into());
        }
        members
    }

    fn details(&self) -> Value {
        match self {
            Self::NotFound { repo } | Self::Lost { repo } => json!({ "repo": repo }),
            Self::OwnedByOther { repo, owner, requester, unit } => {
                json!({ "repo": repo, "owner": owner, "requester": requester, "unit": unit })
            }
            Self::RepoLocked { repo, holders, legacy } => json!({ "repo": repo, "holders": holders, "legacy": legacy }),
            Self::StartFailed { repo, command, failure, log_tail } => {
                let (exit_code, signal) = match failure {
                    Failure::Exit(code) => (Some(code), None),
                    Failure::Signal(signal) => (None, Some(signal)),
                    Failure::Silent | Failure::NotStarted(_) => (None, None),
                };
                json!({ "repo": repo, "command": command, "exit_code": exit_code, "signal": signal, "log_tail": log_tail })
            }
            Self::Child { details, .. } | Self::CleanupFailed { details, .. } => Value::Object(details.clone()),
            Self::Orphans { repo, left } => {
                let one = |left: &Left| json!({ "pid": left.pid, "command": left.command, "owner": left.owner });
                let pids: Vec<u32> = left.iter().map(|left| left.pid).collect();
                json!({ "repo": repo, "pids": pids, "processes": left.iter().map(one).collect::<Vec<_>>() })
            }
            Self::StopTimeout { repo, pid } => json!({ "repo": repo, "pid": pid }),
            Self::Unresponsive { repo, pid, owner } => json!({ "repo": repo, "pid": pid, "owner": owner }),
            Self::Unmanageable { repo, reason } => json!({ "repo": repo, "reason": reason }),
            Self::RevisionMismatch { repo, expected, actual, owner, why } => json!({
                "repo": repo, "expected_revision": expected, "actual_revision": actual, "owner": owner, "why": why,
            }),
            Self::MismatchNotStopped { repo, expected, actual, owner, stop_error } => json!({
                "repo": repo, "expected_revision": expected, "actual_revision": actual, "owner": owner,
                "stop_error": stop_error,
            }),
            Self::MismatchAfterRestart { repo, expected, actual, owner } => json!({
                "repo": repo, "expected_revision": expected, "actual_revision": actual, "owner": owner,
                "after_restart": true,
            }),
            Self::LockUnsupported { path, file_system } => json!({ "path": path, "filesystem": file_system }),
            Self::Permissions { path, problem } => json!({ "path": path, "problem": problem }),
            Self::RootPermission { path } | Self::ReadOnly { path } | Self::Io { path, .. } => json!({ "path": path }),
            Self::MetadataTooNew { repo, v } => json!({ "repo": repo, "v": v }),
            Self::Usage(_) => json!({}),
        }
    }
}

fn told(holder: &Value) -> String {
    match (holder.get("pid"), holder.get("owner").and_then(Value::as_str)) {
        (Some(pid), Some(owner)) => format!(", pid {pid}, owner {owner}"),
        (Some(pid), None) => format!(", pid {pid}"),
        _ => String::new(),
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Exit(code) => format!("it ended with code {code}"),
        Failure::Signal(signal) => format!("signal {signal} ended it"),
        Failure::Silent => "it said nothing within the time limit".to_owned(),
        Failure::NotStarted(why) => why.clone(),
    }
}

fn tail_words(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!("; log: {}", tail.trim_end()) }
}

fn pids_words(left: &[Left]) -> String {
    let pids: Vec<String> = left.iter().map(|left| left.pid.to_string()).collect();
    let word = if pids.len() == 1 { "pid" } else { "pids" };
    format!("{word} {}", pids.join(", "))
}

/// A holder's metadata as errors show it: what helps to find it, no paths of secrets.
pub(crate) fn holder(record: &Record) -> Value {
    json!({
        "graph": record.graph, "pid": record.pid, "owner": record.owner, "revision": record.revision,
        "lock_id": record.lock_id, "started_at": record.started_at, "listen": record.listen, "host": record.host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_has_its_own_kind() {
        let of = |kind: io::ErrorKind| Error::io(Path::new("/x"), kind.into());
        assert_eq!(of(io::ErrorKind::PermissionDenied).code(), "root-dir-permission");
        assert_eq!(
            (of(io::ErrorKind::ReadOnlyFilesystem).code(), of(io::ErrorKind::ReadOnlyFilesystem).exit()),
            ("data-dir-read-only", 73)
        );
        assert_eq!(of(io::ErrorKind::StorageFull).exit(), 74);
    }

    #[test]
    fn pids_and_commands_are_members_and_words() {
        let left = Left { pid: 7, command: "logseq-sync serve".into(), owner: Owner::Cli };
        let error = Error::Orphans { repo: "x".into(), left: vec![left] };
        let members = error.members();
        assert_eq!(members["pids"], json!([7]));
        assert_eq!(members["processes"][0]["owner"], "cli");
        assert_eq!(members["code"], "server-start-timeout-orphan");
        assert!(error.to_string().contains("pid 7"));
    }

    #[test]
    fn a_service_is_referred_to_its_manager() {
        let error = Error::OwnedByOther {
            repo: "x".into(),
            owner: Owner::Service,
            requester: Owner::Cli,
            unit: Some("logseq-sync.service".into()),
        };
        assert_eq!(error.hint().as_deref(), Some("use: systemctl stop logseq-sync.service"));
    }

    #[test]
    fn a_failed_start_has_the_daemons_exit_code_unless_it_was_none() {
        let exit = |failure| {
            Error::StartFailed { repo: String::new(), command: String::new(), failure, log_tail: String::new() }.exit()
        };
        assert_eq!(
            [Failure::Exit(78), Failure::Exit(0), Failure::Exit(-1), Failure::Signal(9), Failure::Silent].map(exit),
            [78, 1, 1, 1, 1]
        );
    }
}
