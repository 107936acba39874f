//! Pushing, pull requests and snapshots as work with a lease (agents.md 3.14, 5.3.7, 10.4).

use std::future::Future;
use std::rc::Rc;

use futures_channel::oneshot;
use serde_json::{Value, json};

use super::provision::Wanted;
use super::registry::KnownSnapshot;
use super::{Platform, Session};
use crate::command;
use crate::error::Error;
use crate::event::{Checkpoint, Draft, GitFailure};
use crate::publish::{Admission, CommitId, Intent, PushReport, admit};
use crate::publisher::{self, PublishRequest, Pusher, Sink};
use crate::runtime::exchange::within;
use crate::runtime::{Provider, PushError, Runtime, RuntimeError};
use crate::session::Checkpointing;
use crate::session::decide::{self, end_quietly};
use crate::session::store::Rows;

/// The longest step of publishing: the push.
const PUSH_MS: i64 = 180_000;
/// Between two looks whether a runtime has been left, in milliseconds, and how many there are: 30 s.
const LEAVING_LOOK_MS: u32 = 100;
const LEAVING_LOOKS: u32 = 300;
/// A snapshot.
const SNAPSHOT_MS: i64 = 120_000;

impl<P: Platform> Session<P> {
    /// Whether the session may publish this (agents.md 10.1).
    pub(super) fn may_publish(&self, wanted: &PublishRequest) -> Result<(), Error> {
        self.look(|core| {
            let admission = Admission {
                is_terminal: core.state.status.is_terminal(),
                push_enabled: core.task.push_enabled(),
                pr_enabled: core.task.pr_enabled(),
                create_pr: wanted.create_pr,
                repo_url: core.task.repo_url(),
                has_runtime: core.state.runtime.is_some(),
                head_branch: wanted.head_branch.as_deref(),
            };
            admit(&admission).map(drop)
        })??;
        Ok(())
    }

    /// Publishes what stands in the runtime. The work goes on when whoever asked goes away.
    pub(super) async fn publish(self: &Rc<Self>, user: &str, wanted: &PublishRequest) -> Result<Value, Error> {
        self.runtime_left().await?;
        let generation = self.change(|core, decide| {
            if core.state.publishing.is_some() || core.state.ending.is_some() {
                return None;
            }
            let lease = core.state.lease(decide.now, decide.times.lease(PUSH_MS));
            core.state.publishing = Some(lease);
            Some(lease.generation)
        })?;
        let generation = generation.ok_or(Error::RequestInProgress)?;
        let (me, user, wanted) = (Rc::clone(self), user.to_owned(), wanted.clone());
        self.outlasting(async move { me.run_publish(&user, &wanted, generation).await }).await
    }

    /// Waits until a runtime that is being left is left: a push that began meanwhile would be cut off. It takes as long as keeping the
    /// tree does; whoever comes while it takes longer is told to come again.
    async fn runtime_left(&self) -> Result<(), Error> {
        for _ in 0..LEAVING_LOOKS {
            if self.look(|core| core.state.ending.is_none())? {
                break;
            }
            self.platform.sleep_ms(LEAVING_LOOK_MS).await;
        }
        Ok(())
    }

    /// Does work that goes on when whoever asked for it goes away.
    async fn outlasting(&self, work: impl Future<Output = Result<Value, Error>> + 'static) -> Result<Value, Error> {
        let (sender, receiver) = oneshot::channel();
        self.platform.spawn(async move {
            // Whoever asked may have gone.
            let _ = sender.send(work.await);
        });
        receiver.await.map_err(|_| Error::Internal("the work was interrupted".to_owned()))?
    }

    async fn run_publish(
        self: &Rc<Self>,
        user: &str,
        wanted: &PublishRequest,
        generation: u64,
    ) -> Result<Value, Error> {
        let published = self.publish_now(user, wanted, generation).await;
        self.remove_publishing()?;
        let ends = published.as_ref().is_ok_and(|published| published.ends_runtime);
        self.change(|core, decide| {
            core.state.publishing.take_if(|lease| lease.generation == generation);
            if ends {
                end_quietly(&mut core.state, decide, Checkpointing { by: None, reason: "pr-ready" });
            }
        })?;
        published.map(|published| published.body)
    }

    async fn publish_now(
        self: &Rc<Self>,
        user: &str,
        wanted: &PublishRequest,
        generation: u64,
    ) -> Result<publisher::Published, Error> {
        let runtime = self.look(|core| core.state.runtime.clone())?.ok_or(Error::RuntimeUnavailable)?;
        let task = self.look(|core| core.task.clone())?;
        let (checkpoint, directory) = (self.look(|core| core.checkpoint.clone())?, runtime.directory.clone());
        let work = Publishing { session: Rc::clone(self), generation, user: user.to_owned(), runtime };
        let facts = publisher::Facts {
            user,
            task: &task,
            settings: &self.settings.session,
            checkpoint: checkpoint.as_ref(),
            directory: Some(&directory),
            resumed: self.was_interrupted()?,
        };
        publisher::publish(&self.github(), &facts, wanted, &work).await
    }

