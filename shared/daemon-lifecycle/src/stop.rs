//! Ending a daemon (docs/spec/daemon.md 4.5). Success means that its process is gone and its lock is free.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::endpoint::{self, Endpoint};
use crate::identity::{self, Here, Seen, Verdict};
use crate::process::{self, Handle, Waited};
use crate::record::{Reading, Record, Status};
use crate::{Error, Limits, Owner, Scope, holder};

/// However long metadata says that a daemon takes to end, it is not waited for longer than this.
pub const LONGEST_STOP: Duration = Duration::from_mins(10);

/// What ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// It was asked to.
    Shutdown,
    /// SIGTERM.
    Sigterm,
    /// SIGKILL.
    Sigkill,
}

impl EndedBy {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Sigterm => "sigterm",
            Self::Sigkill => "sigkill",
        }
    }
}

/// A daemon that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its process.
    pub pid: u32,
    /// What ended it.
    pub ended_by: EndedBy,
    /// How long it took.
    pub took: Duration,
}

/// A process that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck;

/// Ends a process by signals: SIGTERM, and SIGKILL only after the wait for it. `lock` is the scope's lock file.
///
/// # Errors
///
/// [`Stuck`], also when the system refuses the signals.
pub fn terminate(handle: &Handle, lock: &Path, limits: &Limits) -> Result<EndedBy, Stuck> {
    let ended = |limit| handle.wait(limit).is_ok_and(|waited| waited == Waited::Ended);
    if state(handle, lock) == Some('T') {
        // A frozen process keeps SIGTERM for later.
        handle.signal(Signal::CONT).map_err(|_| Stuck)?;
    }
    handle.signal(Signal::TERM).map_err(|_| Stuck)?;
    if ended(limits.term) {
        return Ok(EndedBy::Sigterm);
    }
    // Who waits for a disk ends when the disk answers, whatever is sent.
    if state(handle, lock) == Some('D') {
        return Err(Stuck);
    }
    handle.signal(Signal::KILL).map_err(|_| Stuck)?;
    if ended(limits.kill) { Ok(EndedBy::Sigkill) } else { Err(Stuck) }
}

fn state(handle: &Handle, lock: &Path) -> Option<char> {
    match process::look(handle.pid(), lock) {
        Seen::Process(process) => Some(process.state),
        Seen::Gone => None,
    }
}

