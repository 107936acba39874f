//! How the rows of an upload take effect (sync.md 10.4).

use std::cell::Cell;
use std::rc::Rc;

use datascript::{Attrs, Conn, Nodes};

use super::{Aim, Plan, UploadError};
use crate::error::Error;
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::repair::{self, Notice, Repair};
use crate::rules;
use crate::store::upload_mark::{NO_ADDR, UploadMark};
use crate::store::{discard, kvs, meta};
use database::local::{Sql, SqlError};

impl<S: Sql + 'static> Graph<S> {
    /// The stored rows of a request take effect: the graph opens, or the upload is one part further.
    pub(super) fn take_effect(
        &mut self,
        plan: &Plan,
        has_rows: bool,
        repair: Option<Repair>,
    ) -> Result<(), UploadError> {
        self.check_still_ours(plan)?;
        faults::reach(Point::UploadBeforeOpening)?;
        match plan.aim {
            Aim::Replace if plan.finished => self.replace_rows(plan, repair),
            Aim::Replace => self.end_part(plan),
            Aim::Merge => self.merge_rows(plan, has_rows, repair),
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
        let mut proof = plan.checksum.as_deref().filter(|_| mark.parts > 1);
        let (writes, repaired) = repair.map(Repair::finish).unzip();
        if writes.is_none()
            && let Some(given) = proof.take()
        {
            // Before the transaction, whose cost is to be the same for all graphs.
            self.prove_uploaded(plan, given)?;
        }
        let sql = Rc::clone(&self.sql);
        let fault = Cell::new(None);
        let outcome = self.transaction_proving(proof, &mut || {
            discard::take_over(&*sql)?;
            if let Some(writes) = &writes {
                repair::replace(&*sql, writes)?;
            }
            if let Err(reached) = faults::reach(Point::UploadInsideOpening) {
                fault.set(Some(reached));
                return Err(SqlError::Other("fault".into()));
            }
            meta::set_uploading(&*sql, false)?;
            meta::set_upload(&*sql, &mark)?;
            meta::set_verified(&*sql)?;
            meta::advance(&*sql, 0, plan.checksum.as_deref())
        });
        if let Some(reached) = fault.take() {
            return Err(reached.into());
        }
        outcome?;
        self.notice = repaired.map(Notice::Repaired).or(self.notice.take());
        self.forget();
        self.replaced();
        self.discarded = None;
        // Other devices download what was uploaded, and wait for the number of rows. Without it they count.
        self.counted = kvs::count(&*self.sql).ok();
        Ok(faults::reach(Point::UploadAfterOpening)?)
    }

    /// The rows of an upload that takes the place of the graph must have this checksum.
    fn prove_uploaded(&self, plan: &Plan, given: &str) -> Result<(), UploadError> {
        let attrs = Attrs::new(rules::attrs::PRESET);
        let nodes = Nodes::new(Some(Rc::new(self.uploaded_rows(plan))), Rc::clone(&attrs), self.options.cache_bytes);
        let conn = Conn::open(Rc::new(nodes), rules::static_schema(attrs), 0).map_err(Error::from)?;
        let checksum = rules::checksum::full(conn.db()).map_err(Error::from)?.to_string();
        if checksum == given { Ok(()) } else { Err(UploadError::ChecksumConflict) }
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
    pub(super) fn check_checksum(&mut self, given: Option<&str>) -> Result<(), UploadError> {
        let meta = self.meta()?;
        match (given, &meta.checksum) {
            (Some(given), Some(stored)) if given != stored => Err(UploadError::ChecksumConflict),
            (Some(_), None) if meta.t > 0 => Err(UploadError::ChecksumConflict),
            _ => Ok(()),
        }
    }
}
