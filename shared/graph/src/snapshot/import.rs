//! The steps of an upload that touch the graph (sync.md 10.4).

use datascript::Row;
use protocol::query::UploadQuery;
use transit::Value;

use super::upload::{Plan, Upload, UploadError, Uploaded};
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::sql::{Sql, SqlError};
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
        let plan = Plan {
            reset_pending: query.reset || (reset_owed && has_body),
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
        self.ensure_tables()?;
        meta::owe_reset(&*self.sql)?;
        self.forget();
        self.upload_epoch += 1;
        upload.set_epoch(self.upload_epoch);
        Ok(())
    }

    /// Takes the next bytes of the body.
    pub fn feed_upload(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), UploadError> {
        let outcome = upload.feed(bytes, &mut |plan, rows| self.store_rows(plan, rows));
        self.discard_on_error(upload, outcome)
    }

    /// Takes the end of the body: what is buffered is stored and, where the request was the last one, the graph opened.
    pub fn end_upload(&mut self, mut upload: Upload) -> Result<Uploaded, UploadError> {
        let outcome = upload.end(&mut |plan, rows| self.store_rows(plan, rows)).and_then(|uploaded| {
            self.finish_upload(upload.plan())?;
            Ok(uploaded)
        });
        self.discard_on_error(&upload, outcome)
    }

    fn discard_on_error<T>(&mut self, upload: &Upload, outcome: Result<T, UploadError>) -> Result<T, UploadError> {
        if outcome.is_err() {
            self.forget();
            if upload.plan().target == Target::Staged && upload.plan().epoch == self.upload_epoch {
                // The first error is the one to report; what stays is dropped by the next upload or at the next start.
                let _ = kvs::drop_staged(&*self.sql);
            }
        }
        outcome
    }

    fn store_rows(&mut self, plan: &Plan, rows: &[Row]) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        let sql = &*self.sql;
        if plan.reset_pending {
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

    fn finish_upload(&mut self, plan: &Plan) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        faults::reach(Point::UploadBeforeOpening)?;
        if plan.finished {
            self.check_checksum(plan.checksum.as_deref())?;
        }
        let t = self.meta()?.t;
        let sql = &*self.sql;
        let mut refused = None;
        let outcome = sql.transaction(&mut || {
            if plan.target == Target::Staged {
                kvs::merge_staged(sql)?;
            }
            if plan.finished {
                if !is_empty_or_rooted(sql)? {
                    refused = Some(UploadError::Invalid);
                    return Err(SqlError::Other("rolled back".into()));
                }
                meta::set_uploading(sql, false)?;
                meta::advance(sql, t, plan.checksum.as_deref())?;
            }
            Ok(())
        });
        if let Some(refused) = refused {
            return Err(refused);
        }
        outcome?;
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

/// Whether there are no rows, or a root row whose three roots are rows.
fn is_empty_or_rooted(sql: &impl Sql) -> Result<bool, SqlError> {
    let Some(root) = kvs::get(sql, 0)? else {
        return Ok(kvs::greatest_addr(sql)?.is_none());
    };
    let Ok(root) = transit::read_str(&root.content) else { return Ok(false) };
    for tree in ["eavt", "aevt", "avet"] {
        match root.get(tree).and_then(Value::as_int) {
            Some(addr) if addr > 1 && kvs::exists(sql, addr)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