/// Ends the daemon of a scope, if `requester` may.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::OwnedByOther`], [`Error::Unmanageable`], [`Error::MetadataTooNew`], [`Error::StopTimeout`].
pub fn stop(scope: &Scope, requester: Owner, here: &Here, limits: &Limits) -> Result<Stopped, Error> {
    let since = Instant::now();
    // Bounded by the time that a lock may be held without metadata.
    loop {
        if !holder::is_held(scope)? {
            return Err(Error::NotFound { repo: scope.name() });
        }
        let reading = holder::reading(scope);
        if let Reading::TooNew { v, .. } = reading {
            return Err(Error::MetadataTooNew { repo: scope.name(), v });
        }
        if let Some(record) = reading.record() {
            match named(record, here, scope)? {
                Named::Handle(handle) => {
                    allowed(record, scope, requester)?;
                    return end(record, &handle, scope, limits);
                }
                Named::Elsewhere(reason) => return Err(Error::Unmanageable { repo: scope.name(), reason }),
                Named::Nobody => {}
            }
        }
        if since.elapsed() >= limits.metadata {
            return Err(Error::Unmanageable { repo: scope.name(), reason: "metadata" });
        }
        // Nothing tells when a lock is freed without taking it.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends whatever daemon stands in the way of deleting, moving or restoring a graph or a directory: its own, and those of a
/// directory's graphs. None is ended unless all may be.
///
/// # Errors
///
/// As of [`stop`]; that none runs is no error.
pub fn make_way(scope: &Scope, requester: Owner, here: &Here, limits: &Limits) -> Result<Vec<Stopped>, Error> {
    let mut scopes = vec![scope.clone()];
    if scope.graph().is_none() {
        scopes.extend(scope.graphs().map_err(|error| Error::io(scope.directory(), error))?);
    }
    // Bounded by the number of the directory's graphs.
    for scope in &scopes {
        if let (true, Some(record)) = (holder::is_held(scope)?, holder::reading(scope).record()) {
            allowed(record, scope, requester)?;
        }
    }
    let mut stopped = Vec::new();
    for scope in &scopes {
        match stop(scope, requester, here, limits) {
            Ok(one) => stopped.push(one),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stopped)
}

enum Named {
    Handle(Handle),
    Elsewhere(&'static str),
    Nobody,
}

fn named(record: &Record, here: &Here, scope: &Scope) -> Result<Named, Error> {
    let lock = scope.lock();
    let judged = identity::judge(&process::claim(record), here, &process::look(record.pid, &lock), true);
    Ok(match judged {
        Verdict::Elsewhere(reason) => Named::Elsewhere(reason.name()),
        Verdict::Dead => Named::Nobody,
        Verdict::Same => match Handle::of(record, here, &lock).map_err(|error| Error::io(&lock, error))? {
            Some(handle) => Named::Handle(handle),
            None => Named::Nobody,
        },
    })
}

/// Whether a daemon may be ended by `requester`.
///
/// # Errors
///
/// [`Error::OwnedByOther`].
pub fn allowed(record: &Record, scope: &Scope, requester: Owner) -> Result<(), Error> {
    if record.owner.lets(requester) {
        return Ok(());
    }
    let unit = match record.owner {
        Owner::Service => record.unit.clone().or_else(|| process::unit(record.pid)),
        _ => None,
    };
    Err(Error::OwnedByOther { repo: scope.name(), owner: record.owner, requester, unit })
}

/// Ends this daemon: it is asked to, and given the time it needs; then come signals.
///
/// # Errors
///
/// [`Error::StopTimeout`].
pub fn end(record: &Record, handle: &Handle, scope: &Scope, limits: &Limits) -> Result<Stopped, Error> {
    let since = Instant::now();
    let timeout = || Error::StopTimeout { repo: scope.name(), pid: handle.pid() };
    let ends_itself = record.status == Status::Stopping || asked(record, scope, handle, limits);
    let told = Duration::from_millis(record.stop_timeout_ms).min(LONGEST_STOP) + limits.grace;
    let own = limits.own_end.unwrap_or(told);
    let by_itself = ends_itself && handle.wait(own).is_ok_and(|waited| waited == Waited::Ended);
    let ended_by = if by_itself {
        EndedBy::Shutdown
    } else {
        terminate(handle, &scope.lock(), limits).map_err(|Stuck| timeout())?
    };
    if !freed(record, scope)? {
        return Err(timeout());
    }
    Ok(Stopped { pid: handle.pid(), ended_by, took: since.elapsed() })
}

/// Asks a daemon to end. Whether it said that it does.
fn asked(record: &Record, scope: &Scope, handle: &Handle, limits: &Limits) -> bool {
    if state(handle, &scope.lock()) == Some('T') {
        return false;
    }
    let (Some(endpoint), Some(token)) = (Endpoint::read(&record.endpoint), endpoint::token(scope, record)) else {
        return false;
    };
    let answer = endpoint::request(&endpoint, "POST", "/shutdown", Some(&token), b"", limits.probe);
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Waits until the lock is free, or somebody else's. The kernel frees it with the process; what could keep it is a child that
/// inherited it, which ours do not.
fn freed(record: &Record, scope: &Scope) -> Result<bool, Error> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let successor = || holder::reading(scope).record().is_some_and(|found| found.lock_id != record.lock_id);
        if !holder::is_held(scope)? || successor() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        // Nothing tells when a lock is freed without taking it.
        std::thread::sleep(Duration::from_millis(10));
    }
}
