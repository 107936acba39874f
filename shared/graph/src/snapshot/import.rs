//! The steps of an upload that touch the graph (sync.md 10.4).

use std::rc::Rc;

use datascript::verify::{Damage, Verify};
use datascript::{Attrs, Row};
use protocol::query::UploadQuery;
use transit::Limits;

use super::upload::{Ending, Need, Plan, Upload, UploadError, Uploaded, Wipe};
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::repair::{Notice, PIECE_LEAVES, rebuild_indexes};
use crate::rules;
use crate::sql::Sql;
use crate::store::kvs::{self, Target};
use crate::store::meta;

impl<S: Sql + 'static> Graph<S> {
    /// Starts an upload request; changes nothing yet.
    ///
    /// `gzip` is the request's content encoding, `has_body` whether the body has any byte.
    ///
    /// # Errors
    /// [`UploadError::MissingBody`] for an empty body with reset (D-37), [`UploadError::ChecksumConflict`] when the
    /// graph is kept and its checksum is another (D-36), [`UploadError::Invalid`] for the end of an upload whose rows
    /// never came.
    pub fn begin_upload(&mut self, query: &UploadQuery<'_>, gzip: bool, has_body: bool) -> Result<Upload, UploadError> {
        if query.reset && !has_body {
            return Err(UploadError::MissingBody);
        }
        let meta = self.meta()?;
        let (closed, reset_owed, t) = (meta.uploading || query.reset, meta.reset_owed, meta.t);
        if reset_owed && !has_body && query.finished {
            return Err(UploadError::Invalid);
        }
        if !query.reset && !reset_owed && query.finished {
            self.check_checksum(query.checksum)?;
        }
        let target = if closed { Target::Live } else { Target::Staged };
        if target == Target::Staged {
            // Only one request at a time waits to change an open graph.
            self.upload_epoch += 1;
            kvs::drop_staged(&*self.sql)?;
        }
        let wipes = query.reset || (reset_owed && has_body);
        let plan = Plan {
            wipe: if wipes { Wipe::Owed } else { Wipe::Never },
            resets: query.reset,
            finished: query.finished,
            checksum: query.checksum.map(str::to_owned),
            target,
            epoch: self.upload_epoch,
            t,
        };
        Ok(Upload::new(plan, gzip))
    }

    /// Closes the graph for an upload that replaces it, after the index's flag was set (D-29). Other uploads that are
    /// under way fail from now on.
    pub fn close_for_upload(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        self.require_undeleted()?;
        meta::owe_reset(&*self.sql)?;
        self.forget();
        self.upload_epoch += 1;
        upload.set_epoch(self.upload_epoch);
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

    /// Gives up a request whose body broke off, and the space of its rows.
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
            let brings_rows = plan.finished && (plan.target == Target::Live || uploaded.count > 0);
            Ok((uploaded, if brings_rows { self.begin_verify(plan)? } else { None }))
        });
        let (uploaded, verify) = self.discard_on_error(&upload, outcome)?;
        Ok(Ending { upload, uploaded, verify })
    }

    /// Looks at the next rows of what was uploaded, for some milliseconds. False: there are no more.
    ///
    /// # Errors
    /// [`UploadError::Invalid`] for rows that are no graph that could be worked with.
    pub fn verify_piece(&mut self, ending: &mut Ending) -> Result<bool, UploadError> {
        let Some(verify) = &mut ending.verify else { return Ok(false) };
        let outcome =
            self.check_still_ours(ending.upload.plan()).and_then(|()| verify.step(PIECE_LEAVES).map_err(unusable));
        self.discard_on_error(&ending.upload, outcome)
    }

    /// Ends an upload: where the request was the last one, the graph opens.
    pub fn finish_upload(&mut self, ending: Ending) -> Result<Uploaded, UploadError> {
        let Ending { upload, uploaded, verify } = ending;
        let damage = verify.map(|verify| verify.damage()).unwrap_or_default();
        let outcome = self.finish(upload.plan(), damage).map(|()| uploaded);
        self.discard_on_error(&upload, outcome)
    }

    /// Begins to look at the rows; none where there are none at all.
    fn begin_verify(&self, plan: &Plan) -> Result<Option<Verify>, UploadError> {
        let rows = kvs::Uploaded { sql: Rc::clone(&self.sql), target: plan.target };
        let Some(greatest) = rows.greatest_addr()? else { return Ok(None) };
        let schema = rules::static_schema(Attrs::new(rules::attrs::PRESET));
        let greatest = u64::try_from(greatest).unwrap_or(u64::MAX);
        Verify::new(Rc::new(rows), schema, greatest, Limits::CLIENT).map(Some).map_err(unusable)
    }

    fn take_in(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let need = upload.advance()?;
        if need == Need::Storing {
            self.store(upload)?;
        }
        Ok(need != Need::Bytes)
    }

    fn take_rest(&mut self, upload: &mut Upload) -> Result<Uploaded, UploadError> {
        upload.end()?;
        // What the unpacker held back: some kilobytes.
        while self.take_in(upload)? {}
        let uploaded = upload.counted()?;
        if upload.has_rest() {
            self.store(upload)?;
        }
        Ok(uploaded)
    }

    fn store(&mut self, upload: &mut Upload) -> Result<(), UploadError> {
        self.store_rows(upload.plan(), upload.rows())?;
        upload.stored();
        Ok(())
    }

    fn discard_on_error<T>(&mut self, upload: &Upload, outcome: Result<T, UploadError>) -> Result<T, UploadError> {
        if outcome.is_err() {
            self.discard(upload);
        }
        outcome
    }

    /// Gives back the space of a request that failed, unless another one has taken the graph over.
    fn discard(&mut self, upload: &Upload) {
        self.forget();
        let plan = upload.plan();
        let is_latest = plan.epoch == self.upload_epoch;
        let has_wiped = plan.wipe == Wipe::Done && self.check_still_ours(plan).is_ok();
        let sql = &*self.sql;
        let outcome = match plan.target {
            Target::Staged if is_latest => kvs::drop_staged(sql),
            Target::Live if has_wiped => sql.transaction(&mut || {
                kvs::wipe(sql)?;
                meta::advance(sql, 0, None)?;
                // Closed as before, and without rows to go on from.
                meta::owe_reset(sql)
            }),
            _ => Ok(()),
        };
        self.meta = None;
        // The first error is the one to report; what stays is dropped by the next upload or at the next start.
        drop(outcome);
    }

    fn store_rows(&mut self, plan: &Plan, rows: &[Row]) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        let sql = &*self.sql;
        if plan.wipe == Wipe::Owed {
            sql.transaction(&mut || {
                kvs::wipe(sql)?;
                meta::advance(sql, 0, None)?;
                // The wipe took the flag with it (D-09).
                meta::set_uploading(sql, true)?;
                kvs::put(sql, rows)
            })?;
            self.forget();
            self.replaced();
            faults::reach(Point::UploadAfterWipe)?;
        } else {
            sql.transaction(&mut || kvs::put_into(sql, plan.target, rows))?;
            faults::reach(Point::UploadBetweenRows)?;
        }
        Ok(())
    }

    /// No other upload took the graph over. One that was closed must still be closed, and an open one as it was: rows
    /// of an older state do not go over those of a transaction.
    fn check_still_ours(&mut self, plan: &Plan) -> Result<(), UploadError> {
        let meta = self.meta()?;
        let as_it_was = match plan.target {
            Target::Live => meta.uploading,
            Target::Staged => !meta.uploading && meta.t == plan.t,
        };
        if as_it_was && plan.epoch == self.upload_epoch { Ok(()) } else { Err(UploadError::Superseded) }
    }

    fn finish(&mut self, plan: &Plan, damage: Damage) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        faults::reach(Point::UploadBeforeOpening)?;
        if plan.finished {
            self.check_checksum(plan.checksum.as_deref())?;
        }
        let t = self.meta()?.t;
        let sql = &self.sql;
        let mut repaired = None;
        sql.transaction(&mut || {
            // Exports end here: what they showed is no more.
            kvs::drop_saved(&**sql)?;
            if plan.target == Target::Staged {
                kvs::merge_staged(&**sql)?;
            }
            if plan.finished {
                if damage.any() {
                    repaired = Some(rebuild_indexes(sql, damage)?);
                }
                meta::set_uploading(&**sql, false)?;
                meta::set_verified(&**sql)?;
                meta::advance(&**sql, t, plan.checksum.as_deref())?;
            }
            Ok(())
        })?;
        self.notice = repaired.map(Notice::Repaired).or(self.notice.take());
        self.forget();
        self.replaced();
        Ok(())
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

/// Rows that cannot be used are the sender's fault; that they cannot be read is not.
fn unusable(error: datascript::Error) -> UploadError {
    match error {
        datascript::Error::Storage(_) => UploadError::Graph(error.into()),
        _ => UploadError::Invalid,
    }
}
