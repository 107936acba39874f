//! Facts into and out of the indexes, the schema and the report.

use super::run::{Run, Step};
use crate::datom::{Datom, TxId};
use crate::db::{Db, as_eid};
use crate::error::{ErrorKind, Result, TransactError};
use crate::index::Index;
use crate::work::CHANGE;

impl<'a> Run<'a> {
    /// Inserts a fact that is not there yet.
    pub(super) fn insert(&mut self, datom: Datom) -> Step<'a> {
        self.db.insert(&datom)?;
        self.db.nodes.referrers().borrow_mut().note(datom.a, || as_eid(&datom.v));
        if self.db.flags(datom.a).is_live() {
            self.charge_schema(&datom)?;
            self.db.schema.assert(datom.e, datom.a, &datom.v);
        }
        self.tx_data.push(datom);
        Ok(())
    }

    /// Removes a fact that was found in EAVT; the retraction carries `tx`.
    pub(super) fn erase(&mut self, found: &Datom, tx: TxId) -> Step<'a> {
        self.db.remove(found)?;
        if self.db.flags(found.a).is_live() {
            self.charge_schema(found)?;
            self.db.schema.retract(found.e, found.a, &found.v).map_err(|_| {
                let keyword = self.db.attrs().keyword(found.a);
                let message = format!("Schema of entity {} to retract {keyword} from does not exist", found.e);
                TransactError::new(ErrorKind::RetractSchema, message).attribute(keyword)
            })?;
        }
        self.tx_data.push(found.retracted(tx));
        Ok(())
    }

    /// Counts the steps of a change of the schema, which may copy all of it.
    fn charge_schema(&self, fact: &Datom) -> Step<'a> {
        Ok(self.db.nodes.work().step(self.db.schema.cost(fact.e, fact.a, &fact.v))?)
    }
}

impl Db {
    /// Puts a fact into the indexes; it goes into AVET if its attribute is indexed now (datascript.md 8.3).
    pub(crate) fn insert(&mut self, datom: &Datom) -> Result<()> {
        self.nodes.work().step(CHANGE)?;
        self.eavt.insert(&self.nodes, Index::Eavt, datom.clone())?;
        self.aevt.push(&self.nodes, datom.clone())?;
        if self.schema.flags(datom.a).is_indexed() {
            self.avet.push(&self.nodes, datom.clone())?;
        }
        self.advance_max_eid(datom.e);
        Ok(())
    }

    /// Takes a fact out of the indexes. It may be in AVET although its attribute is not indexed now: what was added while it
    /// was would stay behind as a ghost, to be found once the attribute is indexed again.
    pub(crate) fn remove(&mut self, found: &Datom) -> Result<()> {
        self.nodes.work().step(CHANGE)?;
        self.eavt.remove(&self.nodes, Index::Eavt, found)?;
        self.aevt.push(&self.nodes, found.retracted(found.tx))?;
        self.avet.push(&self.nodes, found.retracted(found.tx))
    }

    /// Ends a transaction: the indexes that lag behind may catch up.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.aevt.close(&self.nodes)?;
        self.avet.close(&self.nodes)
    }
}
