//! Making a runtime for a session (agents.md 3.6.2).

use std::rc::Rc;

use futures_channel::oneshot;

use super::core::Core;
use super::jobs::JobError;
use super::transcripts::note_opened;
use super::workspace::RESTORE_MS;
use super::{Platform, Session, mailbox};
use crate::error::Error;
use crate::event::Draft;
use crate::mailbox::{Offline, Presence};
use crate::registry::{MailboxRunner, Runner};
use crate::runtime::{
    GitBroker, Made, Progress, Provider, ProviderKind, Resume, Runtime, RuntimeError, ToolServer, Wish,
};
use crate::session::decide::{self, Provisioned};
use crate::session::store::Rows;
use crate::task::{Task, TaskSecrets};

/// What a runtime is wanted for, held while it is being made.
pub(super) struct Wanted {
    session_id: String,
    user_id: String,
    task: Task,
    secrets: TaskSecrets,
    branch: Option<String>,
    github_token: Option<String>,
    broker: Option<GitBroker>,
    service_url: Option<String>,
    pub(super) tools: Option<ToolServer>,
    pub(super) resume: Option<Resume>,
    is_rebuilt: bool,
    snapshot_id: Option<String>,
    runner: Option<Runner>,
    first_rpc_id: u64,
    now: i64,
}

impl Wanted {
    /// As providers take it.
    pub(super) fn wish(&self) -> Wish<'_> {
        Wish {
            session_id: &self.session_id,
            user_id: &self.user_id,
            task: &self.task,
            secrets: &self.secrets,
            branch: self.branch.as_deref(),
            github_token: self.github_token.as_deref(),
            broker: self.broker.as_ref(),
            service_url: self.service_url.as_deref(),
            resume: self.resume.as_ref(),
            tools: self.tools.as_ref(),
            is_rebuilt: self.is_rebuilt,
            snapshot_id: self.snapshot_id.as_deref(),
            runner: self.runner.as_ref(),
            first_rpc_id: self.first_rpc_id,
            now: self.now,
        }
    }
}

fn is_in_sandbox(core: &Core) -> bool {
    core.state.runtime.as_ref().is_some_and(|runtime| runtime.sandbox_id.is_some())
}

/// Requests to the agent that one call of a provider may make.
const RPC_IDS: u64 = 8;

impl<P: Platform> Session<P> {
    /// What a call of a provider needs; with a token for the repository where it is asked for and can be had.
    pub(super) async fn wanted(&self, with_token: bool) -> Result<Wanted, Error> {
        let now = self.platform.now_ms();
        let mut wanted = self.change(|core, _| Wanted {
            session_id: core.state.id.clone(),
            user_id: core.state.requested_by.clone(),
            task: core.task.clone(),
            secrets: core.secrets.clone(),
            branch: core.task.base_branch().filter(|_| core.state.branch_asked).map(str::to_owned),
            github_token: None,
            broker: self.broker(core).filter(|_| with_token || is_in_sandbox(core)),
            service_url: self.service_url(core).map(str::to_owned),
            resume: None,
            tools: None,
            is_rebuilt: core.state.template_rebuilt,
            snapshot_id: None,
            runner: None,
            first_rpc_id: core.state.take_rpc_ids(RPC_IDS),
            now,
        })?;
        let asks = with_token && self.look(|core| self.is_brokered(&core.task))?;
        if asks && wanted.broker.is_none() {
            let error = "git's credentials cannot be asked for: the service's address or RUN_TOKEN_KEYS is missing";
            self.warn("agents/token-unavailable", &error);
        }
        if with_token
            && !self.settings.github.is_brokered
            && let Some(url) = wanted.task.repo_url().map(str::to_owned)
        {
            match self.repository_token(&url).await {
                Ok(token) => {
                    wanted.github_token = token;
                    self.change(|core, _| wanted.github_token.iter().for_each(|token| core.redactor.learn(token)))?;
                }
                // The session works without it; pushing by itself it cannot.
                Err(error) => self.warn("agents/token-unavailable", &error),
            }
        }
        Ok(wanted)
    }

    /// Which provider makes the runtime of the session (agents.md 3.6.1).
    pub(super) fn provider_kind(&self, task: &Task) -> ProviderKind {
        let asked = task.runtime_provider().and_then(ProviderKind::parse);
        asked.or(self.settings.runtime.provider).unwrap_or(ProviderKind::E2b)
    }

