//! Whether a database may become what a transaction would make of it (sync.md 11.6).

mod kind;
mod property;
mod record;

use datascript::{Attr, Datom, Db, Eid};

use super::facts::{Known, Scope, Tag};
use super::{Error, Invalid, Result, attrs, entity};
pub use kind::Kind;
use record::Record;

/// Judges a transaction by the pages it moved and by every entity it touched that still exists. Databases that were
/// never initialised as DB graphs are not judged; nor may the caller judge an entry of `db-migrate`.
///
/// # Errors
///
/// [`Error::PageParent`] and [`Error::Invalid`] are refusals: nothing of the entry may be kept.
///
/// Each entity touched is read once, as a whole: one with very many values costs each entry that touches it as much, which
/// the work that may be done bounds.
pub fn validate(before: &Db, after: &Db, tx_data: &[Datom], scope: &mut Scope<'_>) -> Result<()> {
    if !scope.before().is_db_graph(before)? {
        return Ok(());
    }
    let known = scope.after();
    let mut touched: Vec<Eid> = Vec::new();
    let mut moved: Vec<Eid> = Vec::new();
    for datom in tx_data {
        if touched.last() != Some(&datom.e) {
            touched.push(datom.e);
        }
        if datom.added && datom.a == attrs::BLOCK_PARENT {
            moved.push(datom.e);
        }
    }
    touched.sort_unstable();
    touched.dedup();
    moved.sort_unstable();
    let mut record = Record::default();
    for eid in touched {
        record.read(after, known, eid)?;
        if record.is_empty() {
            continue;
        }
        if moved.binary_search(&eid).is_ok() && record.has_tag(Tag::is_page) && has_block_parent(after, known, eid)? {
            return Err(Error::PageParent);
        }
        check(after, known, eid, &record)?;
    }
    Ok(())
}

/// Rule 1: whether an entity's parent is there, and is no page. The parent that a transaction added last is the current
/// one.
fn has_block_parent(db: &Db, known: &mut Known, eid: Eid) -> Result<bool> {
    match entity::target(db, eid, attrs::BLOCK_PARENT)? {
        Some(parent) => Ok(!entity::is_page(db, known, parent)?),
        None => Ok(false),
    }
}

/// Rule 2 for one entity.
fn check(db: &Db, known: &mut Known, eid: Eid, record: &Record) -> Result<()> {
    let kind = kind::kind_of(db, known, record)?;
    let verdict = match kind {
        Some(kind) => kind::check(db, known, kind, record)?,
        None => Err(None),
    };
    verdict.map_err(|attribute| {
        let attribute = attribute.map(|attribute: Attr| db.attrs().keyword(attribute));
        Error::Invalid(Box::new(Invalid { entity: eid, kind, attribute }))
    })
}
