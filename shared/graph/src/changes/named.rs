//! Which entities a range of the log names (sync.md 7.6): rows are read one by one, and only names are kept.

use std::collections::BTreeSet;

use datascript::Value;
use protocol::limits::CHANGED_ENTITIES;
use transit::{ReadError, Reader, Token};

use super::Stop;
use super::identity::{Identity, Unique, weight};
use crate::rules::value_set::OwnedKey;

/// Memory for names, in bytes. The texts of identities alone would fill a message that is sent, and tempids are as long as
/// uuids.
const NAMES_BYTES: usize = protocol::limits::CHANGES_MESSAGE_BYTES;

/// What one name takes beside its value.
const NAME_BYTES: usize = 64;

/// The names of a range, in bounded memory.
#[derive(Default)]
pub(super) struct Named {
    identities: BTreeSet<Identity>,
    /// What else stands where an entity stands, such as tempids, and the identity that it is given somewhere in the range.
    others: keyed::Map<OwnedKey, Option<Identity>>,
    bytes: usize,
}

impl Named {
    /// Reads the transaction of one row. What is no item is passed over.
    pub(super) fn read(&mut self, tx: &str) -> Result<(), Stop> {
        let mut reader = Reader::new(tx);
        let Some(first) = reader.next()? else { return Ok(()) };
        if Sequence::enter(&mut reader, &first)?.is_none() {
            return Ok(());
        }
        // The length of the text bounds all loops over it; the caller bounds that of all rows.
        while let Some(token) = reader.next()? {
            if token == Token::ArrayEnd {
                break;
            }
            if let Some(sequence) = Sequence::enter(&mut reader, &token)? {
                let item = Item::read(&mut reader)?;
                sequence.leave(&mut reader)?;
                self.add(item)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, item: Item) -> Result<(), Stop> {
        if !item.names_its_entity() {
            return Ok(());
        }
        let Some(entity) = item.entity else { return Ok(()) };
        match Identity::of(&entity) {
            Some(identity) => self.name(identity),
            None => self.keep(OwnedKey(entity), item.identity),
        }
    }

    fn name(&mut self, identity: Identity) -> Result<(), Stop> {
        let bytes = NAME_BYTES + identity.weight();
        if self.identities.insert(identity) {
            self.take(bytes)?;
        }
        if self.identities.len() > CHANGED_ENTITIES { Err(Stop::TooMuch) } else { Ok(()) }
    }

    /// Keeps what only the whole range can tell the identity of. The last identity counts.
    fn keep(&mut self, entity: OwnedKey, identity: Option<Identity>) -> Result<(), Stop> {
        let mut bytes = identity.as_ref().map_or(0, Identity::weight);
        if let Some(known) = self.others.get_mut(&entity) {
            if let Some(identity) = identity {
                self.bytes = self.bytes.saturating_sub(known.as_ref().map_or(0, Identity::weight));
                *known = Some(identity);
            }
        } else {
            bytes += NAME_BYTES + weight(&entity.0);
            self.others.insert(entity, identity);
        }
        self.take(bytes)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > NAMES_BYTES { Err(Stop::TooMuch) } else { Ok(()) }
    }

    /// All identities, sorted and each once.
    pub(super) fn into_identities(mut self) -> Result<BTreeSet<Identity>, Stop> {
        for identity in std::mem::take(&mut self.others).into_values().flatten() {
            self.name(identity)?;
        }
        Ok(self.identities)
    }
}

/// A vector, or a list, whose elements come next.
struct Sequence {
    tagged: bool,
}

impl Sequence {
    /// Enters the sequence that begins with the token. None: it is something else, which was skipped.
    fn enter(reader: &mut Reader<'_>, token: &Token<'_>) -> Result<Option<Self>, ReadError> {
        match token {
            Token::ArrayStart => return Ok(Some(Self { tagged: false })),
            Token::TagStart(tag) if tag.as_str() == "list" => match reader.next()? {
                Some(Token::ArrayStart) => return Ok(Some(Self { tagged: true })),
                Some(other) => {
                    skip_rest(reader, &other)?;
                    skip_rest(reader, token)?;
                }
                None => {}
            },
            other => skip_rest(reader, other)?,
        }
        Ok(None)
    }

    /// After the end of the elements.
    fn leave(self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        if self.tagged {
            reader.next()?;
        }
        Ok(())
    }
}

/// Skips what follows of the value that began with the token.
fn skip_rest(reader: &mut Reader<'_>, token: &Token<'_>) -> Result<(), ReadError> {
    if matches!(token, Token::ArrayStart | Token::MapStart | Token::TagStart(_)) {
        while reader.skip_value()? {}
    }
    Ok(())
}

/// What matters of an item.
#[derive(Default)]
struct Item {
    elements: usize,
    op: Op,
    entity: Option<Value>,
    /// The identity that it gives to its entity.
    identity: Option<Identity>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Op {
    Add,
    RetractEntity,
    #[default]
    Other,
}

impl Item {
    /// Reads the elements of an item, and their end.
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut item = Self::default();
        let mut unique = None;
        while let Some(token) = reader.next()? {
            match (item.elements, &token) {
                (_, Token::ArrayEnd) => break,
                (0, Token::Keyword(name)) => item.op = Op::parse(name),
                (1, _) => item.entity = Some(reader.value_from(token)?),
                (2, Token::Keyword(name)) if item.op == Op::Add => unique = Unique::parse(name),
                (3, _) if unique.is_some() => {
                    let value = reader.value_from(token)?;
                    item.identity = unique.map(|unique| Identity::new(unique, value));
                }
                _ => skip_rest(reader, &token)?,
            }
            item.elements += 1;
        }
        Ok(item)
    }

    /// Log rows of older servers have items of four elements and another name for the retraction of an entity (D-47).
    fn names_its_entity(&self) -> bool {
        match self.elements {
            2 => self.op == Op::RetractEntity,
            4 | 5 => true,
            _ => false,
        }
    }
}

impl Op {
    fn parse(name: &str) -> Self {
        match name {
            "db/add" => Self::Add,
            "db/retractEntity" | "db.fn/retractEntity" => Self::RetractEntity,
            _ => Self::Other,
        }
    }
}
