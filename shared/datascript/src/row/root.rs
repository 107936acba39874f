//! The root row: schema, counters, and where the three trees begin.

use std::rc::Rc;

use transit::{CacheSnapshot, Limits, Writer};

use super::corrupt;
use crate::attrs::Attrs;
use crate::datom::{E_MAX, Eid, TX_MAX, TX0, TxId};
use crate::error::Result;
use crate::schema::Schema;
use crate::storage::{Addr, Row, TAIL_ADDR};
use crate::tree::Tree;
use crate::tree::chunks::WIDTH;

/// The content of the root row.
pub(crate) struct Root {
    pub(crate) schema: Schema,
    pub(crate) max_eid: Eid,
    pub(crate) max_tx: TxId,
    pub(crate) max_addr: Addr,
    pub(crate) eavt: Tree,
    pub(crate) aevt: Tree,
    pub(crate) avet: Tree,
}

impl Root {
    /// Reads the root row; the trees' nodes stay in storage.
    pub(crate) fn decode(row: &Row, attrs: &Rc<Attrs>, limits: Limits) -> Result<Self> {
        let root = transit::read_with(&row.content, limits).map_err(|_| corrupt(row.addr, "not Transit"))?;
        let number = |key: &str, default: u32, max: u32| match root.get(key) {
            None => Ok(default),
            Some(value) => {
                let number = value.as_int().and_then(|number| u32::try_from(number).ok());
                number.filter(|number| *number <= max).ok_or(corrupt(row.addr, "a number out of range"))
            }
        };
        let tree = |key: &str, metadata: &str| {
            let addr = number(key, 0, Addr::MAX)?;
            let metadata = root.get(metadata);
            let field = |key: &str| metadata?.get(key)?.as_int().and_then(|number| usize::try_from(number).ok());
            match (field("shift"), field("count")) {
                (Some(shift), Some(count)) if addr > TAIL_ADDR => Tree::stored(addr, shift, count),
                _ => Err(corrupt(row.addr, "an index without root or metadata")),
            }
        };
        let schema = root.get("schema").filter(|schema| schema.as_map().is_some());
        Ok(Self {
            schema: Schema::from_value(Rc::clone(attrs), schema.ok_or(corrupt(row.addr, "no schema"))?),
            max_eid: number("max-eid", 0, E_MAX)?,
            max_tx: number("max-tx", TX0, TX_MAX)?,
            max_addr: number("max-addr", 0, Addr::MAX)?,
            eavt: tree("eavt", "eavt-metadata")?,
            aevt: tree("aevt", "aevt-metadata")?,
            avet: tree("avet", "avet-metadata")?,
        })
    }
}

/// Writes root rows. The schema, by far the greatest part and seldom changed, is written once and kept as text.
#[derive(Default)]
pub(crate) struct RootWriter {
    prefix: Option<Prefix>,
}

/// The beginning of a root row, schema included.
struct Prefix {
    schema: Schema,
    text: String,
    cache: CacheSnapshot,
}

impl Prefix {
    fn new(schema: &Schema) -> Self {
        let mut text = String::new();
        let mut writer = Writer::new(&mut text);
        writer.begin_map();
        writer.keyword("schema");
        writer.value(&schema.to_value());
        let cache = writer.snapshot();
        Self { schema: schema.clone(), text, cache }
    }
}

impl RootWriter {
    /// The content of the root row.
    pub(crate) fn encode(&mut self, root: &RootFields<'_>) -> String {
        if self.prefix.as_ref().is_some_and(|prefix| !prefix.schema.ptr_eq(root.schema)) {
            self.prefix = None;
        }
        let prefix = self.prefix.get_or_insert_with(|| Prefix::new(root.schema));
        let mut text = String::with_capacity(prefix.text.len() + 512);
        text.push_str(&prefix.text);
        let mut writer = Writer::resume(&mut text, &prefix.cache);
        let mut entry = |key: &str, value: i64| {
            writer.keyword(key);
            writer.int(value);
        };
        entry("max-eid", root.max_eid.into());
        entry("max-tx", root.max_tx.into());
        for (key, _, tree) in root.trees {
            entry(key, tree.addr().into());
        }
        entry("max-addr", root.max_addr.into());
        entry("branching-factor", integer(WIDTH));
        writer.keyword("ref-type");
        writer.keyword("strong");
        for (_, metadata, tree) in root.trees {
            writer.keyword(metadata);
            writer.begin_map();
            writer.keyword("count");
            writer.int(integer(tree.count()));
            writer.keyword("shift");
            writer.int(integer(tree.shift()));
            writer.end_map();
        }
        writer.end_map();
        text
    }
}

/// What a root row says.
pub(crate) struct RootFields<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) max_eid: Eid,
    pub(crate) max_tx: TxId,
    pub(crate) max_addr: Addr,
    /// Each with the keys of its address and of its metadata.
    pub(crate) trees: [(&'static str, &'static str, &'a Tree); 3],
}

/// Counts are far below 2^63.
fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
