//! Finding the daemon of a scope, or starting it (docs/spec/daemon.md 4.4, 4.5).

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::endpoint::{self, Endpoint};
use crate::lock::{self, Held};
use crate::orphans::{self, Which};
use crate::policy::{self, Other, Replacement};
use crate::process::{Handle, Waited};
use crate::record::{Reading, Record};
use crate::spawn::{self, Attached};
use crate::state::{Probe, State};
use crate::stop::{self, Stopped};
use crate::survey::{Sight, Survey};
use crate::{Error, Limits, Owner, Program, Scope, holder};

/// How often a start begins anew after another starter won and failed.
const STARTS: u32 = 3;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// For what.
    pub scope: &'a Scope,
    /// Who asks.
    pub requester: Owner,
    /// What is started.
    pub program: &'a Program,
    /// Further words of its command line.
    pub flags: &'a [OsString],
    /// How long things may take.
    pub limits: Limits,
    /// Make a daemon of nobody the requester's. The command line's only.
    pub take_over: bool,
    /// Replace a daemon of another build whatever uses it.
    pub force: bool,
    /// Whether a started daemon ends with this process: a desktop app's does.
    pub attached: bool,
}

/// A daemon that answers.
#[derive(Debug)]
pub struct Runtime {
    /// Its metadata.
    pub record: Record,
    /// Whether the requester may stop it.
    pub owned: bool,
    /// Whether it was started now.
    pub started: bool,
    /// Processes without a lock that were ended.
    pub recovered: Vec<u32>,
    /// A daemon of another build that it took the place of.
    pub replaced: Option<Stopped>,
    /// What keeps it alive, if it is attached.
    pub attached: Option<Attached>,
}

/// Finds the daemon of a scope, or starts it.
///
/// # Errors
///
/// [`Error`].
pub fn ensure(request: &Request<'_>) -> Result<Runtime, Error> {
    let survey = Survey::new(request.scope, request.program, request.requester, &request.limits)?;
    Ensuring { request, survey, starts: 0, recovered: Vec::new(), replaced: None, waiting: None }.run()
}

struct Ensuring<'a> {
    request: &'a Request<'a>,
    survey: Survey<'a>,
    starts: u32,
    recovered: Vec<u32>,
    replaced: Option<Stopped>,
    /// What is waited for, and since when.
    waiting: Option<(State, String, Instant)>,
}

