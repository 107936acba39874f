//! Before a sandbox is left its tree is looked at, and what was not pushed is kept.

use database::Database;
use sha2::{Digest as _, Sha256};
use web::Blobs;

use super::{SHORT_BYTES, STORE, failed, piece};
use crate::command::{self, PIECE_BYTES};
use crate::object::transcripts::Shelf;
use crate::object::{Platform, Session};
use crate::registry::bundles::{self, Stored};
use crate::runtime::exchange::within;
use crate::runtime::{Provider, Runtime, RuntimeError};
use crate::session::decide;
use crate::workspace::{Bundle, Bundled};

/// What becomes of a runtime whose tree is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::object) enum Leaving {
    /// It is paused and may be come back to.
    Paused,
    /// It is removed.
    Removed,
}

/// Why something could not be kept.
enum Unsaved {
    /// Its bundle is too large.
    TooLarge(u64),
    /// There is nowhere to store it.
    NoStore,
    /// Nobody wants it any more: the session is being removed.
    Unwanted,
    /// Something failed; for logs.
    Failed(RuntimeError),
}

impl From<RuntimeError> for Unsaved {
    fn from(error: RuntimeError) -> Self {
        Self::Failed(error)
    }
}

impl<P: Platform> Session<P> {
    /// Keeps what stands in the tree of a runtime that is about to be left, within so many milliseconds. What fails is told, and keeps
    /// nothing else from being done.
    ///
    /// Whoever calls holds `saving`, until the runtime is left.
    pub(in crate::object) async fn save_tree(&self, runtime: &Runtime, leaving: Leaving, limit_ms: i64) {
        let limit = u32::try_from(limit_ms).unwrap_or(u32::MAX);
        let saved = within(&self.platform, limit, self.save(runtime, leaving)).await;
        let (reason, bytes) = match saved {
            Some(Ok(()) | Err(Unsaved::Unwanted)) => return,
            None => ("timeout", None),
            Some(Err(Unsaved::TooLarge(bytes))) => ("too-large", Some(bytes)),
            Some(Err(Unsaved::NoStore)) => ("no-store", None),
            Some(Err(Unsaved::Failed(error))) => {
                self.warn("agents/tree-not-saved", &error);
                let is_missing = matches!(error, RuntimeError::SandboxMissing(_));
                (if is_missing { "sandbox-missing" } else { "failed" }, None)
            }
        };
        let told = self.change(|core, decide| decide::on_unsaved(&mut core.state, decide, reason, bytes));
        if let Err(error) = told {
            self.warn("agents/event-not-stored", &error);
        }
    }

    async fn save(&self, runtime: &Runtime, leaving: Leaving) -> Result<(), Unsaved> {
        let known = self.look(|core| (core.state.workspace.clone(), core.state.runtime_active));
        let (saved, is_active) = known.map_err(failed)?;
        let is_paused = leaving == Leaving::Paused;
        match &saved.seen {
            // Nobody has used it since it was paused.
            Some(_) if is_paused => return Ok(()),
            Some(look) if saved.covers(look) && self.renew(saved.bundle.as_ref()).await? => return Ok(()),
            None if is_paused && !is_active => return Ok(()),
            Some(_) | None => {}
        }
        let mut runtime = runtime.clone();
        let provider = self.platform.runtimes(runtime.provider);
        let looked = match provider.resume(&mut runtime).await {
            Ok(()) => self.look_at_tree(&runtime).await,
            Err(error) => Err(error),
        };
        let look = match looked {
            Ok(look) => look,
            // The sandbox stays, and what stands in it.
            Err(error) if is_paused => {
                self.change(|core, _| decide::on_looked(&mut core.state, None)).map_err(failed)?;
                self.warn("agents/tree-not-seen", &error);
                return Ok(());
            }
            Err(error @ RuntimeError::SandboxMissing(_)) => return Err(error.into()),
            // Too large a tree to be looked at in time is still worth a try.
            Err(error) => {
                self.warn("agents/tree-not-seen", &error);
                return self.bundle(&runtime).await;
            }
        };
        let saved = self.change(|core, _| {
            decide::on_looked(&mut core.state, look.clone());
            core.state.workspace.clone()
        });
        let Some(look) = look else { return Ok(()) };
        // On a runner the files lie on the disk of whoever lends it: they are not given up.
        if runtime.sandbox_id.is_none() {
            return Ok(());
        }
        let saved = saved.map_err(failed)?;
        if saved.covers(&look) && self.renew(saved.bundle.as_ref()).await? {
            return Ok(());
        }
        self.bundle(&runtime).await
    }

