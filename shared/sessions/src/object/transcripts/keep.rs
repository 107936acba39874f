//! Keeping the conversation of a run, read from where its agent keeps it (transcripts.md 4.7).

use std::cell::Cell;
use std::rc::Rc;

use transcripts::bundle::Described;
use transcripts::capture::{CaptureError, capture, capture_now};
use transcripts::integrity;
use transcripts::limits::GROWTH_BYTES;
use transcripts::store::Place;
use transcripts::{Bundle, Refused, Status, StoreError};

use super::StoreFailure;
use crate::object::jobs::JobError;
use crate::object::{Platform, Session};
use crate::runtime::agent_server::AgentServer;
use crate::runtime::{Files, Runtime};
use crate::session::Job;
use crate::session::decide::{Keep, on_kept};
use crate::session::transcript::{Kept, attempt, run_name};

/// A conversation as it was read.
struct Captured {
    bundle: Bundle,
    agent: String,
    runtime: Runtime,
}

impl<P: Platform> Session<P> {
    /// Keeps the run that is over; then the next one may begin.
    pub(in crate::object) async fn keep_run(self: &Rc<Self>, generation: u64) -> Result<(), JobError> {
        let keeping = self.look(|core| core.state.transcript.keeping)?;
        let Some(keeping) = keeping.filter(|keeping| keeping.lease.generation == generation) else { return Ok(()) };
        let outcome = match self.keep_whole(keeping.run, keeping.attempt).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.warn("agents/transcript-not-kept", &error);
                Keep::Failed(error.told())
            }
        };
        self.change(|core, decide| on_kept(&mut core.state, decide, generation, outcome))?;
        Ok(())
    }

    async fn keep_whole(&self, run: u64, attempt: u64) -> Result<Keep, Unkept> {
        let Some(shelf) = self.shelf() else { return Ok(Keep::Nothing) };
        let Some(captured) = self.captured(run, attempt, true).await? else { return Ok(Keep::Nothing) };
        // A conversation that nobody can go on from is stored as one that failed.
        let whole = integrity::check(&captured.bundle);
        let status = if whole.is_ok() { Status::Completed } else { Status::Failed };
        let _writing = self.writing.lock().await;
        let epoch = self.epoch(&shelf).await?;
        let (session, user) = self.names()?;
        let name = run_name(run);
        let place = Place { session: &session, user: &user, epoch, run: &name, seq: run };
        let kept = self.snapshots(&shelf).keep(&place, status, attempt, &captured.bundle, self.platform.now_ms()).await;
        kept.map_err(StoreFailure::from)?;
        Ok(match whole {
            Ok(()) => Keep::Kept(Kept {
                run,
                sha256: Some(captured.bundle.sha256()),
                agent: captured.agent,
                native_session_id: captured.runtime.session_id,
                directory: captured.runtime.directory,
            }),
            Err(why) => Keep::Incomplete(why.to_string()),
        })
    }

    /// Keeps what there is of the run that goes on, for its people only.
    pub(in crate::object) async fn keep_partial(&self) -> Result<(), JobError> {
        if self.is_keeping_partial.replace(true) {
            // Whoever is at it keeps the same.
            return Ok(());
        }
        let _done = Done(&self.is_keeping_partial);
        self.heard.set(0);
        self.keep_partial_now().await
    }

    /// The agent said something: a conversation that has grown much is kept before its time. What the agent writes down is not watched;
    /// it grows with what is said.
    pub(in crate::object) fn grows(&self, bytes: usize) {
        let heard = self.heard.get().saturating_add(bytes);
        self.heard.set(heard);
        if heard >= GROWTH_BYTES && self.is_being_kept().unwrap_or(false) {
            self.start(Job::KeepPartial);
        }
    }

    /// Whether a run goes on of which something can be kept.
    fn is_being_kept(&self) -> Result<bool, crate::error::Error> {
        self.look(|core| {
            let state = &core.state;
            let is_running = state.turn.as_ref().is_some_and(crate::session::Turn::is_with_agent);
            is_running && state.runtime.as_ref().is_some_and(|runtime| runtime.can_load)
        })
    }

    async fn keep_partial_now(&self) -> Result<(), JobError> {
        let turn = self.look(|core| core.state.turn.as_ref().map(|turn| (turn.number, attempt(turn))))?;
        let (Some((run, attempt)), Some(shelf)) = (turn, self.shelf()) else { return Ok(()) };
        let partial = async {
            let Some(captured) = self.captured(run, attempt, false).await? else { return Ok(()) };
            let _writing = self.writing.lock().await;
            let epoch = self.epoch(&shelf).await?;
            let (session, user) = self.names()?;
            let name = run_name(run);
            let place = Place { session: &session, user: &user, epoch, run: &name, seq: run };
            let now = self.platform.now_ms();
            self.snapshots(&shelf)
                .keep_partial(&place, attempt, &captured.bundle, now)
                .await
                .map_err(StoreFailure::from)?;
            Ok::<(), Unkept>(())
        };
        match partial.await {
            Ok(()) => {}
            Err(error) => self.warn("agents/transcript-not-kept", &error),
        }
        Ok(())
    }

    /// What the agent has written; `settled`: when it has stopped writing. None when nobody knows where.
    async fn captured(&self, run: u64, attempt: u64, settled: bool) -> Result<Option<Captured>, Unkept> {
        let found = self.look(|core| (core.state.runtime.clone(), core.task.launch().agent))?;
        let (Some(runtime), Some(agent)) = found else { return Ok(None) };
        let settings = &self.settings.transcripts;
        let patterns = settings.places.of(&agent, &runtime.session_id, &runtime.directory);
        if patterns.is_empty() {
            return Ok(None);
        }
        let fetch = self.platform.fetch();
        let files = Files(AgentServer::of(&runtime, &fetch, &self.platform));
        let home = files.home().await.map_err(CaptureError::from)?;
        let members = if settled {
            capture(&files, &home, &patterns, settings.max_bytes).await?
        } else {
            capture_now(&files, &home, &patterns, settings.max_bytes).await?
        };
        if members.is_empty() {
            return Ok(None);
        }
        let described = Described {
            agent: agent.clone(),
            native_session_id: runtime.session_id.clone(),
            cwd: runtime.directory.clone(),
            run: run_name(run),
            attempt,
            ..Described::default()
        };
        let bundle =
            Bundle::new(described, members, settings.max_bytes).map_err(|error| Unkept::Bundle(error.to_string()))?;
        Ok(Some(Captured { bundle, agent, runtime }))
    }

    /// The session and its user.
    pub(in crate::object) fn names(&self) -> Result<(String, String), crate::error::Error> {
        self.look(|core| (core.state.id.clone(), core.state.requested_by.clone()))
    }
}

/// Something goes on as long as this lives, also when it is given up.
struct Done<'a>(&'a Cell<bool>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Why a conversation was not kept. The texts are for logs.
#[derive(Debug, thiserror::Error)]
enum Unkept {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error(transparent)]
    Session(#[from] crate::error::Error),
    #[error("{0}")]
    Bundle(String),
}

impl Unkept {
    /// What viewers are told: what their agent has to do with.
    fn told(&self) -> String {
        match self {
            Self::Store(StoreFailure::Store(StoreError::Refused(refused @ Refused::Quota))) => refused.to_string(),
            Self::Capture(error @ (CaptureError::Nothing | CaptureError::TooLarge | CaptureError::Unsettled)) => {
                error.to_string()
            }
            _ => "the transcript could not be kept".to_owned(),
        }
    }
}
