//! The conversation of a session and the store of transcripts (transcripts.md 4): what is read of it, who may write, and when.

mod keep;
mod recovery;
mod resume;

pub(super) use recovery::recovery;
pub(super) use resume::{note_opened, note_opened_as};

use std::rc::Rc;

use database::Database;
use transcripts::{Refused, Store, StoreError};
use web::Blobs;

use super::{Platform, Session};
use crate::error::Error;

/// The store, as long as one piece of work needs it.
pub(super) struct Shelf<P: Platform> {
    pub(super) db: Rc<P::Db>,
    pub(super) blobs: Rc<P::Blobs>,
}

impl<P: Platform> Session<P> {
    /// The store; none where a binding is missing.
    pub(super) fn shelf(&self) -> Option<Shelf<P>> {
        Some(Shelf { db: self.platform.db()?, blobs: self.platform.blobs()? })
    }

    /// Snapshots over the two stores.
    pub(super) fn snapshots<'a>(&'a self, shelf: &'a Shelf<P>) -> Store<'a, impl Database, impl Blobs> {
        let settings = &self.settings.transcripts;
        Store {
            db: &*shelf.db,
            blobs: &*shelf.blobs,
            vault: &settings.vault,
            limit: settings.max_bytes,
            quota: settings.quota,
        }
    }

    /// The epoch of the conversation. A session whose name an earlier one had begins beyond that one's.
    pub(super) async fn epoch(&self, shelf: &Shelf<P>) -> Result<u64, StoreFailure> {
        let known =
            self.look(|core| (core.state.transcript.epoch, core.state.id.clone(), core.state.requested_by.clone()))?;
        let (None, session, user) = known else { return Ok(known.0.unwrap_or_default()) };
        let store = self.snapshots(shelf);
        let epoch = match store.head(&session).await? {
            None => 0,
            Some(head) => {
                let epoch = head.epoch.saturating_add(1);
                store.reset(&session, &user, epoch, self.platform.now_ms()).await?;
                epoch
            }
        };
        // Whoever was quicker counts.
        Ok(self.change(|core, _| *core.state.transcript.epoch.get_or_insert(epoch))?)
    }
}

impl<P: Platform> Session<P> {
    /// Nothing of the conversation stays of a session that is deleted. A later one of its name begins beyond its epoch. Can be done again.
    pub(in crate::object) async fn remove_conversation(&self) -> Result<(), Error> {
        let Some(shelf) = self.shelf() else { return Ok(()) };
        let _writing = self.writing.lock().await;
        let removed = async {
            let (session, user) = self.names()?;
            let store = self.snapshots(&shelf);
            // Without a head nothing was ever completed or begun anew.
            let epoch = store.head(&session).await?.map_or(0, |head| head.epoch);
            store.reset(&session, &user, epoch.saturating_add(1), self.platform.now_ms()).await?;
            Ok::<(), StoreFailure>(())
        };
        removed.await.map_err(|failure| failure.answered(false))
    }
}

/// Why the store was of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreFailure {
    /// The store, or its rules.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session.
    #[error(transparent)]
    Session(#[from] Error),
}

impl StoreFailure {
    /// As it is answered.
    pub(super) fn answered(self, is_alias: bool) -> Error {
        match self {
            Self::Store(StoreError::Refused(refused)) => Error::transcript(refused, is_alias),
            Self::Store(StoreError::Failed(text)) => Error::Internal(text),
            Self::Session(error) => error,
        }
    }
}

impl From<Refused> for StoreFailure {
    fn from(refused: Refused) -> Self {
        Self::Store(refused.into())
    }
}
