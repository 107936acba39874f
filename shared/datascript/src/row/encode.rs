//! Nodes to their rows.

use std::fmt::Write;

use arrayvec::ArrayVec;
use transit::{CacheSlot, CacheSnapshot, Writer};

use crate::attrs::{Attr, Attrs};
use crate::datom::Datom;
use crate::nodes::size;
use crate::storage::Addr;

/// Bytes of text at most for each byte of a value in memory: those of a control character.
const MAX_ESCAPE: usize = 6;

/// Attributes of one row that are found without asking for their names: more than the entities of a leaf usually have.
const REMEMBERED: usize = 16;

/// Encodes the nodes of a flush, one after another in the same memory.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    text: String,
    memory: CacheSnapshot,
    slots: ArrayVec<(Attr, CacheSlot), REMEMBERED>,
}

impl Encoder {
    /// The content of a node: `{:keys [[e a v tx] …]}`.
    pub(crate) fn keys<'a>(&mut self, keys: impl Iterator<Item = &'a Datom>, attrs: &Attrs) -> &str {
        self.text.clear();
        self.slots.clear();
        let mut writer = Writer::in_memory_of(&mut self.text, std::mem::take(&mut self.memory));
        writer.begin_map();
        writer.keyword("keys");
        writer.begin_vector();
        for datom in keys {
            writer.begin_vector();
            writer.int(datom.e.into());
            let remembered = self.slots.iter().rev().find(|(attr, _)| *attr == datom.a);
            if !remembered.is_some_and(|(_, slot)| writer.keyword_at(*slot)) {
                let slot = writer.keyword_with_slot(attrs.keyword(datom.a).as_str());
                // One that finds no room is looked up by its name each time.
                let _ = slot.map(|slot| self.slots.try_push((datom.a, slot)));
            }
            write_rest(&mut writer, datom);
        }
        writer.end_vector();
        writer.end_map();
        self.memory = writer.into_memory();
        &self.text
    }
}

/// [`Encoder::keys`] for a single node.
fn encode_keys<'a>(keys: impl Iterator<Item = &'a Datom>, attrs: &Attrs) -> String {
    let mut encoder = Encoder::default();
    encoder.keys(keys, attrs);
    encoder.text
}

/// `[e a v tx]`, the transaction negative for a retraction.
pub(super) fn write_datom(writer: &mut Writer<'_>, datom: &Datom, attrs: &Attrs) {
    writer.begin_vector();
    writer.int(datom.e.into());
    writer.keyword(attrs.keyword(datom.a).as_str());
    write_rest(writer, datom);
}

fn write_rest(writer: &mut Writer<'_>, datom: &Datom) {
    writer.value(&datom.v);
    writer.int(if datom.added { datom.tx.into() } else { -i64::from(datom.tx) });
    writer.end_vector();
}

/// Bytes of the content of a leaf that holds nothing but this datom. What a datom adds to a greater node is less.
pub(crate) fn encoded_size(datom: &Datom, attrs: &Attrs) -> usize {
    encode_keys([datom].into_iter(), attrs).len()
}

/// Whether the content of a leaf that holds nothing but this datom is longer than so many bytes.
pub(crate) fn is_longer_than(datom: &Datom, attrs: &Attrs, bytes: usize) -> bool {
    let bound = MAX_ESCAPE * size::value(&datom.v) + attrs.keyword(datom.a).as_str().len() + 64;
    bound > bytes && encoded_size(datom, attrs) > bytes
}

/// The JSON array of the children's addresses.
pub(crate) fn encode_addresses(addresses: impl Iterator<Item = Addr>) -> String {
    let mut out = String::with_capacity(2 + 32 * 8);
    for addr in addresses {
        out.push(if out.is_empty() { '[' } else { ',' });
        // Writing to a string cannot fail.
        let _ = write!(out, "{addr}");
    }
    out.push(']');
    out
}
