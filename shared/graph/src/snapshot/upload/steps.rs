//! The steps of an upload (sync.md 10.4).

use std::rc::Rc;

use datascript::Attrs;
use datascript::verify::Verify;
use protocol::limits;
use protocol::query::UploadQuery;
use transit::Limits;

use super::body::{Body, Pulled};
use super::{Aim, Plan, Stored, Upload, UploadError, Uploaded};
use crate::error::Result as GraphResult;
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::repair::{PIECE_LEAVES, Repair};
use crate::rules;
use crate::store::upload_mark::{NO_ADDR, UploadMark};
use crate::store::{kvs, meta};
use database::local::Sql;

impl<S: Sql + 'static> Graph<S> {
    /// Starts a request of an upload by `owner`; changes nothing yet.
    ///
    /// `gzip` is the request's content encoding, `has_body` whether the body has any byte.
    ///
    /// # Errors
    /// [`UploadError::MissingBody`] for an empty body with reset (D-37), [`UploadError::ChecksumConflict`] when the
    /// graph is kept and its checksum is another (D-36), [`UploadError::Invalid`] for the end of an upload whose rows
    /// never came, [`UploadError::Conflict`] while somebody else's upload runs, and for rows that would go over
    /// transactions.
    pub fn begin_upload(
        &mut self,
        query: &UploadQuery<'_>,
        owner: &str,
        gzip: bool,
        has_body: bool,
    ) -> Result<Upload, UploadError> {
        if query.reset && !has_body {
            return Err(UploadError::MissingBody);
        }
        let now_ms = self.clock.now_ms();
        let meta = self.meta()?.clone();
        let of_others = self.running.as_ref().is_some_and(|running| running.owner != owner);
        let mut begun_ms = now_ms;
        let aim = if query.reset {
            // Of an upload that failed before any row had come there is nothing to protect.
            let has_rows = |mark: &UploadMark| mark.owner != owner && mark.last > NO_ADDR;
            if of_others || (meta.uploading && meta.upload.as_ref().is_some_and(has_rows)) {
                return Err(UploadError::Conflict);
            }
            Aim::Replace
        } else if meta.uploading {
            let Some(mark) = meta.upload.filter(|mark| mark.owner == owner) else {
                return Err(UploadError::Conflict);
            };
            if query.finished && !has_body && mark.last == NO_ADDR {
                return Err(UploadError::Invalid);
            }
            begun_ms = mark.begun_ms;
            Aim::Replace
        } else {
            if query.finished {
                self.check_checksum(query.checksum)?;
            }
            let is_proven = query.finished && query.checksum.is_some();
            if has_body && (of_others || (meta.t > 0 && !is_proven)) {
                return Err(UploadError::Conflict);
            }
            Aim::Merge
        };
        let mut epoch = None;
        if aim == Aim::Merge && has_body {
            // Its rows are looked at together with those of the graph.
            self.checkpoint()?;
            // Only one request at a time waits to change an open graph.
            self.drop_staged()?;
            epoch = Some(self.take_over(owner));
        }
        let plan = Plan {
            aim,
            resets: query.reset,
            finished: query.finished,
            checksum: query.checksum.filter(|_| query.finished).map(str::to_owned),
            owner: owner.to_owned(),
            epoch,
            generation: self.generation,
            begun_ms,
            t: meta.t,
            base: None,
            first: NO_ADDR,
            last: NO_ADDR,
        };
        Ok(Upload { plan, body: Body::new(gzip), stored: None, ended: false })
    }

    /// Closes the graph for an upload that replaces it, after the index's flag was set (D-29). Other uploads that are
    /// under way fail from now on.
    pub fn close_for_upload(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        // Should the upload come to nothing, the graph is open as it was, and idle. What cannot be written stays in the journal:
        // a graph that is damaged has to be replaceable.
        drop(self.checkpoint());
        self.require_undeleted()?;
        let plan = &mut upload.plan;
        let mark = UploadMark::new(&plan.owner, plan.begun_ms);
        let sql = &*self.sql;
        sql.transaction(&mut || {
            kvs::drop_staged(sql)?;
            meta::set_upload(sql, &mark)?;
            meta::set_uploading(sql, true)
        })?;
        self.forget();
        self.discarded = None;
        let plan = &mut upload.plan;
        plan.epoch = Some(self.take_over(&plan.owner));
        plan.base = Some(NO_ADDR);
        Ok(())
    }

    /// Forgets the rows of an upload that waits.
    pub(super) fn drop_staged(&mut self) -> GraphResult<()> {
        self.discarded = None;
        Ok(self.sql.transaction(&mut || kvs::drop_staged(&*self.sql))?)
    }

    /// Takes in the next of what was pushed, for some milliseconds: about a megabyte is unpacked, some hundred rows are
    /// stored. False: all was taken in, and more of the body is wanted.
    pub fn upload_piece(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let outcome = self.take_in(upload);
        self.discard_on_error(&upload.plan, outcome)
    }

    /// Takes the next bytes of the body, all in one go.
    pub fn feed_upload(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), UploadError> {
        upload.push(bytes.to_vec());
        while self.upload_piece(upload)? {}
        Ok(())
    }

    /// Gives up a request, and the space of its rows. Does nothing about one that has ended.
    pub fn abandon_upload(&mut self, upload: &mut Upload) {
        if !std::mem::replace(&mut upload.ended, true) {
            self.discard(&upload.plan);
        }
    }

    /// Takes the end of the body: the rows that are left are stored.
    pub fn store_rest(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        let outcome = self.take_rest(upload).map(|stored| upload.stored = Some(stored));
        self.discard_on_error(&upload.plan, outcome)
    }

    /// Looks at the next rows of what was uploaded, or builds damaged indexes of it again, for some milliseconds. False: all
    /// was looked at, and nothing is damaged any more.
    ///
    /// # Errors
    /// [`UploadError::Invalid`] for rows that are no graph that could be worked with.
    pub fn verify_piece(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let Some(stored) = &mut upload.stored else { return Ok(false) };
        let outcome = self.verify_next(&upload.plan, stored);
        self.discard_on_error(&upload.plan, outcome)
    }

    fn verify_next(&mut self, plan: &Plan, stored: &mut Stored) -> Result<bool, UploadError> {
        let Some(verify) = &mut stored.verify else { return Ok(false) };
        self.check_still_ours(plan)?;
        self.hear_of(plan);
        if let Some(repair) = &mut stored.repair {
            return Ok(repair.step(&*self.sql)?);
        }
        if verify.step(PIECE_LEAVES).map_err(unusable)? {
            return Ok(true);
        }
        let damage = verify.damage();
        if damage.any() {
            stored.repair = Some(Repair::new(self.uploaded_rows(plan), damage)?);
        }
        Ok(damage.any())
    }

    /// Ends a request: where it was the last one of its upload, the graph opens. Does in one go what is left of
    /// [`Graph::store_rest`] and [`Graph::verify_piece`].
    ///
    /// # Errors
    /// [`UploadError::ChecksumConflict`] when the rows of several requests have another checksum than the last one says;
    /// [`UploadError::Superseded`] for a request that has ended.
    pub fn finish_upload(&mut self, upload: &mut Upload) -> Result<Uploaded, UploadError> {
        if upload.ended {
            return Err(UploadError::Superseded);
        }
        if upload.stored.is_none() {
            self.store_rest(upload)?;
        }
        while self.verify_piece(upload)? {}
        upload.ended = true;
        let (count, repair) = upload.stored.take().map_or((0, None), |stored| (stored.count, stored.repair));
        let plan = &upload.plan;
        let outcome = self.take_effect(plan, count > 0, repair);
        if outcome.is_ok() {
            self.end_running(plan);
        }
        self.discard_on_error(plan, outcome)?;
        Ok(Uploaded { count, opened: plan.finished })
    }

    /// Ends an upload of which nothing was heard for [`limits::UPLOAD_IDLE_MS`]: a graph that it closed is open again.
    pub(crate) fn settle_upload(&mut self, stored: &meta::Meta) -> GraphResult<bool> {
        let closing = stored.upload.as_ref().filter(|_| stored.uploading).map(|mark| mark.touched_ms);
        let running = self.running.as_ref().map(|running| running.heard_ms);
        let Some(heard_ms) = closing.max(running) else { return Ok(false) };
        if self.clock.now_ms().saturating_sub(heard_ms) <= limits::UPLOAD_IDLE_MS {
            return Ok(false);
        }
        self.end_upload(closing.is_some())?;
        Ok(true)
    }

    /// Ends an upload that nobody goes on with, however short ago something was heard of it: the graph is open as it was.
    pub fn give_up_upload(&mut self) -> GraphResult<()> {
        let closes = self.meta()?.uploading;
        self.end_upload(closes)?;
        self.forget();
        Ok(())
    }

    fn end_upload(&mut self, closes: bool) -> GraphResult<()> {
        let sql = &*self.sql;
        sql.transaction(&mut || {
            kvs::drop_staged(sql)?;
            if closes { meta::drop_upload(sql) } else { Ok(()) }
        })?;
        self.running = None;
        self.discarded = None;
        self.upload_epoch += 1;
        Ok(())
    }

    fn take_in(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let Upload { plan, body, .. } = upload;
        let pulled = body.pull()?;
        // At once, so that another request knows of it.
        if let Some(first) = body.batch().first() {
            self.claim(plan, i64::from(first.addr))?;
        }
        if pulled == Pulled::Batch {
            self.store_batch(plan, body)?;
        }
        self.hear_of(plan);
        Ok(pulled != Pulled::Everything)
    }

    fn take_rest(&mut self, upload: &mut Upload) -> Result<Stored, UploadError> {
        upload.body.end()?;
        while self.take_in(upload)? {}
        let Upload { plan, body, .. } = upload;
        let count = body.row_count()?;
        if !body.batch().is_empty() {
            self.store_batch(plan, body)?;
        }
        if plan.aim == Aim::Replace && plan.finished && plan.base.is_none() {
            self.claim_end(plan)?;
        }
        let brings_rows = plan.finished && (plan.aim == Aim::Replace || count > 0);
        let verify = if brings_rows { self.begin_verify(plan)? } else { None };
        Ok(Stored { count, verify, repair: None })
    }

    fn store_batch(&mut self, plan: &mut Plan, body: &mut Body) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        let rows = body.batch();
        let base = plan.base.unwrap_or(NO_ADDR);
        if rows.iter().any(|row| i64::from(row.addr) <= base) {
            return Err(UploadError::Conflict);
        }
        let sql = &*self.sql;
        sql.transaction(&mut || kvs::stage(sql, rows))?;
        if plan.resets && plan.last == NO_ADDR {
            faults::reach(Point::UploadAfterFirstRows)?;
        } else {
            faults::reach(Point::UploadBetweenRows)?;
        }
        plan.note_stored(rows);
        body.clear_batch();
        Ok(())
    }

    /// The rows as they will be.
    pub(super) fn uploaded_rows(&self, plan: &Plan) -> kvs::Uploaded<S> {
        kvs::Uploaded { sql: Rc::clone(&self.sql), over_live: plan.aim == Aim::Merge }
    }

    /// Begins to look at the rows; none where there are none at all.
    fn begin_verify(&self, plan: &Plan) -> Result<Option<Verify>, UploadError> {
        let rows = self.uploaded_rows(plan);
        let Some(greatest) = rows.greatest_addr()? else { return Ok(None) };
        let schema = rules::static_schema(Attrs::new(rules::attrs::PRESET));
        let greatest = u64::try_from(greatest).unwrap_or(u64::MAX);
        Verify::new(Rc::new(rows), schema, greatest, Limits::CLIENT).map(Some).map_err(unusable)
    }
}

/// Rows that cannot be used are the sender's fault; that they cannot be read is not.
fn unusable(error: datascript::Error) -> UploadError {
    match error {
        datascript::Error::Storage(_) => UploadError::Graph(error.into()),
        _ => UploadError::Invalid,
    }
}
