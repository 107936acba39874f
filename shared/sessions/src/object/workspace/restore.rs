//! What was not pushed is brought back into a new sandbox.

use web::Blobs;

use super::{SHORT_BYTES, STORE, piece};
use crate::command::{self, PIECE_BYTES};
use crate::object::{Platform, Session};
use crate::registry::bundles::{self, Stored};
use crate::runtime::{Provider, Runtime};
use crate::session::decide;
use crate::workspace::Bundle;

/// What a bundle is brought back with, and how long that may take, in milliseconds.
pub(in crate::object) const RESTORE_MS: i64 = 180_000;

/// Why a bundle was not brought back, as events tell it; and for logs.
type Unrestored = (&'static str, String);

impl<P: Platform> Session<P> {
    /// Brings back what the session had not pushed, if there is something, into the repository of a new sandbox. What comes of it is told.
    pub(in crate::object) async fn restore_tree(&self, runtime: &Runtime) -> Result<(), crate::error::Error> {
        let Some(bundle) = self.look(|core| core.state.workspace.bundle.clone())? else { return Ok(()) };
        let restored = self.bring_back(runtime, &bundle).await;
        if let Err((_, why)) = &restored {
            self.warn("agents/tree-not-restored", why);
        }
        let told = restored.as_ref().copied().map_err(|(reason, _)| *reason);
        self.change(|core, decide| decide::on_restored(&mut core.state, decide, &bundle, told))
    }

    async fn bring_back(&self, runtime: &Runtime, bundle: &Bundle) -> Result<(), Unrestored> {
        let unreadable = |error: &dyn std::fmt::Display| ("store-failed", error.to_string());
        let (session, _) = self.names().map_err(|error| unreadable(&error))?;
        let shelf = self.shelf().ok_or_else(|| ("no-store", "a binding is missing".to_owned()))?;
        // Whether it is still kept, and from now on.
        let is_kept = bundles::touch(&*shelf.db, &session, &bundle.id, self.platform.now_ms()).await;
        if !is_kept.map_err(|error| unreadable(&error))? {
            return Err(("expired", "the bundle is not kept any more".to_owned()));
        }
        let provider = self.platform.runtimes(runtime.provider);
        // As many pieces as the bundle had when it was stored.
        for (number, key) in (0..).zip(Stored::new(&session, bundle).keys()) {
            let bytes = shelf.blobs.get(&key, PIECE_BYTES).await.map_err(|failure| unreadable(&failure.0))?;
            let bytes = bytes.ok_or_else(|| ("expired", format!("piece {number} is missing")))?;
            let written = provider.write_file(runtime, &piece(number), &bytes).await;
            written.map_err(|error| ("sandbox-failed", error.to_string()))?;
        }
        let restore = command::restore(&runtime.directory, bundle, STORE);
        let said = self.said(runtime, restore, SHORT_BYTES).await.map_err(|error| ("git-failed", error.to_string()))?;
        if said.lines().any(|line| line == "agent-restored") {
            return Ok(());
        }
        Err(("no-repository", "there is no repository to restore to".to_owned()))
    }
}
