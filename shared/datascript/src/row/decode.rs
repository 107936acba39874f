//! Nodes from their rows, in one pass over the text.

use std::rc::Rc;

use arrayvec::ArrayVec;
use transit::{Cached, Limits, ReadError, Reader, Token};

use super::corrupt;
use crate::attrs::{Attr, Attrs};
use crate::datom::Datom;
use crate::error::Result;
use crate::storage::{Addr, Row, TAIL_ADDR};
use crate::tree::chunks::WIDTH;
use crate::tree::node::{Inner, Keys, Leaf, Slot};

/// A leaf from its row.
pub(crate) fn decode_leaf(row: &Row, attrs: &Attrs) -> Result<Leaf> {
    Ok(decode_datoms(row, attrs, Limits::STORED)?.into_iter().collect())
}

/// The datoms of a leaf's row, as a plain list and not as a node.
pub(crate) fn decode_datoms(row: &Row, attrs: &Attrs, limits: Limits) -> Result<Keys> {
    if row.addresses.is_some() {
        return Err(corrupt(row.addr, "an inner node among leaves"));
    }
    decode_keys(row, attrs, limits)
}

/// An inner node from its row: as many children as keys, at least one, all distinct.
pub(crate) fn decode_inner(row: &Row, attrs: &Attrs) -> Result<Inner> {
    let Some(addresses) = &row.addresses else {
        return Err(corrupt(row.addr, "a leaf among inner nodes"));
    };
    let addresses = decode_addresses(addresses).ok_or(corrupt(row.addr, "malformed addresses"))?;
    let keys = decode_keys(row, attrs, Limits::STORED)?;
    if addresses.is_empty() || addresses.len() != keys.len() {
        return Err(corrupt(row.addr, "keys and addresses differ in number"));
    }
    Ok(Inner { keys: Rc::new(keys), slots: addresses.into_iter().map(Slot::stored).collect() })
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

/// `{:keys [[e a v tx] …]}`; other keys are ignored.
fn decode_keys(row: &Row, attrs: &Attrs, limits: Limits) -> Result<Keys> {
    let mut reader = DatomReader::new(&row.content, attrs, limits);
    let mut leaf = None;
    let mut read = || -> Result<(), Malformed> {
        reader.expect(|token| matches!(token, Token::MapStart))?;
        loop {
            match reader.next()? {
                Token::MapEnd => return Ok(()),
                Token::Keyword(key) if &*key == "keys" => {
                    let mut keys = Keys::new();
                    reader.expect(|token| matches!(token, Token::ArrayStart))?;
                    while let Some(datom) = reader.datom()? {
                        keys.try_push(datom).map_err(|_| Malformed("more than 32 keys"))?;
                    }
                    leaf = Some(keys);
                }
                Token::ArrayStart | Token::MapStart | Token::TagStart(_) => return Err(Malformed("a strange key")),
                _ => {
                    reader.reader.skip_value()?;
                }
            }
        }
    };
    read().and_then(|()| reader.finish()).map_err(|Malformed(reason)| corrupt(row.addr, reason))?;
    leaf.ok_or(corrupt(row.addr, "no keys"))
}

/// What is wrong with a text.
pub(super) struct Malformed(pub(super) &'static str);

impl From<ReadError> for Malformed {
    fn from(_: ReadError) -> Self {
        Self("not Transit")
    }
}

/// Reads datoms `[e a v tx]`, which are in storage what the datoms of a database are in memory.
pub(super) struct DatomReader<'a> {
    pub(super) reader: Reader<'a>,
    attrs: &'a Attrs,
    /// The attribute that a slot of the read cache stands for: most attributes are met many times in one row.
    by_slot: Vec<Option<Attr>>,
}

impl<'a> DatomReader<'a> {
    pub(super) fn new(text: &'a str, attrs: &'a Attrs, limits: Limits) -> Self {
        Self { reader: Reader::with_limits(text, limits), attrs, by_slot: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, Malformed> {
        self.reader.next()?.ok_or(Malformed("not complete"))
    }

    pub(super) fn expect(&mut self, is_expected: impl Fn(&Token<'a>) -> bool) -> Result<(), Malformed> {
        let token = self.next()?;
        if is_expected(&token) { Ok(()) } else { Err(Malformed("an unexpected shape")) }
    }

    pub(super) fn finish(self) -> Result<(), Malformed> {
        Ok(self.reader.finish()?)
    }

    /// The next datom of an array of them; none at the array's end. A negative transaction marks a retraction.
    pub(super) fn datom(&mut self) -> Result<Option<Datom>, Malformed> {
        match self.next()? {
            Token::ArrayStart => {}
            Token::ArrayEnd => return Ok(None),
            _ => return Err(Malformed("a malformed datom")),
        }
        let (Token::Int(e), Token::Keyword(a)) = (self.next()?, self.next()?) else {
            return Err(Malformed("a malformed datom"));
        };
        let a = self.attr(&a);
        let v = self.reader.read_value()?;
        let (Token::Int(tx), Token::ArrayEnd) = (self.next()?, self.next()?) else {
            return Err(Malformed("a malformed datom"));
        };
        let e = u32::try_from(e).map_err(|_| Malformed("an entity id out of range"))?;
        let added = tx >= 0;
        let tx = u32::try_from(tx.unsigned_abs()).map_err(|_| Malformed("a transaction out of range"))?;
        Ok(Some(Datom { e, a, tx, added, v }))
    }

    fn attr(&mut self, text: &Cached<'a>) -> Attr {
        let slot = text.slot.map(usize::from);
        if !text.fresh
            && let Some(slot) = slot
            && let Some(Some(attr)) = self.by_slot.get(slot)
        {
            return *attr;
        }
        let attr = self.attrs.intern_stored(text);
        if let Some(slot) = slot {
            if self.by_slot.len() <= slot {
                self.by_slot.resize(slot + 1, None);
            }
            if let Some(known) = self.by_slot.get_mut(slot) {
                *known = Some(attr);
            }
        }
        attr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(content: &str, addresses: Option<&str>) -> Row {
        Row { addr: 1_000_001, content: content.to_owned(), addresses: addresses.map(str::to_owned) }
    }

    #[test]
    fn malformed_nodes_are_corrupt() {
        let attrs = Attrs::new(&[]);
        let many = format!("[\"^ \",\"~:keys\",[{}]]", vec!["[1,\"~:a\",1,1]"; 33].join(","));
        for content in [
            "",
            "[]",
            "{}",
            "[\"^ \"]",
            "[\"^ \",\"~:keys\"]",
            "[\"^ \",\"~:keys\",1]",
            "[\"^ \",\"~:keys\",[1]]",
            "[\"^ \",\"~:keys\",[[]]]",
            "[\"^ \",\"~:keys\",[[1,\"~:a\",1]]]",
            "[\"^ \",\"~:keys\",[[1,\"~:a\",1,1,1]]]",
            "[\"^ \",\"~:keys\",[[1,\"a\",1,1]]]",
            "[\"^ \",\"~:keys\",[[-1,\"~:a\",1,1]]]",
            "[\"^ \",\"~:keys\",[[1.5,\"~:a\",1,1]]]",
            "[\"^ \",\"~:keys\",[[1,\"~:a\",1,1e12]]]",
            "[\"^ \",\"~:keys\",[[1,\"~:a\",1,1]]",
            "[\"^ \",\"~:keys\",[[1,\"~:a\",1,1]]] 1",
            "[\"^ \",[\"~:keys\"],[]]",
            many.as_str(),
        ] {
            assert!(decode_leaf(&row(content, None), &attrs).is_err(), "{content}");
        }
        assert_eq!(decode_leaf(&row("[\"^ \",\"~:x\",[2],\"~:keys\",[]]", None), &attrs).unwrap().len(), 0);
    }

    #[test]
    fn malformed_addresses_are_corrupt() {
        let attrs = Attrs::new(&[]);
        let content = "[\"^ \",\"~:keys\",[[1,\"~:a\",1,1],[2,\"~:a\",1,1]]]";
        for addresses in ["", "[]", "[1]", "[5]", "[5,5]", "[5,6,7]", "[5,-6]", "[5,6", "[5,6.0]", "[0,5]", "[5,\"6\"]"]
        {
            assert!(decode_inner(&row(content, Some(addresses)), &attrs).is_err(), "{addresses}");
        }
        assert!(decode_inner(&row(content, None), &attrs).is_err());
        assert!(decode_leaf(&row(content, Some("[5,6]")), &attrs).is_err());
        assert_eq!(decode_inner(&row(content, Some(" [5, 6] ")), &attrs).unwrap().slots.len(), 2);
    }

    #[test]
    fn no_mutation_of_a_row_panics() {
        let attrs = Attrs::new(&[]);
        let content = "[\"^ \",\"~:keys\",[[1,\"~:block/title\",\"~~a\\n\",536870913],[2,\"^1\",[\"~#set\",[1,null]],7],\
                       [3,\"~:k\",[\"^ \",\"~i1\",1.5],-1],[4,\"^1\",\"~u66b8d8f0-0000-4000-8000-000000000001\",1]]]";
        assert_eq!(decode_leaf(&row(content, None), &attrs).unwrap().len(), 4);
        let mut rng = crate::testing::Rng(5);
        for _ in 0..20_000 {
            let mut bytes = content.as_bytes().to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                match rng.below(3) {
                    0 => bytes[at] = b"[]\",^~:#-0159 {}nt\\"[rng.below(19)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, bytes[rng.below(bytes.len())]),
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = decode_leaf(&row(&text, None), &attrs);
            let _ = decode_inner(&row(content, Some(&text)), &attrs);
        }
    }
}