    /// The time of a bundle that covers the tree begins anew. False when it is not kept any more; without one everything was pushed.
    async fn renew(&self, bundle: Option<&Bundle>) -> Result<bool, Unsaved> {
        let Some(bundle) = bundle else { return Ok(true) };
        let db = self.platform.db().ok_or(Unsaved::NoStore)?;
        let session = self.look(|core| core.state.id.clone()).map_err(failed)?;
        let touched = bundles::touch(&*db, &session, &bundle.id, self.platform.now_ms()).await;
        touched.map_err(|error| failed(error).into())
    }

    /// Makes a bundle, stores it piece by piece, and notes it.
    async fn bundle(&self, runtime: &Runtime) -> Result<(), Unsaved> {
        let made = command::bundle(&runtime.directory, self.settings.session.max_bundle_bytes, STORE);
        let said = self.said(runtime, made, SHORT_BYTES).await?;
        let mut bundle = match Bundled::parse(&said) {
            Some(Bundled::Made(bundle)) => bundle,
            Some(Bundled::Empty) => return Ok(()),
            Some(Bundled::TooLarge(bytes)) => return Err(Unsaved::TooLarge(bytes)),
            None => return Err(failed("git said nothing of a bundle").into()),
        };
        let shelf = self.shelf().ok_or(Unsaved::NoStore)?;
        let now = self.platform.now_ms();
        // Each has objects of its own, so that what a sweep deletes is never what somebody stores.
        bundle.id = format!("{}-{now}", bundle.sha256);
        let stored = self.store(runtime, &shelf, &bundle, now).await;
        if let Err(error) = self.said(runtime, command::drop_bundle(STORE), SHORT_BYTES).await {
            self.warn("agents/bundle-left-behind", &error);
        }
        stored
    }

    async fn store(&self, runtime: &Runtime, shelf: &Shelf<P>, bundle: &Bundle, now: i64) -> Result<(), Unsaved> {
        if usize::try_from(bundle.size).unwrap_or(usize::MAX) > self.settings.session.max_bundle_bytes {
            return Err(Unsaved::TooLarge(bundle.size));
        }
        let (session, user) = self.names().map_err(failed)?;
        let stored = Stored::new(&session, bundle);
        let (db, blobs) = (&*shelf.db, &*shelf.blobs);
        bundles::expect(db, &stored, now).await.map_err(failed)?;
        let provider = self.platform.runtimes(runtime.provider);
        let (mut sum, mut left) = (Sha256::new(), bundle.size);
        // As many pieces as the size says, which is bounded.
        for (number, key) in (0..).zip(stored.keys()) {
            let bytes = provider.read_file(runtime, &piece(number), PIECE_BYTES).await?;
            let bytes = bytes.ok_or_else(|| failed("a piece of the bundle is missing"))?;
            sum.update(&bytes);
            left = left.saturating_sub(bytes.len() as u64);
            blobs.put(&key, bytes).await.map_err(|failure| failed(failure.0))?;
        }
        let sum = base16ct::lower::encode_string(&sum.finalize());
        if left != 0 || sum != bundle.sha256 {
            return Err(failed("the bundle changed while it was read").into());
        }
        self.note(db, &user, &stored, bundle, now).await
    }

    /// The row is written only while the session is there; whoever removes it waits for this.
    async fn note(
        &self,
        db: &impl Database,
        user: &str,
        stored: &Stored,
        bundle: &Bundle,
        now: i64,
    ) -> Result<(), Unsaved> {
        if self.look(|core| core.state.removal.is_some()).unwrap_or(true) {
            return Err(Unsaved::Unwanted);
        }
        bundles::insert(db, user, stored, bundle, now).await.map_err(failed)?;
        self.change(|core, _| decide::on_bundled(&mut core.state, bundle.clone())).map_err(failed)?;
        Ok(())
    }

    /// Nothing that was kept of the tree stays of a session that is deleted. Can be done again.
    pub(in crate::object) async fn remove_bundles(&self) -> Result<(), crate::error::Error> {
        let Some(db) = self.platform.db() else { return Ok(()) };
        let _saving = self.saving.lock().await;
        let session = self.look(|core| core.state.id.clone())?;
        // Each round forgets what it has found: there are at most a few.
        loop {
            let found = bundles::of_session(&*db, &session).await?;
            if found.is_empty() {
                return Ok(());
            }
            let blobs = self.platform.blobs();
            for stored in &found {
                // The objects go first: a row that stays means that it is tried again.
                for key in stored.keys() {
                    let Some(blobs) = &blobs else { break };
                    let deleted = blobs.delete(&key).await;
                    deleted.map_err(|failure| crate::error::Error::Internal(failure.0))?;
                }
                bundles::delete(&*db, stored).await?;
            }
        }
    }
}
