//! Assets that a graph names: blocks with a type and, next to the graph, a file named by their uuid (sync.md 6.5).

use datascript::{Db, Index, Pattern, Value};

use super::Result;
use super::attrs;

/// The attribute that makes a block an asset: the end of its file's name.
const TYPE: &str = "logseq.property.asset/type";

/// The attribute of an asset that lies elsewhere.
const EXTERNAL: &str = "logseq.property.asset/external-url";

/// Shows the file name of each asset, `<uuid>.<type>`, in order of their entities. Assets that lie elsewhere have none.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn named_assets(db: &Db, mut show: impl FnMut(String)) -> Result<()> {
    let Some(attr) = db.attr(TYPE) else { return Ok(()) };
    let external = db.attr(EXTERNAL);
    for datom in db.datoms(Index::Aevt, &Pattern::a(attr)).scanning() {
        let datom = datom?;
        let Value::String(kind) = &datom.v else { continue };
        if let Some(external) = external
            && db.value(datom.e, external)?.is_some()
        {
            continue;
        }
        if let Some(Value::Uuid(uuid)) = db.value(datom.e, attrs::BLOCK_UUID)? {
            let uuid = uuid.hyphenated();
            show(format!("{uuid}.{kind}"));
        }
    }
    Ok(())
}
