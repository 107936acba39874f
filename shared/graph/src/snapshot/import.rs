//! The steps of an upload that touch the graph (sync.md 10.4).

use std::rc::Rc;

use datascript::verify::Verify;
use datascript::{Attrs, Row};
use protocol::limits;
use protocol::query::UploadQuery;
use transit::Limits;

use super::upload::{Aim, Ending, Need, Plan, Upload, UploadError, Uploaded};
use crate::error::Result as GraphResult;
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::repair::{self, Notice, PIECE_LEAVES, Repair};
use crate::rules;
use crate::store::upload_mark::{NO_ADDR, UploadMark};
use crate::store::{kvs, meta};
use database::local::{Sql, SqlError};

/// A request that has rows to bring, as the graph remembers it while it runs. It is lost with the process, and the request
/// with it.
#[derive(Debug)]
pub(crate) struct Running {
    epoch: u64,
    owner: String,
    /// Address of its first row, once that was stored.
    first: Option<i64>,
    /// When something was heard of it last, in milliseconds.
    heard_ms: i64,
}

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
            // Only one request at a time waits to change an open graph.
            kvs::drop_staged(&*self.sql)?;
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
        Ok(Upload::new(plan, gzip))
    }

    /// Closes the graph for an upload that replaces it, after the index's flag was set (D-29). Other uploads that are
    /// under way fail from now on.
    pub fn close_for_upload(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        self.require_undeleted()?;
        let plan = upload.plan_mut();
        let mark = UploadMark::new(&plan.owner, plan.begun_ms);
        let sql = &*self.sql;
        sql.transaction(&mut || {
            kvs::drop_staged(sql)?;
            meta::set_upload(sql, &mark)?;
            meta::set_uploading(sql, true)
        })?;
        self.forget();
        plan.epoch = Some(self.take_over(&plan.owner));
        plan.base = Some(NO_ADDR);
        Ok(())
    }

    /// Takes in the next of what was pushed, for some milliseconds: about a megabyte is unpacked, some hundred rows are
    /// stored. False: all was taken in, and more of the body is wanted.
    pub fn upload_piece(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let outcome = self.take_in(upload);
        self.discard_on_error(upload, outcome)
    }

    /// Takes the next bytes of the body, all in one go.
    pub fn feed_upload(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), UploadError> {
        upload.push(bytes.to_vec());
        while self.upload_piece(upload)? {}
        Ok(())
    }

    /// Gives up a request, and the space of its rows.
    pub fn abandon_upload(&mut self, upload: &Upload) {
        self.discard(upload);
    }

    /// Takes the end of the body, looks at the rows and opens the graph, all in one go: [`Graph::store_rest`],
    /// [`Graph::verify_piece`] until there is no more, [`Graph::finish_upload`].
    pub fn end_upload(&mut self, upload: Upload) -> Result<Uploaded, UploadError> {
        let mut ending = self.store_rest(upload)?;
        while self.verify_piece(&mut ending)? {}
        self.finish_upload(ending)
    }

    /// Takes the end of the body: what is buffered is stored.
    pub fn store_rest(&mut self, mut upload: Upload) -> Result<Ending, UploadError> {
        let outcome = self.take_rest(&mut upload).and_then(|uploaded| {
            let plan = upload.plan();
            if plan.aim == Aim::Replace && plan.finished && plan.base.is_none() {
                self.claim_end(plan)?;
            }
            let brings_rows = plan.finished && (plan.aim == Aim::Replace || uploaded.count > 0);
            Ok((uploaded, if brings_rows { self.begin_verify(plan)? } else { None }))
        });
        let (uploaded, verify) = self.discard_on_error(&upload, outcome)?;
        Ok(Ending { upload, uploaded, verify, repair: None })
    }

    /// Looks at the next rows of what was uploaded, or builds damaged indexes of it again, for some milliseconds. False: all
    /// was looked at, and nothing is damaged any more.
    ///
    /// # Errors
    /// [`UploadError::Invalid`] for rows that are no graph that could be worked with.
    pub fn verify_piece(&mut self, ending: &mut Ending) -> Result<bool, UploadError> {
        let outcome = self.verify_next(ending);
        self.discard_on_error(&ending.upload, outcome)
    }

    fn verify_next(&mut self, ending: &mut Ending) -> Result<bool, UploadError> {
        let Some(verify) = &mut ending.verify else { return Ok(false) };
        let plan = ending.upload.plan();
        self.check_still_ours(plan)?;
        let now_ms = self.clock.now_ms();
        if let Some(running) = self.running_of(plan) {
            running.heard_ms = now_ms;
        }
        if let Some(repair) = &mut ending.repair {
            return Ok(repair.step(&*self.sql)?);
        }
        if verify.step(PIECE_LEAVES).map_err(unusable)? {
            return Ok(true);
        }
        let damage = verify.damage();
        if damage.any() {
            ending.repair = Some(Repair::new(self.uploaded_rows(plan), damage)?);
        }
        Ok(damage.any())
    }

    /// Ends a request: where it was the last one of its upload, the graph opens.
    ///
    /// # Errors
    /// [`UploadError::ChecksumConflict`] when the rows of several requests have another checksum than the last one says.
    pub fn finish_upload(&mut self, mut ending: Ending) -> Result<Uploaded, UploadError> {
        // Nothing is left to do where the caller has done it.
        while self.verify_piece(&mut ending)? {}
        let Ending { upload, uploaded, repair, .. } = ending;
        let outcome = self.finish(upload.plan(), uploaded, repair).map(|()| uploaded);
        if outcome.is_ok() {
            self.end_running(upload.plan());
        }
        self.discard_on_error(&upload, outcome)
    }

    /// Ends an upload of which nothing was heard for [`limits::UPLOAD_IDLE_MS`]: a graph that it closed is open again.
    pub(crate) fn settle_upload(&mut self, stored: &meta::Meta) -> GraphResult<bool> {
        let closing = stored.upload.as_ref().filter(|_| stored.uploading).map(|mark| mark.touched_ms);
        let running = self.running.as_ref().map(|running| running.heard_ms);
        let Some(heard_ms) = closing.max(running) else { return Ok(false) };
        if self.clock.now_ms().saturating_sub(heard_ms) <= limits::UPLOAD_IDLE_MS {
            return Ok(false);
        }
        let sql = &*self.sql;
        sql.transaction(&mut || {
            kvs::drop_staged(sql)?;
            if closing.is_some() { meta::drop_upload(sql) } else { Ok(()) }
        })?;
        self.running = None;
        self.upload_epoch += 1;
        Ok(true)
    }

    /// The request is the one that brings rows from here on; another one fails with its next step.
    fn take_over(&mut self, owner: &str) -> u64 {
        self.upload_epoch += 1;
        let (epoch, owner, heard_ms) = (self.upload_epoch, owner.to_owned(), self.clock.now_ms());
        self.running = Some(Running { epoch, owner, first: None, heard_ms });
        epoch
    }

    /// What is remembered of a request, if none has taken over since.
    fn running_of(&mut self, plan: &Plan) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| plan.epoch == Some(running.epoch))
    }

    fn end_running(&mut self, plan: &Plan) {
        self.running.take_if(|running| plan.epoch == Some(running.epoch));
    }

    /// The rows as they will be.
    fn uploaded_rows(&self, plan: &Plan) -> kvs::Uploaded<S> {
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

    fn take_in(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let need = upload.advance()?;
        // At once, so that another request knows of it.
        if let Some(first) = upload.rows().first().map(|row| i64::from(row.addr)) {
            self.claim(upload.plan_mut(), first)?;
        }
        if need == Need::Storing {
            self.store(upload)?;
        }
        let now_ms = self.clock.now_ms();
        if let Some(running) = self.running_of(upload.plan()) {
            running.heard_ms = now_ms;
        }
        Ok(need != Need::Bytes)
    }

    fn take_rest(&mut self, upload: &mut Upload) -> Result<Uploaded, UploadError> {
        upload.end()?;
        // What the unpacker held back: some kilobytes.
        while self.take_in(upload)? {}
        let uploaded = upload.counted()?;
        if !upload.rows().is_empty() {
            self.store(upload)?;
        }
        Ok(uploaded)
    }

    fn store(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        self.check_still_ours(upload.plan())?;
        let plan = upload.plan();
        let base = plan.base.unwrap_or(NO_ADDR);
        if upload.rows().iter().any(|row| i64::from(row.addr) <= base) {
            return Err(UploadError::Conflict);
        }
        self.store_rows(plan, upload.rows())?;
        upload.stored();
        Ok(())
    }

    /// The first row of a request has come: whether it goes on with its upload, or belongs to the graph as it is.
    fn claim(&mut self, plan: &mut Plan, first: i64) -> Result<(), UploadError> {
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
    fn claim_end(&mut self, plan: &Plan) -> Result<(), UploadError> {
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

    fn discard_on_error<T>(&mut self, upload: &Upload, outcome: Result<T, UploadError>) -> Result<T, UploadError> {
        if outcome.is_err() {
            self.discard(upload);
        }
        outcome
    }

    /// Gives back the space of a request that failed, unless another one has taken over.
    fn discard(&mut self, upload: &Upload) {
        let plan = upload.plan();
        self.forget();
        if let Some(base) = plan.base.filter(|_| self.check_still_ours(plan).is_ok()) {
            // The first error is the one to report; what stays is dropped by the next request or at the next start.
            drop(kvs::drop_staged_after(&*self.sql, base));
        } else if plan.aim == Aim::Merge && self.running_of(plan).is_some() {
            drop(kvs::drop_staged(&*self.sql));
        }
        self.end_running(plan);
        self.forget();
    }

    fn store_rows(&mut self, plan: &Plan, rows: &[Row]) -> Result<(), UploadError> {
        let sql = &*self.sql;
        sql.transaction(&mut || kvs::stage(sql, rows))?;
        if plan.resets && plan.last == NO_ADDR {
            faults::reach(Point::UploadAfterFirstRows)?;
        } else {
            faults::reach(Point::UploadBetweenRows)?;
        }
        Ok(())
    }

    /// No other request took over. A graph that was closed must still be closed, and an open one as it was: rows of an
    /// older state do not go over those of a transaction.
    fn check_still_ours(&mut self, plan: &Plan) -> Result<(), UploadError> {
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

    fn finish(&mut self, plan: &Plan, uploaded: Uploaded, repair: Option<Repair>) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        faults::reach(Point::UploadBeforeOpening)?;
        match plan.aim {
            Aim::Replace if plan.finished => self.replace_rows(plan, repair),
            Aim::Replace => self.end_part(plan),
            Aim::Merge => self.merge_rows(plan, uploaded.count > 0, repair),
        }
    }

    /// A part of an upload that goes on has ended: its rows stay.
    fn end_part(&mut self, plan: &Plan) -> Result<(), UploadError> {
        let mark = self.mark_with(plan)?;
        meta::set_upload(&*self.sql, &mark)?;
        self.meta = None;
        Ok(())
    }

    /// The upload with this request.
    fn mark_with(&mut self, plan: &Plan) -> Result<UploadMark, UploadError> {
        let now_ms = self.clock.now_ms();
        let mark = self.meta()?.upload.clone().ok_or(UploadError::Superseded)?;
        Ok(match plan.last {
            NO_ADDR => UploadMark { touched_ms: now_ms, ..mark },
            last => mark.with_part(plan.first, last, now_ms),
        })
    }

    /// The uploaded rows take the place of all others.
    fn replace_rows(&mut self, plan: &Plan, repair: Option<Repair>) -> Result<(), UploadError> {
        let mark = self.mark_with(plan)?;
        if mark.parts == 0 {
            return Err(UploadError::Invalid);
        }
        // What came in one request came from one sender, and is believed what it says.
        let proof = plan.checksum.as_deref().filter(|_| mark.parts > 1);
        let (writes, repaired) = repair.map(Repair::finish).unzip();
        let sql = Rc::clone(&self.sql);
        self.transaction_proving(proof, &mut || {
            kvs::wipe(&*sql)?;
            kvs::merge_staged(&*sql)?;
            if let Some(writes) = &writes {
                repair::replace(&*sql, writes)?;
            }
            meta::set_uploading(&*sql, false)?;
            meta::set_upload(&*sql, &mark)?;
            meta::set_verified(&*sql)?;
            meta::advance(&*sql, 0, plan.checksum.as_deref())
        })?;
        self.notice = repaired.map(Notice::Repaired).or(self.notice.take());
        self.forget();
        self.replaced();
        Ok(())
    }

    /// The uploaded rows go over those of the graph.
    fn merge_rows(&mut self, plan: &Plan, has_rows: bool, repair: Option<Repair>) -> Result<(), UploadError> {
        if plan.finished {
            self.check_checksum(plan.checksum.as_deref())?;
        }
        let meta = self.meta()?;
        let t = meta.t;
        // A checksum that is stored already was proven when it was made, unless rows go over transactions.
        let proof = plan.checksum.as_deref().filter(|_| has_rows && (t > 0 || meta.checksum.is_none()));
        let (writes, repaired) = repair.map(Repair::finish).unzip();
        let sql = Rc::clone(&self.sql);
        self.transaction_proving(proof, &mut || {
            if has_rows {
                // Exports end here: what they showed is no more.
                kvs::drop_saved(&*sql)?;
                kvs::merge_staged(&*sql)?;
            }
            if plan.finished {
                if let Some(writes) = &writes {
                    repair::replace(&*sql, writes)?;
                }
                meta::set_uploading(&*sql, false)?;
                if has_rows {
                    meta::set_verified(&*sql)?;
                }
                meta::advance(&*sql, t, plan.checksum.as_deref())?;
            }
            Ok(())
        })?;
        self.notice = repaired.map(Notice::Repaired).or(self.notice.take());
        self.forget();
        if has_rows {
            self.replaced();
        }
        Ok(())
    }

    /// A transaction that takes effect only if the rows it leaves have the given checksum, where one is given.
    fn transaction_proving(
        &self,
        proof: Option<&str>,
        body: &mut dyn FnMut() -> Result<(), SqlError>,
    ) -> Result<(), UploadError> {
        let mut refused = None;
        let outcome = self.sql.transaction(&mut || {
            body()?;
            let Some(proof) = proof else { return Ok(()) };
            refused = match self.full_checksum() {
                Ok(checksum) if checksum == proof => None,
                Ok(_) => Some(UploadError::ChecksumConflict),
                Err(error) => Some(error.into()),
            };
            if refused.is_some() { Err(SqlError::Other("rolled back".into())) } else { Ok(()) }
        });
        match refused {
            Some(refused) => Err(refused),
            None => Ok(outcome?),
        }
    }

    /// The initial checksum rule: given, it must be the stored one, or there is none and nothing was transacted.
    fn check_checksum(&mut self, given: Option<&str>) -> Result<(), UploadError> {
        let meta = self.meta()?;
        match (given, &meta.checksum) {
            (Some(given), Some(stored)) if given != stored => Err(UploadError::ChecksumConflict),
            (Some(_), None) if meta.t > 0 => Err(UploadError::ChecksumConflict),
            _ => Ok(()),
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

/// Rows that cannot be used are the sender's fault; that they cannot be read is not.
fn unusable(error: datascript::Error) -> UploadError {
    match error {
        datascript::Error::Storage(_) => UploadError::Graph(error.into()),
        _ => UploadError::Invalid,
    }
}