    /// Makes a runtime; whoever waits for it is told.
    pub(super) async fn provision(self: &Rc<Self>, generation: u64) -> Result<(), JobError> {
        let (made, opened) = match self.make(generation).await {
            Ok(Provided::Bound(runner, mailbox, presence)) => {
                let new_id = || self.platform.random_uuid().to_string();
                let outcome = self.change(|core, decide| {
                    core.state.tools.offer = self.offer_at_desk(core);
                    mailbox::begin(core, decide, generation, (&runner, &mailbox, presence), &new_id)
                })?;
                self.tell_waiting(generation, &outcome);
                return Ok(());
            }
            Ok(Provided::Made(made, wanted)) => (Ok(made), Some(wanted)),
            Err(error) => (Err(error), None),
        };
        if let Err(error) = &made {
            self.warn("agents/provision-failed", error);
        }
        let outcome = self.change(|core, decide| {
            if let (Ok(Made::Ready(runtime)), Some(wanted)) = (&made, &opened) {
                if core.state.provisioning.is_some_and(|work| work.lease.generation == generation) {
                    note_opened(core, decide, wanted.resume.as_ref(), runtime, wanted.first_rpc_id);
                }
                core.last_event_id = None;
                core.state.stale_until = None;
                core.progress = crate::legacy::Progress::default();
                core.dirty.texts = true;
            }
            decide::on_provisioned(&mut core.state, decide, generation, made)
        })?;
        if outcome == Provisioned::Ready {
            self.set_unbound(None)?;
            self.keep_provisioned_snapshot().await;
        }
        self.tell_waiting(generation, &outcome);
        Ok(())
    }

    /// Whoever waits for the outcome of that work gets it.
    fn tell_waiting(&self, generation: u64, outcome: &Provisioned) {
        for waiting in self.waiting.borrow_mut().remove(&generation).unwrap_or_default() {
            // Whoever waited may have gone.
            let _ = waiting.send(outcome.clone());
        }
    }

