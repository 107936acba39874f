//! Whether a database may become what a transaction would make of it (sync.md 11.6).

mod kind;
mod property;
mod record;

use datascript::{Attr, Datom, Db, Eid};

use super::facts::{Known, Scope};
use super::{Error, Invalid, Result, attrs, entity};
pub use kind::Kind;
use record::Record;

/// Judges a transaction by the pages it moved and by every entity it touched that still exists. Databases that were
/// never initialised as DB graphs are not judged; nor may the caller judge an entry of `db-migrate`.
///
/// # Errors
///
/// [`Error::PageParent`] and [`Error::Invalid`] are refusals: nothing of the entry may be kept.
pub fn validate(before: &Db, after: &Db, tx_data: &[Datom], scope: &mut Scope<'_>) -> Result<()> {
    if !scope.before().is_db_graph(before)? {
        return Ok(());
    }
    let known = scope.after();
    check_page_parents(after, known, tx_data)?;
    let mut record = Record::default();
    let mut last = None;
    let mut touched: Vec<Eid> = Vec::new();
    for datom in tx_data {
        if last != Some(datom.e) {
            last = Some(datom.e);
            touched.push(datom.e);
        }
    }
    touched.sort_unstable();
    touched.dedup();
    for eid in touched {
        record.read(after, known, eid)?;
        if !record.is_empty() {
            check(after, known, eid, &record)?;
        }
    }
    Ok(())
}

/// Rule 1: a page's parent is a page.
fn check_page_parents(db: &Db, known: &mut Known, tx_data: &[Datom]) -> Result<()> {
    for datom in tx_data.iter().filter(|datom| datom.added && datom.a == attrs::BLOCK_PARENT) {
        if entity::is_page(db, known, datom.e)?
            && let Some(parent) = entity::target(db, datom.e, attrs::BLOCK_PARENT)?
            && entity::as_eid(&datom.v) == Some(parent)
            && !entity::is_page(db, known, parent)?
        {
            return Err(Error::PageParent);
        }
    }
    Ok(())
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
