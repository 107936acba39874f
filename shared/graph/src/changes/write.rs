//! Entities as they are now, straight into the outgoing text (sync.md 7.6).

use std::collections::BTreeSet;

use datascript::{Attr, Db, Eid, Index, Keyword, Pattern, Value, as_eid};
use protocol::changes::ChangesWriter;
use protocol::limits::CHANGES_MESSAGE_BYTES;
use rustc_hash::FxHashMap;
use transit::Writer;

use super::identity::Identity;
use super::{GraphName, Stop};
use crate::rules::{self, Scope};

/// Version of the form of a change set.
const FORMAT_VERSION: i64 = 1;

/// The message is handed over in pieces of about so many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Names of entities that others refer to are remembered, so many at a time: most blocks refer to the same page and tags.
const NAMES: usize = 4096;

/// Where pieces of the message go.
pub(super) type Sink<'s> = dyn FnMut(&str) + 's;

/// The part of a change set that is not about entities.
pub(super) struct Head<'a> {
    pub(super) graph: GraphName<'a>,
    pub(super) schema_version: &'a str,
    pub(super) t_before: i64,
    pub(super) t: i64,
}

/// Writes the message about the entities of those names. The answer is the first attribute of which a value was left out
/// (D-46).
pub(super) fn write(
    db: Option<(&Db, &mut Scope<'_>)>,
    head: &Head<'_>,
    identities: &BTreeSet<Identity>,
    sink: &mut Sink<'_>,
) -> Result<Option<Keyword>, Stop> {
    let mut part = String::new();
    let mut writer = Writer::new(&mut part);
    let mut message = Message::begin(sink);
    writer.begin_map();
    writer.keyword("format-version");
    writer.int(FORMAT_VERSION);
    writer.keyword("graph-id");
    writer.string(head.graph.0);
    writer.keyword("schema-version");
    writer.string(head.schema_version);
    writer.keyword("t-before");
    writer.int(head.t_before);
    writer.keyword("t");
    writer.int(head.t);
    writer.keyword("upserts");
    writer.begin_vector();
    let mut deleted = Vec::new();
    let mut left_out = None;
    if let Some((db, scope)) = db {
        let mut entities = Entities { db, scope, writer, message, names: FxHashMap::default(), left_out: None };
        // At most `CHANGED_ENTITIES`.
        for identity in identities {
            match identity.resolve(db)? {
                Some(eid) => entities.write(identity, eid)?,
                None => deleted.push(identity),
            }
        }
        left_out = entities.left_out.map(|attr| db.attrs().keyword(attr));
        (writer, message) = (entities.writer, entities.message);
    }
    writer.end_vector();
    writer.keyword("deleted");
    writer.begin_vector();
    for identity in deleted {
        identity.write(&mut writer);
        message.take(&mut writer)?;
    }
    writer.end_vector();
    writer.end_map();
    message.take(&mut writer)?;
    message.end()?;
    Ok(left_out)
}

/// The message, as far as it has come.
struct Message<'s, 'f> {
    json: ChangesWriter,
    /// What was not handed over yet.
    text: String,
    /// Bytes that were.
    sent: usize,
    sink: &'s mut Sink<'f>,
}

impl<'s, 'f> Message<'s, 'f> {
    fn begin(sink: &'s mut Sink<'f>) -> Self {
        let mut text = String::new();
        let json = ChangesWriter::begin(&mut text);
        Self { json, text, sent: 0, sink }
    }

    /// Takes what was written.
    fn take(&mut self, writer: &mut Writer<'_>) -> Result<(), Stop> {
        writer.hand_over(|part| self.json.data(&mut self.text, part));
        check(self.sent + self.text.len())?;
        if self.text.len() >= PIECE_BYTES {
            (self.sink)(&self.text);
            self.sent += self.text.len();
            self.text.clear();
        }
        Ok(())
    }

    fn end(self) -> Result<(), Stop> {
        let Self { json, mut text, sent, sink } = self;
        json.end(&mut text);
        check(sent + text.len())?;
        sink(&text);
        Ok(())
    }
}

fn check(bytes: usize) -> Result<(), Stop> {
    if bytes > CHANGES_MESSAGE_BYTES { Err(Stop::TooMuch) } else { Ok(()) }
}

/// Entities on their way into the message.
struct Entities<'a, 'c, 'o, 's, 'f> {
    db: &'a Db,
    scope: &'a mut Scope<'c>,
    writer: Writer<'o>,
    message: Message<'s, 'f>,
    names: FxHashMap<Eid, Option<Identity>>,
    left_out: Option<Attr>,
}