    /// Whether an earlier publication was interrupted: then a pull request may be there already.
    fn was_interrupted(&self) -> Result<bool, Error> {
        let interrupted = Rows(self.platform.sql()).value("publishing-interrupted");
        Ok(interrupted?.is_some())
    }

    fn remove_publishing(&self) -> Result<(), Error> {
        let rows = Rows(self.platform.sql());
        rows.remove("publishing")?;
        Ok(rows.remove("publishing-interrupted")?)
    }

    /// The lease of a publication has lapsed: what it had begun is told as failed.
    pub(super) fn publishing_lost(&self) {
        let rows = Rows(self.platform.sql());
        let begun = rows.value("publishing").ok().flatten();
        let begun: Option<Begun> = begun.and_then(|text| serde_json::from_str(&text).ok());
        let Some(begun) = begun else { return };
        let failure = GitFailure { reason: "interrupted", error: "the work was interrupted", github_status: None };
        let draft = match &begun.base {
            Some(base) => Draft::pr_failed(&begun.user, &begun.head, base, failure),
            None => Draft::push_failed(&begun.user, &begun.head, failure),
        };
        let told = self.change(|core, decide| decide.append(&mut core.state, draft));
        let noted = rows.remove("publishing").and_then(|()| rows.put("publishing-interrupted", "1"));
        if let Err(error) = told.and(noted.map_err(Error::from)) {
            self.warn("agents/interruption-not-told", &error);
        }
    }

    /// The text that the agent said last.
    pub(super) fn last_message(&self) -> Result<Option<String>, Error> {
        let log = self.look(|core| core.log)?;
        let event = log.last_of(self.platform.sql(), &crate::event::Kind::ItemCompleted)?;
        let event: Option<Value> = event.and_then(|event| serde_json::from_str(&event).ok());
        let parts = event.as_ref().and_then(|event| event.get("data")?.get("item")?.get("content")?.as_array());
        let is_text = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("text");
        let text = parts.and_then(|parts| parts.iter().find(is_text)?.get("text")?.as_str());
        Ok(text.map(str::to_owned))
    }

    /// A message that asks for a publication is logged as any other, with what it asks for.
    pub(super) fn log_intent(
        &self,
        user: &str,
        kind: Option<&str>,
        message: &str,
        intent: Intent,
    ) -> Result<(), Error> {
        let mut draft = Draft::user_message(user, kind, message);
        if let Some(members) = draft.data.as_object_mut() {
            members.insert("intent".to_owned(), intent.as_str().into());
        }
        self.change(|core, decide| decide.append(&mut core.state, draft))
    }

    /// Takes a snapshot of the runtime.
    pub(super) async fn snapshot(self: &Rc<Self>, user: &str) -> Result<Value, Error> {
        let (is_terminal, runtime) = self.look(|core| (core.state.status.is_terminal(), core.state.runtime.clone()))?;
        if is_terminal {
            return Err(Error::NotWritable);
        }
        let runtime = runtime.ok_or(Error::RuntimeUnavailable)?;
        let generation = self.begin_snapshot(user, None)?.ok_or(Error::RequestInProgress)?;
        let (me, user) = (Rc::clone(self), user.to_owned());
        self.outlasting(async move { me.take_snapshot(&user, "manual", runtime, generation).await }).await
    }

    /// Takes a snapshot of a sandbox before it is paused because its session has ended, where the operator wants that: each is a stored
    /// template (agents.md 3.13). One that fails keeps nothing else from being done. `ending` is the generation of the end.
    pub(super) async fn snapshot_at_end(self: &Rc<Self>, runtime: &Runtime, ending: u64) -> Result<(), Error> {
        let is_wanted = self.settings.session.snapshot_on_stop && runtime.sandbox_id.is_some();
        let has_ended = self.look(|core| {
            let is_first = core.state.ending.is_some_and(|ending| ending.attempt == 0);
            core.state.status.is_terminal() && is_first
        })?;
        if !is_wanted || !has_ended {
            return Ok(());
        }
        if let Some(generation) = self.begin_snapshot("system", Some(ending))?
            && let Err(error) = self.take_snapshot("system", "stop", runtime.clone(), generation).await
        {
            self.warn("agents/snapshot-failed", &error);
        }
        Ok(())
    }

    /// Notes that a snapshot is being taken, unless one is already; the generation of the work. An end of the runtime that waits for it
    /// has as much longer.
    fn begin_snapshot(&self, by: &str, ending: Option<u64>) -> Result<Option<u64>, Error> {
        self.change(|core, decide| {
            if core.state.snapshotting.is_some() {
                return None;
            }
            decide.append(&mut core.state, Draft::snapshot_started(by));
            let lease = core.state.lease(decide.now, decide.times.lease(SNAPSHOT_MS));
            core.state.snapshotting = Some(lease);
            if let Some(waiting) = core.state.ending.as_mut().filter(|work| Some(work.lease.generation) == ending) {
                waiting.lease.until = lease.until.saturating_add(decide.times.ending());
            }
            Some(lease.generation)
        })
    }

