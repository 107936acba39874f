//! What the clock deletes (transcripts.md 4.3, 4.10).

use database::{Database, Param, ReadFrom, Statement};
use web::Blobs;

use super::{Store, StoreError, statements};
use crate::limits::{GARBAGE_MS, KEPT_OTHERS_MS, SWEPT_AT_ONCE};

impl<D: Database, B: Blobs> Store<'_, D, B> {
    /// Deletes snapshots of runs that did not end well, and objects that no row needs. What is too much for one time is left for
    /// the next. Gives the number of objects that were deleted.
    pub async fn sweep(&self, now: i64) -> Result<usize, StoreError> {
        let stale = [Param::Int(now.saturating_sub(KEPT_OTHERS_MS)), Param::count(SWEPT_AT_ONCE)];
        let after = Param::Int(now.saturating_add(GARBAGE_MS));
        let objects: Vec<Param<'_>> = [after].into_iter().chain(stale).collect();
        let texts = [
            statements::drop_stale_objects("object_key"),
            statements::drop_stale_objects("partial_key"),
            statements::drop_stale(),
        ];
        let [whole, partial, rows] = &texts;
        let batch: [Statement<'_>; 3] = [(whole, &objects), (partial, &objects), (rows, &stale)];
        self.db.batch(&batch).await?;
        let due = [Param::Int(now), Param::count(SWEPT_AT_ONCE)];
        let keys = self.db.query(ReadFrom::Primary, statements::GARBAGE, &due).await?;
        let mut deleted = 0;
        // At most [`SWEPT_AT_ONCE`]. The object goes first: a row that stays means that it is tried again.
        for key in keys.iter().filter_map(|row| row.text(0)) {
            self.blobs.delete(key).await?;
            self.db.execute(statements::SWEPT, &[Param::Text(key)]).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}