/// The values of one attribute of an entity.
struct Field {
    attr: Attr,
    is_ref: bool,
    is_many: bool,
    /// The set was begun.
    begun: bool,
    /// The last datom's value.
    last: Option<Value>,
    /// The value of an attribute that has one.
    one: Option<Portable>,
}

/// A value as it goes out.
enum Portable {
    Plain(Value),
    Reference(Identity),
}

impl Entities<'_, '_, '_, '_, '_> {
    fn write(&mut self, identity: &Identity, eid: Eid) -> Result<(), Stop> {
        self.writer.begin_map();
        self.writer.keyword("id");
        identity.write(&mut self.writer);
        self.writer.keyword("attrs");
        self.writer.begin_map();
        let mut field: Option<Field> = None;
        // The allowance of work bounds the datoms, the length of the message what is written of them.
        for datom in self.db.datoms(Index::Eavt, &Pattern::e(eid)) {
            let datom = datom?;
            let mut current = match field.take() {
                Some(field) if field.attr == datom.a => field,
                ended => {
                    self.end(ended)?;
                    self.begin(datom.a)?
                }
            };
            self.value(&mut current, datom.v)?;
            field = Some(current);
        }
        self.end(field)?;
        self.writer.end_map();
        self.writer.end_map();
        self.message.take(&mut self.writer)
    }

    /// What the attribute is: the live schema says it, or the attribute's entity.
    fn begin(&mut self, attr: Attr) -> Result<Field, Stop> {
        let flags = self.db.flags(attr);
        let entity = self.scope.after().attribute(self.db, attr)?;
        Ok(Field {
            attr,
            is_ref: flags.is_ref() || entity.is_ref,
            is_many: flags.is_many() || entity.is_many,
            begun: false,
            last: None,
            one: None,
        })
    }

    fn value(&mut self, field: &mut Field, value: Value) -> Result<(), Stop> {
        // Older servers may have stored a fact under two transactions.
        if field.last.as_ref().is_some_and(|last| datascript::value::same(last, &value)) {
            return Ok(());
        }
        field.last = Some(value.clone());
        let Some(portable) = self.portable(field, value)? else {
            self.left_out.get_or_insert(field.attr);
            return Ok(());
        };
        if !field.is_many {
            field.one = Some(portable);
            return Ok(());
        }
        if !field.begun {
            field.begun = true;
            self.key(field.attr);
            self.writer.begin_tag("set");
            self.writer.begin_vector();
        }
        portable.write(&mut self.writer);
        self.message.take(&mut self.writer)
    }

    fn end(&mut self, field: Option<Field>) -> Result<(), Stop> {
        let Some(field) = field else { return Ok(()) };
        if field.begun {
            self.writer.end_vector();
            self.writer.end_tag();
        }
        if let Some(value) = field.one {
            self.key(field.attr);
            value.write(&mut self.writer);
        }
        self.message.take(&mut self.writer)
    }

    fn key(&mut self, attr: Attr) {
        self.writer.keyword(self.db.attrs().keyword(attr).as_str());
    }

    /// None: nothing that others could understand (D-46).
    fn portable(&mut self, field: &Field, value: Value) -> Result<Option<Portable>, Stop> {
        if !field.is_ref {
            return Ok(Some(Portable::Plain(value)));
        }
        let Some(eid) = as_eid(&value) else { return Ok(None) };
        if let Some(name) = self.names.get(&eid) {
            return Ok(name.clone().map(Portable::Reference));
        }
        let name = Identity::name(self.db, eid)?;
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(eid, name.clone());
        Ok(name.map(Portable::Reference))
    }
}

impl Portable {
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Plain(value) => writer.value(value),
            Self::Reference(identity) => identity.write(writer),
        }
    }
}

impl From<rules::Error> for Stop {
    fn from(error: rules::Error) -> Self {
        match error {
            rules::Error::Db(error) => error.into(),
            other => Self::Failed(crate::Error::Corrupt(other.to_string())),
        }
    }
}