    async fn take_snapshot(
        self: &Rc<Self>,
        user: &str,
        why: &str,
        mut runtime: Runtime,
        generation: u64,
    ) -> Result<Value, Error> {
        let wanted = self.wanted(false).await?;
        let provider = self.platform.runtimes(runtime.provider);
        let taken = provider.snapshot(&mut runtime, &wanted.wish()).await;
        let is_late = self.change(|core, decide| {
            let is_ours = core.state.snapshotting.take_if(|lease| lease.generation == generation).is_some();
            match &taken {
                _ if !is_ours => {}
                Ok(snapshot) => {
                    let checkpoint =
                        Checkpoint { snapshot_id: &snapshot.snapshot_id, provider: runtime.provider.as_str() };
                    decide.append(&mut core.state, Draft::snapshot_succeeded(user, checkpoint));
                }
                Err(error) => {
                    decide.append(
                        &mut core.state,
                        Draft::snapshot_failed(user, snapshot_reason(error), &error.to_string()),
                    );
                }
            }
            crate::session::decide::pump(&mut core.state, decide);
            !is_ours
        })?;
        if is_late {
            return Err(Error::RequestInProgress);
        }
        match taken {
            Ok(snapshot) => {
                let known = KnownSnapshot {
                    provider: runtime.provider.as_str().to_owned(),
                    snapshot_id: snapshot.snapshot_id.clone(),
                };
                self.keep_snapshot(&known, why).await;
                Ok(json!({
                    "status": "snapshot-created",
                    "message": "Sandbox snapshot created.",
                    "snapshot-id": snapshot.snapshot_id,
                }))
            }
            Err(RuntimeError::Unsupported(text)) => Err(Error::Unsupported(text)),
            Err(_) => Err(Error::Failed("the snapshot could not be taken".to_owned())),
        }
    }
}

/// What a publication had begun, for whoever finds it interrupted.
#[derive(serde::Serialize, serde::Deserialize)]
struct Begun {
    user: String,
    head: String,
    /// Set when the push was done and the pull request had been begun.
    base: Option<String>,
}

/// A publication that goes on.
struct Publishing<P: Platform> {
    session: Rc<Session<P>>,
    generation: u64,
    user: String,
    runtime: Runtime,
}

impl<P: Platform> Pusher for Publishing<P> {
    async fn push(&self, push: &command::Push<'_>) -> Result<Option<PushReport>, PushError> {
        if self.runtime.is_mailbox() {
            return self.session.push_at_desk(push).await;
        }
        let failed = |error: Error| PushError { class: crate::publish::FailureClass::Unknown, text: error.to_string() };
        let wanted: Wanted = self.session.wanted(false).await.map_err(failed)?;
        let mut runtime = self.runtime.clone();
        let alone = self.session.saving.lock().await;
        let compared = self.session.compare_resumed_tree(&mut runtime).await;
        compared
            .map_err(|error| PushError { class: crate::publish::FailureClass::Unknown, text: error.to_string() })?;
        let (platform, wish) = (&self.session.platform, wanted.wish());
        let provider = platform.runtimes(runtime.provider);
        let mut pushing = std::pin::pin!(provider.push(&mut runtime, &wish, push));
        let limit = u32::try_from(PUSH_MS).unwrap_or(u32::MAX);
        if let Some(pushed) = within(platform, limit, pushing.as_mut()).await {
            return pushed;
        }
        // One that takes longer keeps nobody from ending or removing its sandbox.
        drop(alone);
        pushing.await
    }
}

impl<P: Platform> Sink for Publishing<P> {
    fn event(&self, draft: Draft) -> Result<(), Error> {
        self.session.change(|core, decide| decide.append(&mut core.state, draft))
    }

    fn pull_request(&self, head: &str, number: u64) -> Result<(), Error> {
        self.session.on_pull_request(head, number)
    }

    fn step(&self, head: &str, base: Option<&str>, limit_ms: i64) -> Result<(), Error> {
        let begun = Begun { user: self.user.clone(), head: head.to_owned(), base: base.map(str::to_owned) };
        self.session.change_with(
            |core, decide| {
                let until = decide.now.saturating_add(decide.times.lease(limit_ms));
                if let Some(lease) = &mut core.state.publishing
                    && lease.generation == self.generation
                {
                    lease.until = until;
                }
            },
            &|rows| rows.put_json("publishing", &begun),
        )
    }

    fn last_pushed(&self, branch: &str) -> Result<Option<CommitId>, Error> {
        Ok(Rows(self.session.platform.sql()).branch(branch)?)
    }

    fn pushed(&self, branch: &str, commit: &CommitId) -> Result<(), Error> {
        let now = self.session.platform.now_ms();
        self.session
            .change_with(|core, decide| decide::on_pushed(&mut core.state, decide, branch, commit.as_str()), &|rows| {
                rows.put_branch(branch, commit, now)
            })
    }
}

fn snapshot_reason(error: &RuntimeError) -> Option<&'static str> {
    match error {
        RuntimeError::Unsupported(_) => Some("unsupported-snapshot"),
        other => other.reason(),
    }
}
