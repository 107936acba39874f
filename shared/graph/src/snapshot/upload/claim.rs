//! Which request of an upload may bring rows (sync.md 10.4, D-81).

use super::{Aim, Plan, UploadError};
use crate::graph::Graph;
use crate::store::upload_mark::{NO_ADDR, UploadMark};
use crate::store::{kvs, meta};
use database::local::Sql;

/// A request that has rows to bring, as the graph remembers it while it runs. It is lost with the process, and the request
/// with it.
#[derive(Debug)]
pub(crate) struct Running {
    epoch: u64,
    pub(super) owner: String,
    /// Address of its first row, once that was stored.
    first: Option<i64>,
    /// When something was heard of it last, in milliseconds.
    pub(super) heard_ms: i64,
}

impl<S: Sql + 'static> Graph<S> {
    /// The request is the one that brings rows from here on; another one fails with its next step.
    pub(super) fn take_over(&mut self, owner: &str) -> u64 {
        self.upload_epoch += 1;
        let (epoch, owner, heard_ms) = (self.upload_epoch, owner.to_owned(), self.clock.now_ms());
        self.running = Some(Running { epoch, owner, first: None, heard_ms });
        epoch
    }

    /// What is remembered of a request, if none has taken over since.
    fn running_of(&mut self, plan: &Plan) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| plan.epoch == Some(running.epoch))
    }

    /// Something was heard of the request.
    pub(super) fn hear_of(&mut self, plan: &Plan) {
        let now_ms = self.clock.now_ms();
        if let Some(running) = self.running_of(plan) {
            running.heard_ms = now_ms;
        }
    }

    pub(super) fn end_running(&mut self, plan: &Plan) {
        self.running.take_if(|running| plan.epoch == Some(running.epoch));
    }

    /// The first row of a request has come: whether it goes on with its upload, or belongs to the graph as it is.
    pub(super) fn claim(&mut self, plan: &mut Plan, first: i64) -> Result<(), UploadError> {
        if plan.base.is_some() {
            self.note_first(plan, first);
            return Ok(());
        }
        let meta = self.meta()?.clone();
        if plan.aim == Aim::Merge {
            self.check_still_ours(plan)?;
            if !may_merge(plan, &meta, first) {
                return Err(UploadError::Conflict);
            }
            plan.base = Some(NO_ADDR);
            self.note_first(plan, first);
            return Ok(());
        }
        let ours = |mark: &UploadMark| mark.owner == plan.owner && mark.begun_ms == plan.begun_ms;
        let Some(mark) = meta.upload.filter(|mark| meta.uploading && ours(mark)) else {
            return Err(UploadError::Superseded);
        };
        // A client sends one part after another. Two at a time are one part twice, because the first answer is not awaited
        // any more; or the second belongs to another upload.
        let is_other = |running: &Running| running.first.is_some_and(|running| running != first);
        if self.running.as_ref().is_some_and(is_other) {
            return Err(UploadError::Conflict);
        }
        let base = mark.base_of(first).ok_or(UploadError::Conflict)?;
        let repeated = (base < mark.last).then(|| mark.without_last_part());
        let sql = &*self.sql;
        sql.transaction(&mut || {
            kvs::drop_staged_after(sql, base)?;
            repeated.as_ref().map_or(Ok(()), |mark| meta::set_upload(sql, mark))
        })?;
        self.meta = None;
        plan.epoch = Some(self.take_over(&plan.owner));
        plan.base = Some(base);
        self.note_first(plan, first);
        Ok(())
    }

    /// A request without rows ends an upload: all that counts are the parts that have ended.
    pub(super) fn claim_end(&mut self, plan: &Plan) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        if self.running.is_some() {
            return Err(UploadError::Conflict);
        }
        let last = self.meta()?.upload.as_ref().map_or(NO_ADDR, |mark| mark.last);
        Ok(kvs::drop_staged_after(&*self.sql, last)?)
    }

    fn note_first(&mut self, plan: &Plan, first: i64) {
        if let Some(running) = self.running_of(plan) {
            running.first.get_or_insert(first);
        }
    }

    pub(super) fn discard_on_error<T>(
        &mut self,
        plan: &Plan,
        outcome: Result<T, UploadError>,
    ) -> Result<T, UploadError> {
        if outcome.is_err() {
            self.discard(plan);
        }
        outcome
    }

    /// Gives back the space of a request that failed, unless another one has taken over.
    pub(super) fn discard(&mut self, plan: &Plan) {
        self.forget();
        if let Some(base) = plan.base.filter(|_| self.check_still_ours(plan).is_ok()) {
            // The first error is the one to report; what stays is dropped by the next request or at the next start.
            drop(kvs::drop_staged_after(&*self.sql, base));
        } else if plan.aim == Aim::Merge && self.running_of(plan).is_some() {
            drop(self.drop_staged());
        }
        self.end_running(plan);
        self.forget();
    }

    /// No other request took over. A graph that was closed must still be closed, and an open one as it was: rows of an
    /// older state do not go over those of a transaction.
    pub(super) fn check_still_ours(&mut self, plan: &Plan) -> Result<(), UploadError> {
        let meta = self.meta()?.clone();
        let as_it_was = match plan.aim {
            Aim::Replace => meta.uploading && meta.upload.as_ref().is_some_and(|mark| mark.begun_ms == plan.begun_ms),
            Aim::Merge => !meta.uploading && meta.t == plan.t && self.generation == plan.generation,
        };
        if as_it_was && plan.epoch.is_none_or(|epoch| epoch == self.upload_epoch) {
            Ok(())
        } else {
            Err(UploadError::Superseded)
        }
    }
}

/// Whether rows from the address `first` on may go over those of an open graph: when it is as its upload left it and they
/// are the last part of that upload once more, or when a checksum proves it, which was or will be compared.
fn may_merge(plan: &Plan, meta: &meta::Meta, first: i64) -> bool {
    if plan.checksum.is_some() {
        return true;
    }
    meta.t == 0
        && meta
            .upload
            .as_ref()
            .is_none_or(|mark| mark.owner == plan.owner && mark.base_of(first).is_some_and(|base| base < mark.last))
}
