//! Nodes from their rows.

use std::rc::Rc;

use arrayvec::ArrayVec;
use transit::Value;

use crate::attrs::Attrs;
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::storage::{Addr, Row, TAIL_ADDR};
use crate::tree::node::{Inner, Leaf, Slot, WIDTH};

/// A leaf from its row.
pub(crate) fn decode_leaf(row: &Row, attrs: &Attrs) -> Result<Leaf> {
    if row.addresses.is_some() {
        return Err(corrupt(row.addr, "an inner node among leaves"));
    }
    decode_keys(row, attrs)
}

/// An inner node from its row: as many children as keys, at least one, all distinct.
pub(crate) fn decode_inner(row: &Row, attrs: &Attrs) -> Result<Inner> {
    let Some(addresses) = &row.addresses else {
        return Err(corrupt(row.addr, "a leaf among inner nodes"));
    };
    let addresses = decode_addresses(addresses).ok_or(corrupt(row.addr, "malformed addresses"))?;
    let keys = decode_keys(row, attrs)?;
    if addresses.is_empty() || addresses.len() != keys.len() {
        return Err(corrupt(row.addr, "keys and addresses differ in number"));
    }
    Ok(Inner { keys: Rc::new(keys), slots: addresses.into_iter().map(Slot::stored).collect() })
}

fn corrupt(addr: Addr, reason: &'static str) -> Error {
    Error::Corrupt { addr, reason }
}

/// A JSON array of at most 32 distinct node addresses.
fn decode_addresses(text: &str) -> Option<ArrayVec<Addr, WIDTH>> {
    let mut addresses = ArrayVec::<Addr, WIDTH>::new();
    for part in text.trim().strip_prefix('[')?.strip_suffix(']')?.split(',') {
        let addr = part.trim().parse().ok().filter(|addr| *addr > TAIL_ADDR && !addresses.contains(addr))?;
        addresses.try_push(addr).ok()?;
    }
    Some(addresses)
}

fn decode_keys(row: &Row, attrs: &Attrs) -> Result<Leaf> {
    let value = transit::read_str(&row.content).map_err(|_| corrupt(row.addr, "not Transit"))?;
    let keys = value.get("keys").and_then(Value::as_seq).ok_or(corrupt(row.addr, "no keys"))?;
    let mut leaf = Leaf::new();
    for key in keys {
        let datom = decode_datom(key, attrs).ok_or(corrupt(row.addr, "a malformed datom"))?;
        leaf.try_push(datom).map_err(|_| corrupt(row.addr, "more than 32 keys"))?;
    }
    Ok(leaf)
}

fn decode_datom(value: &Value, attrs: &Attrs) -> Option<Datom> {
    let [e, a, v, tx] = value.as_seq()? else { return None };
    let id = |value: &Value| value.as_int().and_then(|id| u32::try_from(id).ok());
    Some(Datom::new(id(e)?, attrs.intern(a.as_keyword()?), v.clone(), id(tx)?))
}
