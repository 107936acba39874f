//! Nodes to their rows.

use std::fmt::Write;

use transit::Writer;

use crate::attrs::Attrs;
use crate::datom::Datom;
use crate::nodes::size;
use crate::storage::Addr;

/// Bytes of text at most for each byte of a value in memory: those of a control character.
const MAX_ESCAPE: usize = 6;

/// The content of a node: `{:keys [[e a v tx] …]}`.
pub(crate) fn encode_keys<'a>(keys: impl Iterator<Item = &'a Datom>, attrs: &Attrs) -> String {
    let mut out = String::with_capacity(1024);
    let mut writer = Writer::new(&mut out);
    writer.begin_map();
    writer.keyword("keys");
    writer.begin_vector();
    for datom in keys {
        write_datom(&mut writer, datom, attrs);
    }
    writer.end_vector();
    writer.end_map();
    out
}

/// `[e a v tx]`, the transaction negative for a retraction.
pub(super) fn write_datom(writer: &mut Writer<'_>, datom: &Datom, attrs: &Attrs) {
    writer.begin_vector();
    writer.int(datom.e.into());
    writer.keyword(attrs.keyword(datom.a).as_str());
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
