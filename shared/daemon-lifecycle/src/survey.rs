//! Looking at a daemon: lock, metadata, process and health, as one state (docs/spec/daemon.md 4.4).

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::endpoint::{self, Endpoint};
use crate::identity::{self, Here, Seen, Verdict};
use crate::lock::{self, Held};
use crate::orphans::{self, Which};
use crate::record::{Reading, Record};
use crate::state::{self, Health, Look, Probe, State, Watch};
use crate::{Error, Limits, Owner, Program, Scope, holder, process};

/// What was seen.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The state.
    pub state: State,
    /// The metadata.
    pub reading: Reading,
    /// The lock.
    pub held: Held,
    /// Its health.
    pub probe: Probe,
    /// Whether its process was found.
    pub verdict: Option<Verdict>,
}

impl Sight {
    /// The metadata of a daemon that is there.
    pub fn record(&self) -> Option<&Record> {
        self.reading.record()
    }

    /// Whether its health was heard as ready.
    pub fn answers(&self) -> bool {
        matches!(&self.probe, Probe::Answered(health) if health.status == 200)
    }

    /// The owner: what the daemon says before what the file says.
    pub fn owner(&self) -> Owner {
        let told = if let Probe::Answered(health) = &self.probe { health.owner } else { None };
        told.or_else(|| self.record().map(|record| record.owner)).unwrap_or_default()
    }

    /// The revision: what the daemon says before what the file says.
    pub fn revision(&self) -> String {
        let told = if let Probe::Answered(health) = &self.probe { health.revision.clone() } else { None };
        told.or_else(|| self.record().map(|record| record.revision.clone())).unwrap_or_default()
    }
}

/// Looks at the daemon of one scope, again and again.
pub struct Survey<'a> {
    scope: &'a Scope,
    program: &'a Program,
    requester: Owner,
    limits: &'a Limits,
    here: Here,
    watch: Watch,
    watched: String,
    unnamed_since: Option<Instant>,
}

impl<'a> Survey<'a> {
    /// A survey that has seen nothing yet.
    ///
    /// # Errors
    ///
    /// When the process table cannot be read.
    pub fn new(scope: &'a Scope, program: &'a Program, requester: Owner, limits: &'a Limits) -> Result<Self, Error> {
        let here = process::here().map_err(process::failed)?;
        Ok(Self {
            scope,
            program,
            requester,
            limits,
            here,
            watch: Watch::default(),
            watched: String::new(),
            unnamed_since: None,
        })
    }

    /// Where this process runs.
    pub fn here(&self) -> &Here {
        &self.here
    }

    /// Looks once. Metadata that is of another daemon than the one that answers is read again, at most five times.
    ///
    /// # Errors
    ///
    /// When lock or process table cannot be read.
    pub fn look(&mut self) -> Result<Sight, Error> {
        let mut sight = self.look_once()?;
        for _ in 1..5 {
            if sight.state != State::Stale {
                break;
            }
            sight = self.look_once()?;
        }
        Ok(sight)
    }

    fn look_once(&mut self) -> Result<Sight, Error> {
        let path = self.scope.lock();
        let held = match lock::ask(&path).map_err(|error| Error::io(&path, error))? {
            // Daemons of single graphs: the directory's own does not run.
            Held::Shared => Held::Free,
            held => held,
        };
        let reading = holder::reading(self.scope);
        let mut verdict = None;
        let mut probe = Probe::NotMade;
        if let (true, Some(record)) = (held == Held::Exclusive, reading.record()) {
            let seen = process::look(record.pid, &path);
            let judged = identity::judge(&process::claim(record), &self.here, &seen, true);
            verdict = Some(judged);
            if judged != Verdict::Dead {
                probe = self.probe(record, &seen);
            }
        }
        let unnamed = held == Held::Exclusive && matches!(verdict, None | Some(Verdict::Dead));
        let unnamed_for = match (unnamed, self.unnamed_since) {
            (true, Some(since)) => since.elapsed(),
            (true, None) => {
                self.unnamed_since = Some(Instant::now());
                Duration::ZERO
            }
            (false, _) => {
                self.unnamed_since = None;
                Duration::ZERO
            }
        };
        let which = match held {
            Held::Free => Some(Which::Deleted),
            _ if unnamed && unnamed_for >= self.limits.metadata => Some(Which::Any),
            _ => None,
        };
        let orphans = match which {
            Some(which) => !orphans::find(self.scope, self.program, &self.here, which)?.is_empty(),
            None => false,
        };
        let look = Look {
            held,
            reading: &reading,
            verdict,
            unnamed_for,
            orphans,
            probe: &probe,
            requester: self.requester,
            revision: &self.program.build.revision,
        };
        let state = state::classify(&look, self.limits);
        Ok(Sight { state, reading, held, probe, verdict })
    }

    fn probe(&mut self, record: &Record, seen: &Seen) -> Probe {
        if self.watched != record.lock_id {
            self.watched.clone_from(&record.lock_id);
            self.watch = Watch::default();
        }
        if let Some(health) = probe(self.scope, record, self.limits) {
            self.watch.answered();
            return Probe::Answered(health);
        }
        // Of a process elsewhere nothing is known but its silence.
        let (state, cpu) = match seen {
            Seen::Process(process) => (process.state, process.cpu),
            Seen::Gone => ('S', 0),
        };
        Probe::Silent(self.watch.missed(Instant::now(), state, cpu))
    }
}

/// Asks a daemon for its health, once. `None` without an answer in time.
pub fn probe(scope: &Scope, record: &Record, limits: &Limits) -> Option<Health> {
    let endpoint = Endpoint::read(&record.endpoint)?;
    let token = endpoint::token(scope, record);
    let mut answer = endpoint::request(&endpoint, "GET", "/healthz", token.as_deref(), b"", limits.probe).ok()?;
    if answer.status == 401 {
        // The token's file is another daemon's already, or not ours to read: the bare health needs none.
        answer = endpoint::request(&endpoint, "GET", "/healthz", None, b"", limits.probe).ok()?;
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Health {
        status: answer.status,
        lock_id: text("lock_id")?,
        revision: text("revision"),
        version: text("version"),
        owner: text("owner").map(|name| Owner::read(&name)),
        clients: body.get("clients").and_then(Value::as_u64),
    })
}
