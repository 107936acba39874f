//! Git's credentials are asked for, and nothing lies in the sandbox (agents.md 20.6).

use transcripts::run_token::Run;

use super::core::Core;
use super::jobs::JobError;
use super::{Platform, Session};
use crate::error::Error;
use crate::repository::Repository;
use crate::runtime::{GitBroker, Holder, Provider, ProviderKind};
use crate::session::transcript::{attempt, run_name};
use crate::task::Task;

/// How often a file is written again because a turn began meanwhile.
const TRIES: u32 = 3;

impl<P: Platform> Session<P> {
    /// Where sandboxes reach this service.
    pub(super) fn service_url<'a>(&'a self, core: &'a Core) -> Option<&'a str> {
        self.settings.base_url.as_deref().or(core.state.service_url.as_deref())
    }

    /// How git in the session's sandbox gets tokens for its repository; none where it does not ask for them, or cannot.
    pub(super) fn broker(&self, core: &Core) -> Option<GitBroker> {
        if !self.is_brokered(&core.task) {
            return None;
        }
        let state = &core.state;
        let holder = Holder {
            user: &state.requested_by,
            session: &state.id,
            run: (state.turns > 0).then(|| Run { run: run_name(state.turns), seq: state.turns }),
            attempt: state.turn.as_ref().map_or(1, attempt),
            epoch: state.transcript.epoch.unwrap_or_default(),
        };
        GitBroker::new(self.service_url(core)?, self.settings.transcripts.tokens.as_ref()?, holder)
    }

    /// Whether git in a sandbox of this task asks for tokens: its repository is at GitHub.
    pub(super) fn is_brokered(&self, task: &Task) -> bool {
        let is_there = task.repo_url().is_some_and(|url| Repository::parse(url).is_ok());
        self.settings.github.is_brokered && is_there
    }

    /// Where no token can be signed, no sandbox is made whose git would ask with one.
    pub(super) fn check_broker(&self, task: &Task) -> Result<(), Error> {
        let has_keys = self.settings.transcripts.tokens.is_some();
        let asks = self.is_brokered(task) && self.provider_kind(task) == ProviderKind::E2b;
        if has_keys || !asks { Ok(()) } else { Err(Error::SecretsKey) }
    }

    /// Brings a new token into the sandbox while a turn goes on: one lives for a quarter of an hour.
    pub(super) async fn renew_broker(&self) -> Result<(), JobError> {
        for _ in 0..TRIES {
            let Some(runtime) = self.bound()? else { return Ok(()) };
            let turns = self.look(|core| core.state.turns)?;
            let wanted = self.wanted(false).await?;
            if wanted.wish().broker.is_none() {
                return Ok(());
            }
            self.platform.runtimes(runtime.provider).renew_broker(&runtime, &wanted.wish()).await?;
            let is_latest = self.change(|core, _| {
                if let Some(bound) = core.state.runtime.as_mut().filter(|bound| bound.sandbox_id == runtime.sandbox_id)
                {
                    bound.broker_at = Some(wanted.wish().now);
                }
                core.state.turns == turns
            })?;
            // Else this one may have come after that of the next turn.
            if is_latest {
                return Ok(());
            }
        }
        Ok(())
    }
}
