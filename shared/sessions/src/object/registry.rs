//! What a session asks of the database of all sessions (agents.md 6.7, 7.4, 11, 13, 14.3).

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Platform, Session};
use crate::access;
use crate::error::Error;
use crate::registry::{Runner, checkpoints, intents, mailbox_runners, runners, sessions};
use crate::runtime::{ProviderKind, Runtime, RuntimeError};
use crate::task::Task;

/// How long it is remembered that somebody may use the session, in milliseconds.
const ACCESS_MS: i64 = 5_000;
/// Users that are remembered.
const ACCESS_USERS: usize = 100;

/// Who was found to have access, and until when that is believed.
#[derive(Default)]
pub(super) struct AccessMemory(RefCell<HashMap<String, i64>>);

/// A snapshot that is known.
pub(super) struct KnownSnapshot {
    pub(super) provider: String,
    pub(super) snapshot_id: String,
}

impl<P: Platform> Session<P> {
    /// Lets in whoever may use the session (agents.md 14.3).
    pub(super) async fn admit(&self, user: Option<&str>) -> Result<(), Error> {
        let (creator, graph) =
            self.look(|core| (core.state.requested_by.clone(), core.task.graph_id().map(str::to_owned)))?;
        if user == Some(creator.as_str()) {
            return Ok(());
        }
        let now = self.platform.now_ms();
        let key = user.unwrap_or_default().to_owned();
        if self.access.0.borrow().get(&key).is_some_and(|until| *until > now) {
            return Ok(());
        }
        let db = self.platform.db();
        access::may(db.as_deref(), self.settings.strict_access, user, &creator, graph.as_deref()).await?;
        let mut memory = self.access.0.borrow_mut();
        if memory.len() >= ACCESS_USERS {
            memory.clear();
        }
        memory.insert(key, now.saturating_add(ACCESS_MS));
        Ok(())
    }

    /// Whoever creates a session for a graph must be allowed to use the graph.
    pub(super) async fn admit_graph(&self, user: &str, task: &Task) -> Result<(), Error> {
        let Some(graph) = task.graph_id() else { return Ok(()) };
        let db = self.platform.db();
        access::may(db.as_deref(), self.settings.strict_access, Some(user), "", Some(graph)).await
    }

    /// Whether the user may have one more active session (agents.md 2.8).
    pub(super) async fn check_active_sessions(&self, user: &str) -> Result<(), Error> {
        let (true, Some(db)) = (self.settings.rate_limits, self.platform.db()) else { return Ok(()) };
        let active = sessions::count_active(&*db, user).await?;
        if active >= self.settings.session.max_active_sessions { Err(Error::TooManySessions) } else { Ok(()) }
    }

    /// A runner of the user with a free place, which it takes (agents.md 7.4).
    pub(super) async fn choose_runner(&self, user: &str, wanted: Option<&str>) -> Result<Runner, RuntimeError> {
        let none = || RuntimeError::Setting("local-runner-unavailable");
        let db = self.platform.db().ok_or_else(none)?;
        let (now, ttl) = (self.platform.now_ms(), self.settings.runtime.runner_ttl_ms);
        let failed = |error: Error| RuntimeError::Failed(error.to_string());
        let found = runners::choose(&*db, &self.settings.seal(), user, wanted, now, ttl).await.map_err(failed)?;
        if let Some(found) = found {
            return Ok(found);
        }
        // One that calls us is waited for.
        let is_offered = self.settings.runtime.runner_mailbox && self.platform.runners().is_some();
        let away = if is_offered {
            mailbox_runners::away(&*db, user, wanted, now, ttl).await.map_err(|error| failed(error.into()))?
        } else {
            None
        };
        away.ok_or_else(none)
    }

    /// Whether the user has a runner, of that name if one is wanted, that a session may go to.
    pub(super) async fn check_runner(&self, user: &str, wanted: Option<&str>) -> Result<(), Error> {
        let found = self.choose_runner(user, wanted).await.map_err(|_| Error::RunnerUnavailable)?;
        // It is chosen, and takes its place, when the session has left.
        self.give_back(user, &found.runner_id).await;
        Ok(())
    }

