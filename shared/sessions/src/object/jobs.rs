//! Work outside of the object, one function a kind. What comes of it happens to the session.

use std::rc::Rc;

use serde_json::Value;
use web::{Event, Level};

use super::workspace::Leaving;
use super::{Platform, Session};
use crate::acp::request;
use crate::event::{Checkpoint, Draft};
use crate::legacy::{Dialect, request as legacy_request};
use crate::runtime::exchange::within;
use crate::runtime::{Provider, Runtime, RuntimeError, Stopped};
use crate::session::decide::{begin_saving, on_answered, on_build, on_ended, on_killed, on_saving_before_kill};
use crate::session::{Checkpointing, Job, Phase, StopCause};

impl<P: Platform> Session<P> {
    /// Begins work. It goes on as long as the object lives; what was begun is written down.
    pub(super) fn start(&self, job: Job) {
        let Some(me) = self.me.upgrade() else { return };
        match job {
            Job::Attach => {
                me.attach();
                self.platform.spawn(async move { me.follow_again().await });
            }
            Job::Detach => me.detach(),
            Job::TellList => self.tell_row_again(),
            job => self.platform.spawn(async move { me.run(job).await }),
        }
    }

    async fn run(self: Rc<Self>, job: Job) {
        let done = match job {
            Job::Provision { generation } => self.provision(generation).await,
            Job::PollBuild => self.poll_build().await,
            Job::DestroyUnbound => self.destroy_unbound().await,
            Job::Destroy { sandbox_id } => self.destroy(&sandbox_id).await,
            Job::SettleTerminals => self.settle_terminals().await,
            Job::Prompt { turn } => self.prompt(turn).await,
            Job::Tell(envelope) => self.tell(&envelope).await,
            Job::AskToStop => self.ask_to_stop().await,
            Job::Answer { request_id } => self.answer(&request_id).await,
            Job::Kill { turn } => self.kill(turn).await,
            Job::Checkpoint(checkpointing) => self.note_checkpoint(&checkpointing).await,
            Job::End { generation, checkpoint } => self.end(generation, checkpoint).await,
            Job::Extend => self.extend().await,
            Job::RenewBroker => self.renew_broker().await,
            Job::Keep { generation } => self.keep_run(generation).await,
            Job::KeepPartial => self.keep_partial().await,
            Job::Remove => self.remove().await,
            Job::TellUsage => self.tell_usage().await,
            Job::Notify => self.notify().await,
            Job::FollowUp => self.follow_up(),
            Job::PushFollowUp => self.push_follow_up().await,
            Job::TellPulls => self.tell_pulls().await,
            Job::TendWatches { ids } => self.tend_watches(&ids).await,
            Job::Ring(key) => self.ring_runner(&key).await,
            Job::LeaveRunner { key, runner_id } => self.leave_runner(&key, &runner_id).await,
            Job::Attach | Job::Detach | Job::TellList => Ok(()),
        };
        if let Err(error) = done {
            self.warn("agents/work-failed", &error);
        }
    }

    /// Tells the operator of something that is settled otherwise.
    pub(super) fn warn(&self, name: &'static str, error: &dyn std::fmt::Display) {
        let text = self.look(|core| core.redactor.clean(&error.to_string())).ok().flatten();
        self.platform.report(&Event::new(Level::Warning, name).with_error(&text.unwrap_or_else(|| error.to_string())));
    }

    /// The runtime that the session is bound to.
    pub(super) fn bound(&self) -> Result<Option<Runtime>, JobError> {
        Ok(self.look(|core| core.state.runtime.clone())?)
    }

    async fn tell(&self, envelope: &Value) -> Result<(), JobError> {
        let Some(runtime) = self.bound()? else { return Ok(()) };
        Ok(self.platform.runtimes(runtime.provider).tell(&runtime, envelope).await?)
    }

    async fn ask_to_stop(&self) -> Result<(), JobError> {
        let Some(runtime) = self.bound()? else { return Ok(()) };
        let session = self.look(|core| core.state.turn.as_ref().and_then(|turn| turn.runtime_session_id.clone()))?;
        let session = session.unwrap_or_else(|| runtime.session_id.clone());
        let provider = self.platform.runtimes(runtime.provider);
        match runtime.dialect {
            Dialect::Acp => provider.tell(&runtime, &request::cancel(&session)).await?,
            Dialect::Legacy => {
                let call = legacy_request::terminate(&runtime.base_url, &runtime.server_id);
                provider.tell_legacy(&runtime, &call).await?;
            }
        }
        Ok(())
    }

    async fn answer(&self, request_id: &str) -> Result<(), JobError> {
        let Some(runtime) = self.bound()? else { return Ok(()) };
        let found =
            self.look(|core| core.state.approvals.iter().find(|approval| approval.request_id == request_id).cloned())?;
        let Some(approval) = found else { return Ok(()) };
        let provider = self.platform.runtimes(runtime.provider);
        let told = match runtime.dialect {
            Dialect::Acp => {
                provider.tell(&runtime, &request::permission_answer(&approval.reply_to, approval.answer())).await
            }
            Dialect::Legacy => {
                let permission = approval.reply_to.as_str().unwrap_or_default();
                let reply = approval.option_id.as_deref().and_then(legacy_request::Reply::of_option);
                let reply = reply.unwrap_or(legacy_request::Reply::Reject);
                let call = legacy_request::permission(&runtime.base_url, &runtime.server_id, permission, reply);
                provider.tell_legacy(&runtime, &call).await
            }
        };
        self.change(|core, decide| on_answered(&mut core.state, decide, request_id, told.is_ok()))?;
        Ok(told?)
    }

