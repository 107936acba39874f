//! A new session of the agent goes on with the conversation that was kept (transcripts.md 4.6).

use serde_json::json;
use transcripts::hydrate::Mark;
use transcripts::limits::HYDRATE_PAUSES_MS;
use transcripts::store::Snapshot;

use super::{Shelf, StoreFailure};
use crate::event::{Draft, Kind};
use crate::object::core::Core;
use crate::object::{Platform, Session};
use crate::runtime::{Resume, Runtime, RuntimeError, load_rpc_id};
use crate::session::decide::Decide;
use crate::session::transcript::{Kept, run_name};

impl<P: Platform> Session<P> {
    /// The conversation that the next session of the agent is to go on with; none when there is none.
    ///
    /// # Errors
    /// [`RuntimeError::NotHydrated`] when there is one and nobody can read it now.
    pub(in crate::object) async fn conversation(&self) -> Result<Option<Resume>, RuntimeError> {
        let failed = |error: &dyn std::fmt::Display| RuntimeError::NotHydrated(error.to_string());
        let known = self.look(|core| (core.state.transcript.kept.clone(), core.task.launch().agent));
        let (kept, agent) = known.map_err(|error| failed(&error))?;
        let (Some(kept), Some(shelf)) = (kept, self.shelf()) else { return Ok(None) };
        if agent.as_deref() != Some(kept.agent.as_str()) {
            // One agent does not read the files of another.
            return Ok(None);
        }
        let epoch = self.epoch(&shelf).await.map_err(|error| failed(&error))?;
        let snapshot = match self.last_snapshot(&shelf, epoch).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.warn("agents/transcript-not-read", &error);
                None
            }
        };
        Ok(Some(self.resume(kept, snapshot, epoch).map_err(|error| failed(&error))?))
    }

    /// What was read of the store counts; what is only known, where nothing could be read.
    fn resume(&self, kept: Kept, snapshot: Option<Snapshot>, epoch: u64) -> Result<Resume, crate::error::Error> {
        let (session, _) = self.names()?;
        let mark = |run_seq| Mark { session, epoch, run_seq };
        let continues = self.settings.transcripts.continues;
        Ok(match snapshot {
            Some(snapshot) => {
                let described = &snapshot.bundle.manifest().described;
                Resume {
                    mark: mark(snapshot.seq),
                    native_session_id: described.native_session_id.clone(),
                    directory: described.cwd.clone(),
                    bundle: Some(snapshot.bundle),
                    continues,
                }
            }
            None => Resume {
                mark: mark(kept.run),
                bundle: None,
                native_session_id: kept.native_session_id,
                directory: kept.directory,
                continues,
            },
        })
    }

    async fn last_snapshot(&self, shelf: &Shelf<P>, epoch: u64) -> Result<Option<Snapshot>, StoreFailure> {
        let (session, user) = self.names()?;
        let store = self.snapshots(shelf);
        for pause in HYDRATE_PAUSES_MS {
            match store.latest(&session, &user, epoch).await {
                Ok(snapshot) => return Ok(snapshot),
                Err(_) => self.platform.sleep_ms(pause).await,
            }
        }
        Ok(store.latest(&session, &user, epoch).await?)
    }
}

/// A session of the agent was opened: whether it is the kept one is told, and remembered.
pub(in crate::object) fn note_opened(
    core: &mut Core,
    decide: &mut Decide<'_>,
    resume: Option<&Resume>,
    runtime: &Runtime,
    first_rpc_id: u64,
) {
    core.state.tools.opened(runtime.has_tools);
    let transcript = &mut core.state.transcript;
    let is_loaded = resume.is_some_and(|resume| resume.native_session_id == runtime.session_id);
    transcript.replay_until = is_loaded.then(|| load_rpc_id(first_rpc_id));
    // A new session of the agent knows nothing of a conversation that was kept.
    transcript.is_lost = !is_loaded && transcript.kept.is_some();
    let Some(kept) = &transcript.kept else { return };
    let run = resume.map_or(kept.run, |resume| resume.mark.run_seq);
    let name = if is_loaded { "transcript.loaded" } else { "transcript.load_failed" };
    let draft = Draft::new(Kind::stored(name), json!({"run": run_name(run), "runtime-session-id": runtime.session_id}));
    decide.append(&mut core.state, draft);
}

/// The agent's session was opened by a runner that calls us, which has brought it the conversation or not.
pub(in crate::object) fn note_opened_as(
    core: &mut Core,
    decide: &mut Decide<'_>,
    is_loaded: bool,
    runtime_session_id: &str,
) {
    let transcript = &mut core.state.transcript;
    transcript.replay_until = None;
    // Each prompt brings what its shim needs for an agent that does not know the conversation.
    transcript.is_lost = false;
    let Some(kept) = &transcript.kept else { return };
    let (name, run) = (if is_loaded { "transcript.loaded" } else { "transcript.load_failed" }, run_name(kept.run));
    let data = json!({"run": run, "runtime-session-id": runtime_session_id});
    decide.append(&mut core.state, Draft::new(Kind::stored(name), data));
}