    /// A session that is revived takes a place again.
    pub(super) async fn take_runner_place(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        let (Some(db), Some(runner)) = (self.platform.db(), &runtime.runner_id) else { return Ok(()) };
        let user = self.look(|core| core.state.requested_by.clone());
        let user = user.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let (now, ttl) = (self.platform.now_ms(), self.settings.runtime.runner_ttl_ms);
        match runners::take_place(&*db, &user, runner, now, ttl).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RuntimeError::Setting("local-runner-unavailable")),
            Err(error) => Err(RuntimeError::Failed(error.to_string())),
        }
    }

    pub(super) async fn give_back(&self, user: &str, runner: &str) {
        let Some(db) = self.platform.db() else { return };
        if let Err(error) = runners::free_place(&*db, user, runner, self.platform.now_ms()).await {
            self.warn("agents/runner-place-not-freed", &error);
        }
    }

    /// Writes down that a sandbox is about to be made.
    pub(super) async fn begin_intent(&self, intent_id: &str, user: &str) -> Result<(), RuntimeError> {
        let (Some(db), Some(environment)) = (self.platform.db(), &self.settings.runtime.environment) else {
            return Ok(());
        };
        let session = self.look(|core| core.state.id.clone());
        let session = session.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let begun = intents::begin(&*db, intent_id, &session, user, environment, self.platform.now_ms()).await;
        begun.map_err(|error| RuntimeError::Failed(error.to_string()))
    }

    pub(super) async fn bind_intent(&self, intent_id: &str, sandbox_id: &str) {
        let (Some(db), Some(_)) = (self.platform.db(), &self.settings.runtime.environment) else { return };
        if let Err(error) = intents::bind(&*db, intent_id, sandbox_id, self.platform.now_ms()).await {
            self.warn("agents/intent-not-bound", &error);
        }
    }

    pub(super) async fn end_intent(&self, intent_id: &str) {
        let (Some(db), Some(_)) = (self.platform.db(), &self.settings.runtime.environment) else { return };
        if let Err(error) = intents::end(&*db, intent_id, self.platform.now_ms()).await {
            self.warn("agents/intent-not-ended", &error);
        }
    }

    /// Whose snapshots the session may use: those of its graph, else those of its user (B28).
    fn owner_key(&self) -> Result<(String, Option<String>, String), Error> {
        self.look(|core| {
            let owner = core.task.graph_id().map_or_else(|| core.state.requested_by.clone(), str::to_owned);
            let repo = core.task.repo_url().and_then(crate::repository::checkpoint_key);
            let branch = core.task.base_branch().unwrap_or("main").to_lowercase();
            (owner, repo, branch)
        })
    }

    async fn stored_snapshot(&self) -> Option<KnownSnapshot> {
        let (owner, repo, branch) = self.owner_key().ok()?;
        let (db, repo) = (self.platform.db()?, repo?);
        match checkpoints::load(&*db, &owner, &repo, &branch, self.platform.now_ms()).await {
            Ok(found) => found.map(|found| KnownSnapshot { provider: found.provider, snapshot_id: found.snapshot_id }),
            Err(error) => {
                self.warn("agents/snapshot-not-read", &error);
                None
            }
        }
    }

    /// The snapshot that a new runtime begins with.
    pub(super) async fn snapshot_to_restore(&self) -> Option<String> {
        let hint = self.look(|core| core.state.snapshot_hint.clone()).ok().flatten();
        if let (Some(hint), Some(db), Ok((owner, ..))) = (hint, self.platform.db(), self.owner_key())
            && matches!(checkpoints::knows(&*db, &owner, &hint, self.platform.now_ms()).await, Ok(true))
        {
            return Some(hint);
        }
        let found = self.stored_snapshot().await?;
        (found.provider == ProviderKind::E2b.as_str()).then_some(found.snapshot_id)
    }

    /// The snapshot that is known: of the session, of its runtime, or of its repository (agents.md 3.13).
    pub(super) async fn known_snapshot(&self) -> Option<KnownSnapshot> {
        let own = self.look(|core| {
            let text = |key: &str| core.checkpoint.as_ref()?.get(key)?.as_str().map(str::to_owned);
            let noted = text("snapshot-id")
                .map(|snapshot_id| KnownSnapshot { provider: text("provider").unwrap_or_default(), snapshot_id });
            noted.or_else(|| {
                let runtime = core.state.runtime.as_ref()?;
                let snapshot_id = runtime.snapshot_id.clone()?;
                Some(KnownSnapshot { provider: runtime.provider.as_str().to_owned(), snapshot_id })
            })
        });
        match own.ok()? {
            Some(own) => Some(own),
            None => self.stored_snapshot().await,
        }
    }

    /// Notes a snapshot in the session and for its repository.
    pub(super) async fn keep_snapshot(&self, snapshot: &KnownSnapshot, reason: &str) {
        let now = self.platform.now_ms();
        self.note_snapshot(snapshot, reason, now);
        let (Ok((owner, Some(repo), branch)), Some(db)) = (self.owner_key(), self.platform.db()) else { return };
        let row = checkpoints::Checkpoint {
            provider: snapshot.provider.clone(),
            snapshot_id: snapshot.snapshot_id.clone(),
            checkpoint_at: now,
        };
        if let Err(error) = checkpoints::upsert(&*db, &owner, &repo, &branch, &row, now).await {
            self.warn("agents/snapshot-not-kept", &error);
        }
    }

    fn note_snapshot(&self, snapshot: &KnownSnapshot, reason: &str, now: i64) {
        let noted: Value = json!({
            "provider": snapshot.provider,
            "snapshot-id": snapshot.snapshot_id,
            "checkpoint-at": now,
            "reason": reason,
        });
        let changed = self.change(|core, _| {
            core.checkpoint = Some(noted);
            core.dirty.checkpoint = true;
        });
        if let Err(error) = changed {
            self.warn("agents/snapshot-not-kept", &error);
        }
    }

    /// The snapshot that a new runtime was made with, or that is known of its repository, in the session.
    pub(super) async fn keep_provisioned_snapshot(&self) {
        let own = self.look(|core| {
            let runtime = core.state.runtime.as_ref()?;
            let snapshot_id = runtime.snapshot_id.clone()?;
            Some(KnownSnapshot { provider: runtime.provider.as_str().to_owned(), snapshot_id })
        });
        let found = match own.ok().flatten() {
            Some(own) => Some(own),
            None => self.stored_snapshot().await,
        };
        if let Some(found) = found {
            self.note_snapshot(&found, "provisioned", self.platform.now_ms());
        }
    }
}