    async fn kill(&self, turn: u64) -> Result<(), JobError> {
        let cause = self.look(|core| match core.state.turn.as_ref().map(|turn| turn.phase) {
            Some(Phase::Killing(cause)) => Some(cause),
            _ => None,
        })?;
        let (Some(mut runtime), Some(cause)) = (self.bound()?, cause) else { return Ok(()) };
        let provider = self.platform.runtimes(runtime.provider);
        // Pausing freezes every process of a sandbox.
        let how = if cause == StopCause::Cancel && runtime.sandbox_id.is_some() {
            self.close_terminals().await;
            // A push that goes on does not keep an agent from being stopped.
            if let Some(_alone) = self.saving.try_lock() {
                self.save_before_kill(&runtime, turn).await?;
            }
            provider.end(&runtime).await.map_or(Stopped::Unproven, |()| Stopped::Paused)
        } else {
            provider.kill_agent(&mut runtime).await
        };
        self.change(|core, decide| on_killed(&mut core.state, decide, turn, how))?;
        Ok(())
    }

    /// The agent goes on until it is paused: what it was told to make is kept as quickly as that can be done.
    async fn save_before_kill(&self, runtime: &Runtime, turn: u64) -> Result<(), JobError> {
        let limit = self.times.saving() / 6;
        self.change(|core, decide| on_saving_before_kill(&mut core.state, decide, turn, limit.saturating_mul(2)))?;
        let partial = within(&self.platform, u32::try_from(limit).unwrap_or(u32::MAX), self.keep_partial()).await;
        if let Some(Err(error)) = partial {
            self.warn("agents/work-failed", &error);
        }
        self.save_tree(runtime, Leaving::Paused, limit).await;
        Ok(())
    }

    async fn end(self: &Rc<Self>, generation: u64, checkpoint: Option<Checkpointing>) -> Result<(), JobError> {
        if let Some(runtime) = self.bound()? {
            self.snapshot_at_end(&runtime, generation).await?;
        }
        if let Some(checkpointing) = checkpoint {
            self.note_checkpoint(&checkpointing).await?;
        }
        self.detach();
        self.close_terminals().await;
        // A push that goes on is not frozen in the middle, and one that comes now wakes the sandbox again.
        let _alone = self.saving.lock().await;
        if !self.change(|core, decide| begin_saving(&mut core.state, decide, generation))? {
            return Ok(());
        }
        let Some(runtime) = self.bound()? else { return Ok(()) };
        let provider = self.platform.runtimes(runtime.provider);
        let for_good = self.look(|core| core.state.ending.is_some_and(|ending| ending.for_good))?;
        let leaving = if for_good { Leaving::Removed } else { Leaving::Paused };
        self.save_tree(&runtime, leaving, self.times.saving()).await;
        let ending = async { if for_good { self.give_up(&runtime).await } else { provider.end(&runtime).await } };
        let limit = u32::try_from(self.times.ending()).unwrap_or(u32::MAX);
        let ended = within(&self.platform, limit, ending).await.unwrap_or(Err(RuntimeError::TimedOut));
        let free = ended.is_ok() && runtime.runner_id.is_some();
        self.change(|core, decide| on_ended(&mut core.state, decide, generation, &ended))?;
        if free {
            self.free_runner(&runtime).await;
        }
        Ok(ended?)
    }

    /// Ends a runtime that nobody comes back to: a sandbox is removed, a server of the agent is ended.
    pub(super) async fn give_up(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        let provider = self.platform.runtimes(runtime.provider);
        match &runtime.sandbox_id {
            Some(sandbox_id) => provider.destroy(sandbox_id).await,
            None => provider.end(runtime).await,
        }
    }

    /// Notes a known snapshot again (agents.md 3.13). Nothing that fails here keeps anything else from being done.
    pub(super) async fn note_checkpoint(&self, wanted: &Checkpointing) -> Result<(), JobError> {
        let by = wanted.by.as_deref();
        self.change(|core, decide| {
            decide.append(&mut core.state, Draft::checkpoint_started(by, wanted.reason));
        })?;
        let found = self.known_snapshot().await;
        if let Some(snapshot) = &found {
            self.keep_snapshot(snapshot, wanted.reason).await;
        }
        let found = found
            .as_ref()
            .map(|snapshot| Checkpoint { snapshot_id: &snapshot.snapshot_id, provider: &snapshot.provider });
        self.change(|core, decide| {
            decide.append(&mut core.state, Draft::checkpoint_ended(by, wanted.reason, found));
        })?;
        Ok(())
    }

    async fn extend(&self) -> Result<(), JobError> {
        let Some(runtime) = self.bound()? else { return Ok(()) };
        match self.platform.runtimes(runtime.provider).extend(&runtime).await {
            Err(RuntimeError::SandboxMissing(text)) => {
                self.change(|core, decide| crate::session::decide::on_runtime_lost(&mut core.state, decide, &text))?;
                Ok(())
            }
            other => Ok(other?),
        }
    }

    async fn poll_build(&self) -> Result<(), JobError> {
        let Some(building) = self.look(|core| core.state.build.as_ref().map(|build| build.building.clone()))? else {
            return Ok(());
        };
        let provider = self.platform.runtimes(crate::runtime::ProviderKind::E2b);
        let seen = provider.build_state(&building).await;
        self.change(|core, decide| on_build(&mut core.state, decide, &building.build_id, seen))?;
        Ok(())
    }

    async fn destroy(&self, sandbox_id: &str) -> Result<(), JobError> {
        let provider = self.platform.runtimes(crate::runtime::ProviderKind::E2b);
        Ok(provider.destroy(sandbox_id).await?)
    }
}

/// Work that failed. For logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// The session could not be changed.
    #[error("{0}")]
    Session(#[from] crate::error::Error),
    /// The runtime could not be used.
    #[error("{0}")]
    Runtime(#[from] RuntimeError),
}