impl Ensuring<'_> {
    fn run(mut self) -> Result<Runtime, Error> {
        // Bounded: each state is waited for within a limit, starts and replacements are counted.
        loop {
            self.refuse_other_level()?;
            let sight = self.survey.look()?;
            let done = match sight.state {
                State::Stopped => self.start()?,
                State::Orphan => {
                    self.recover(sight.held)?;
                    self.start()?
                }
                State::Remote(reason) => Some(self.remote(&sight, reason.name())?),
                State::Starting | State::Busy | State::Stale => self.wait(&sight)?,
                State::Stopping => self.wait_for_end(&sight)?,
                State::Hung => self.hung(&sight)?,
                State::TooNew => {
                    let v = if let Reading::TooNew { v, .. } = sight.reading { v } else { 0 };
                    return Err(Error::MetadataTooNew { repo: self.repo(), v });
                }
                State::Mismatch => self.mismatch(&sight)?,
                State::Foreign | State::Ready => self.reuse(&sight)?,
            };
            if let Some(runtime) = done {
                return Ok(runtime);
            }
        }
    }

    fn repo(&self) -> String {
        self.request.scope.name()
    }

    fn lock_io(&self, error: std::io::Error) -> Error {
        Error::io(&self.request.scope.lock(), error)
    }

    /// A directory's daemon keeps daemons of its graphs out, and they keep it out: neither serves in the other's place.
    fn refuse_other_level(&self) -> Result<(), Error> {
        let scope = self.request.scope;
        let whole = scope.whole();
        let other = if scope.graph().is_some() { Held::Exclusive } else { Held::Shared };
        if lock::ask(&whole.lock()).map_err(|error| self.lock_io(error))? == other {
            return Err(Error::RepoLocked { repo: self.repo(), holders: holder::holders(&whole), legacy: false });
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Option<Runtime>, Error> {
        let Request { scope, program, requester, flags, limits, attached, .. } = self.request;
        self.starts += 1;
        let command = program.command(scope, *requester, flags);
        match spawn::start(program, &command, scope, *attached, limits) {
            Ok(started) => {
                let expected = &program.build.revision;
                if started.record.revision != *expected && !started.record.revision.is_empty() {
                    return Err(Error::MismatchAfterRestart {
                        repo: self.repo(),
                        expected: expected.clone(),
                        actual: started.record.revision,
                        owner: started.record.owner,
                    });
                }
                self.recovered.extend(started.recovered);
                Ok(Some(Runtime {
                    record: self.whole(started.record),
                    owned: true,
                    started: true,
                    recovered: std::mem::take(&mut self.recovered),
                    replaced: self.replaced.take(),
                    attached: started.attached,
                }))
            }
            // Another starter was quicker: from here on this is a client of the winner's daemon.
            Err(Error::Child { code, details, .. })
                if code == "repo-locked" && details.get("legacy") != Some(&json!(true)) && self.starts < STARTS =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A record that was cut short to fit the pipe is read from its file.
    fn whole(&self, record: Record) -> Record {
        match holder::reading(self.request.scope) {
            Reading::Valid(found) if found.lock_id == record.lock_id => *found,
            _ => record,
        }
    }

    fn recover(&mut self, held: Held) -> Result<(), Error> {
        let which = if held == Held::Free { Which::Deleted } else { Which::Any };
        let Request { scope, program, limits, .. } = self.request;
        let contact = orphans::Contact::of(scope);
        self.recovered.extend(orphans::recover(scope, program, self.survey.here(), which, &contact, limits)?);
        Ok(())
    }

    fn remote(&self, sight: &Sight, reason: &'static str) -> Result<Runtime, Error> {
        let expected = &self.request.program.build.revision;
        match sight.record() {
            Some(record) if sight.answers() && sight.revision() == *expected => Ok(self.found(record, sight)),
            Some(_) if sight.answers() => Err(Error::RevisionMismatch {
                repo: self.repo(),
                expected: expected.clone(),
                actual: sight.revision(),
                owner: sight.owner(),
                why: reason,
            }),
            _ => Err(Error::Unmanageable { repo: self.repo(), reason }),
        }
    }

    fn found(&self, record: &Record, sight: &Sight) -> Runtime {
        let remote = matches!(sight.state, State::Remote(_));
        Runtime {
            record: Record { owner: sight.owner(), ..record.clone() },
            owned: !remote && sight.owner().lets(self.request.requester),
            started: false,
            recovered: self.recovered.clone(),
            replaced: self.replaced.clone(),
            attached: None,
        }
    }

    fn reuse(&mut self, sight: &Sight) -> Result<Option<Runtime>, Error> {
        let Some(record) = sight.record() else {
            return Ok(None);
        };
        let Request { scope, requester, take_over, limits, .. } = self.request;
        let mut runtime = self.found(record, sight);
        if *take_over && *requester == Owner::Cli && runtime.record.owner == Owner::Unknown {
            let endpoint = Endpoint::read(&record.endpoint).zip(endpoint::token(scope, record));
            let body = json!({ "owner": requester }).to_string();
            let told = endpoint.and_then(|(endpoint, token)| {
                endpoint::request(&endpoint, "POST", "/admin/owner", Some(&token), body.as_bytes(), limits.probe).ok()
            });
            if told.is_none_or(|answer| answer.status != 200) {
                return Err(Error::Unmanageable { repo: self.repo(), reason: "owner" });
            }
            runtime.record.owner = *requester;
        }
        Ok(Some(runtime))
    }

    /// Waits a moment for a daemon that will answer.
    fn wait(&mut self, sight: &Sight) -> Result<Option<Runtime>, Error> {
        let lock_id = sight.record().map(|record| record.lock_id.clone()).unwrap_or_default();
        let limits = &self.request.limits;
        let limit = if sight.state == State::Starting { limits.silence } else { limits.busy.max(limits.silence) };
        let since = match &self.waiting {
            Some((state, id, since)) if *state == sight.state && *id == lock_id => *since,
            _ => {
                let now = Instant::now();
                self.waiting = Some((sight.state, lock_id, now));
                now
            }
        };
        if since.elapsed() > limit {
            let pid = sight.record().map(|record| record.pid);
            return Err(Error::Unresponsive { repo: self.repo(), pid, owner: sight.owner() });
        }
        match self.handle(sight)? {
            Some(handle) => {
                // Its end ends the wait.
                let _ = handle.wait(limits.period);
            }
            // Who holds the lock has not said which process it is.
            None => std::thread::sleep(limits.period.min(Duration::from_millis(50))),
        }
        Ok(None)
    }

    fn handle(&self, sight: &Sight) -> Result<Option<Handle>, Error> {
        match sight.record() {
            Some(record) => {
                Handle::of(record, self.survey.here(), &self.request.scope.lock()).map_err(|error| self.lock_io(error))
            }
            None => Ok(None),
        }
    }

    fn wait_for_end(&mut self, sight: &Sight) -> Result<Option<Runtime>, Error> {
        if let (Some(record), Some(handle)) = (sight.record(), self.handle(sight)?) {
            let own = Duration::from_millis(record.stop_timeout_ms).min(stop::LONGEST_STOP);
            if handle.wait(own + self.request.limits.grace).is_ok_and(|waited| waited == Waited::Runs) {
                return self.hung(sight);
            }
        }
        Ok(None)
    }

    fn hung(&mut self, sight: &Sight) -> Result<Option<Runtime>, Error> {
        let (Some(record), Some(handle)) = (sight.record(), self.handle(sight)?) else {
            return Ok(None);
        };
        let owner = sight.owner();
        if !owner.lets(self.request.requester) {
            return Err(Error::Unresponsive { repo: self.repo(), pid: Some(record.pid), owner });
        }
        stop::terminate(&handle, &self.request.scope.lock(), &self.request.limits)
            .map_err(|stop::Stuck| Error::StopTimeout { repo: self.repo(), pid: record.pid })?;
        Ok(None)
    }

    fn mismatch(&mut self, sight: &Sight) -> Result<Option<Runtime>, Error> {
        let Some(record) = sight.record() else {
            return Ok(None);
        };
        let Request { scope, program, requester, limits, force, .. } = self.request;
        let (expected, actual, owner) = (program.build.revision.clone(), sight.revision(), sight.owner());
        let repo = self.repo();
        if self.replaced.is_some() {
            return Err(Error::MismatchAfterRestart { repo, expected, actual, owner });
        }
        let (version, clients) = match &sight.probe {
            Probe::Answered(health) => (health.version.as_deref(), health.clients),
            _ => (None, None),
        };
        let other = Other { owner, version, clients };
        if let Replacement::Refuse(why) = policy::replacement(&other, *requester, &program.build, *force) {
            return Err(Error::RevisionMismatch { repo, expected, actual, owner, why });
        }
        let Some(handle) = self.handle(sight)? else {
            return Ok(None);
        };
        let stopped = stop::end(record, &handle, scope, limits).map_err(|error| Error::MismatchNotStopped {
            repo,
            expected,
            actual,
            owner,
            stop_error: error.to_string(),
        })?;
        self.replaced = Some(stopped);
        Ok(None)
    }
}