    /// What comes of the work of that generation.
    pub(super) fn outcome(&self, generation: u64) -> oneshot::Receiver<Provisioned> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().entry(generation).or_default().push(sender);
        receiver
    }

    async fn make(self: &Rc<Self>, generation: u64) -> Result<Provided, RuntimeError> {
        let failed = |error: Error| RuntimeError::Failed(error.to_string());
        let moved_to = self.look(|core| core.state.moved_to.clone()).map_err(failed)?;
        let kind = match &moved_to {
            Some(moved_to) => moved_to.provider,
            None => self.look(|core| self.provider_kind(&core.task)).map_err(failed)?,
        };
        let mut wanted = self.wanted(kind == ProviderKind::E2b).await.map_err(failed)?;
        let mut kind = kind;
        let named = match moved_to {
            Some(moved_to) => moved_to.runner_id,
            None => wanted.task.runner_id().map(str::to_owned),
        };
        match kind {
            ProviderKind::E2b => wanted.snapshot_id = self.snapshot_to_restore().await,
            ProviderKind::LocalRunner => match self.choose_runner(&wanted.user_id, named.as_deref()).await {
                Ok(runner) => match runner.mailbox.clone() {
                    Some(mailbox) => return self.bound_to(runner, mailbox).await,
                    None => wanted.runner = Some(runner),
                },
                Err(error) => {
                    let had_runner = self.look(|core| core.state.turns > 0).unwrap_or(false);
                    if !(self.settings.runtime.runner_fallback_e2b && had_runner) {
                        return Err(error);
                    }
                    kind = ProviderKind::E2b;
                    wanted = self.wanted(true).await.map_err(failed)?;
                }
            },
            ProviderKind::LocalDev => {}
        }
        wanted.resume = self.conversation().await?;
        wanted.tools = self.offer_tools().map_err(failed)?;
        let mut steps = Steps { session: Rc::clone(self), generation, user_id: wanted.user_id.clone() };
        let made = self.platform.runtimes(kind).provision(&wanted.wish(), &mut steps).await;
        if let (Err(_), Some(runner)) = (&made, &wanted.runner) {
            self.give_back(&runner.user_id, &runner.runner_id).await;
        }
        Ok(Provided::Made(made?, Box::new(wanted)))
    }

    /// A runner that calls us is told that the session is its own.
    async fn bound_to(&self, runner: Runner, mailbox: MailboxRunner) -> Result<Provided, RuntimeError> {
        let presence = self.bind_runner(&mailbox.key).await;
        match presence {
            Ok(Some(presence)) if presence.offline != Some(Offline::Revoked) => {
                Ok(Provided::Bound(Box::new(runner), mailbox, presence))
            }
            other => {
                self.give_back(&runner.user_id, &runner.runner_id).await;
                match other {
                    Ok(_) => Err(RuntimeError::Setting("local-runner-unavailable")),
                    Err(error) => Err(RuntimeError::Failed(error.to_string())),
                }
            }
        }
    }

    /// Makes an end of a sandbox that was being made when its maker was lost.
    pub(super) async fn destroy_unbound(&self) -> Result<(), JobError> {
        let Some(unbound) = self.unbound()? else { return Ok(()) };
        if let Some(sandbox_id) = &unbound.1 {
            self.platform.runtimes(ProviderKind::E2b).destroy(sandbox_id).await?;
        }
        self.end_intent(&unbound.0).await;
        // Another one may be in the making by now.
        if self.unbound()?.as_ref() == Some(&unbound) {
            self.set_unbound(None)?;
        }
        Ok(())
    }

    /// The sandbox that is being made: the intent, and the sandbox once it is there.
    fn unbound(&self) -> Result<Option<(String, Option<String>)>, Error> {
        let stored = Rows(self.platform.sql()).value("unbound")?;
        Ok(stored.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Whether the session is making this sandbox.
    pub(super) fn is_being_made(&self, sandbox_id: &str) -> Result<bool, Error> {
        Ok(self.unbound()?.is_some_and(|(_, made)| made.as_deref() == Some(sandbox_id)))
    }

    fn set_unbound(&self, unbound: Option<&(String, Option<String>)>) -> Result<(), Error> {
        let rows = Rows(self.platform.sql());
        let set = match unbound {
            Some(unbound) => rows.put_json("unbound", unbound),
            None => rows.remove("unbound"),
        };
        Ok(set?)
    }

    /// Frees the place that a runtime has at its runner.
    pub(super) async fn free_runner(&self, runtime: &Runtime) {
        let user = self.look(|core| core.state.requested_by.clone());
        if let (Ok(user), Some(runner_id)) = (user, &runtime.runner_id) {
            self.give_back(&user, runner_id).await;
        }
    }
}

/// What came of making a runtime.
enum Provided {
    /// It was made, or is being made.
    Made(Made, Box<Wanted>),
    /// A runner that calls us has the session from now on, and is there, or not.
    Bound(Box<Runner>, MailboxRunner, Presence),
}

/// What is told and written down while a runtime is being made.
struct Steps<P: Platform> {
    session: Rc<Session<P>>,
    generation: u64,
    user_id: String,
}

impl<P: Platform> Progress for Steps<P> {
    async fn creating(&mut self) -> Result<String, RuntimeError> {
        let failed = |error: Error| RuntimeError::Failed(error.to_string());
        // Whoever was to make an end of an earlier one may have died.
        self.session.destroy_unbound().await.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let intent_id = self.session.platform.random_uuid().to_string();
        self.session.set_unbound(Some(&(intent_id.clone(), None))).map_err(failed)?;
        self.session.begin_intent(&intent_id, &self.user_id).await?;
        Ok(intent_id)
    }

    async fn created(&mut self, intent_id: &str, sandbox_id: &str) -> Result<(), RuntimeError> {
        let unbound = (intent_id.to_owned(), Some(sandbox_id.to_owned()));
        let stored = self.session.set_unbound(Some(&unbound));
        stored.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        self.session.bind_intent(intent_id, sandbox_id).await;
        Ok(())
    }

    async fn undone(&mut self, intent_id: &str) {
        self.session.end_intent(intent_id).await;
        if let Err(error) = self.session.set_unbound(None) {
            self.session.warn("agents/intent-not-ended", &error);
        }
    }

    async fn event(&mut self, draft: Draft) {
        if let Err(error) = self.session.change(|core, decide| decide.append(&mut core.state, draft)) {
            self.session.warn("agents/event-not-stored", &error);
        }
    }

    async fn has_tree(&mut self, runtime: &Runtime) {
        self.step("restore", RESTORE_MS).await;
        if let Err(error) = self.session.restore_tree(runtime).await {
            self.session.warn("agents/event-not-stored", &error);
        }
    }

    async fn step(&mut self, _: &'static str, limit_ms: i64) {
        let longer = self
            .session
            .change(|core, decide| decide::on_provision_step(&mut core.state, decide, self.generation, limit_ms));
        if let Err(error) = longer {
            self.session.warn("agents/lease-not-renewed", &error);
        }
    }
}
