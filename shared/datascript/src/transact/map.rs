//! Map items (datascript.md 9.5).

use transit::{Keyword, Value};

use super::place::{NIL, Place, Tempid};
use super::prepare::{MapItem, Nested, Slot, members};
use super::run::{Link, Operand, Run, Step, Stop, Work, bad_attribute, nil_value, refuse};
use crate::attrs::Attr;
use crate::datom::Eid;
use crate::db::eid_value;
use crate::describe::describe;
use crate::error::{ErrorKind, TransactError};

/// What is left of an entry once its identities were resolved.
enum Rest<'a> {
    /// All of it.
    All,
    /// These elements.
    Some(Vec<&'a Value>),
}

/// The entity that the identities of a map point at.
#[derive(Default)]
struct Upsert {
    found: Option<(Eid, Attr)>,
}

impl<'a> Run<'a> {
    /// Processes a map, an item or nested in one. Its entries are walked three times, the elements of their values twice.
    pub(super) fn map(&mut self, item: &'a MapItem<'a>, link: Option<Link<'a>>) -> Step<'a> {
        self.check_schema(item)?;
        let id = match item.id {
            None if item.has_tempid => Place::Temp(Tempid::Map(item.place)),
            None => Place::Reference(&NIL),
            Some(id @ (Value::Vector(_) | Value::List(_))) => Place::Eid(self.db.entid_strict(id)?),
            Some(id) => self.name_tx(Place::of(id)),
        };
        if item.id.is_some_and(Value::is_nil) {
            return Err(nil_value(&Keyword::new("db/id")));
        }
        let mut upsert = Upsert::default();
        // Entries that an upsert consumed in part or whole, by their position; most maps have none.
        let mut consumed: Vec<(usize, Rest<'a>)> = Vec::new();
        for (at, (key, slot)) in item.entries.iter().enumerate() {
            if let Some(rest) = self.resolve_identity(key, slot, &mut upsert)? {
                consumed.push((at, rest));
            }
        }
        let mut link = link;
        if let Some(Link { attr, owner: Place::Eid(owner), from_nested: true }) = link
            && self.db.flags(attr).is_identity()
            && let Some(holder) = self.db.lookup(attr, &eid_value(owner))?
        {
            self.note(&mut upsert, holder, attr)?;
            link = None;
        }
        let id = match upsert.found {
            Some((eid, attr)) => self.upsert(id, eid, attr)?,
            None => match id {
                Place::Reference(value) if value.as_f64().is_none() => {
                    let message = format!("Expected number, string or lookup ref for :db/id, got {}", describe(value));
                    return Err(TransactError::new(ErrorKind::EntityIdSyntax, message).entity(value.clone()).into());
                }
                id => id,
            },
        };
        self.explode(item, id, &consumed, link)
    }

    /// The id of a map whose identities point at `eid`.
    fn upsert(&mut self, id: Place<'a>, eid: Eid, attr: Attr) -> Step<'a, Place<'a>> {
        match id {
            Place::Temp(name) | Place::Tx(name) => {
                if self.tempids.get(name).is_some_and(|known| known != eid) {
                    return Err(Stop::Restart { tempid: name, eid });
                }
                self.tempids.confirm(name);
                self.tempids.reach(name, eid);
            }
            Place::Eid(id) if id == eid => {}
            Place::Reference(Value::Nil) => {}
            Place::Eid(_) | Place::Reference(_) => {
                let keyword = self.db.attrs().keyword(attr);
                let message = format!("Conflicting upsert: {keyword} resolves to {eid}, but entity has another :db/id");
                return Err(TransactError::new(ErrorKind::TransactUpsert, message).attribute(keyword).into());
            }
        }
        self.redundant.push(eid);
        Ok(Place::Eid(eid))
    }

    fn note(&self, upsert: &mut Upsert, eid: Eid, attr: Attr) -> Step<'a> {
        match upsert.found {
            Some((known, by)) if known != eid => {
                let (by, attr) = (self.db.attrs().keyword(by), self.db.attrs().keyword(attr));
                let message = format!("Conflicting upserts: {by} resolves to {known}, but {attr} resolves to {eid}");
                Err(TransactError::new(ErrorKind::TransactUpsert, message).attribute(attr).into())
            }
            Some(_) => Ok(()),
            None => {
                upsert.found = Some((eid, attr));
                Ok(())
            }
        }
    }

    /// Checks one entry and, if its attribute is an identity, looks its values up. `None`: nothing was found.
    fn resolve_identity(&self, key: &'a Value, slot: &Slot<'a>, upsert: &mut Upsert) -> Step<'a, Option<Rest<'a>>> {
        let Value::Keyword(keyword) = key else { return Err(bad_attribute(key)) };
        let value = slot.value;
        if value.is_nil() {
            return Err(nil_value(keyword));
        }
        let Some(attr) = self.db.attr(keyword.as_str()) else { return Ok(None) };
        let flags = self.db.flags(attr);
        if !flags.is_identity() {
            return Ok(None);
        }
        let elements = if flags.is_many() { members(value) } else { None };
        let Some(elements) = elements else {
            return Ok(match self.holder(attr, value)? {
                Some(eid) => {
                    self.note(upsert, eid, attr)?;
                    Some(Rest::Some(Vec::new()))
                }
                None => None,
            });
        };
        let mut rest = Vec::new();
        for element in elements {
            match self.holder(attr, element)? {
                Some(eid) => self.note(upsert, eid, attr)?,
                None => rest.push(element),
            }
        }
        Ok(Some(if rest.len() == elements.len() { Rest::All } else { Rest::Some(rest) }))
    }

    /// Who holds a value of an identity attribute.
    fn holder(&self, attr: Attr, value: &'a Value) -> Step<'a, Option<Eid>> {
        if value.is_nil() {
            return Ok(None);
        }
        if !self.db.flags(attr).is_ref() {
            return Ok(self.db.lookup(attr, value)?);
        }
        match Place::of(value) {
            Place::Temp(_) | Place::Tx(Tempid::Text(_)) => Ok(None),
            place => match self.lenient(place)? {
                Some(target) => Ok(self.db.lookup(attr, &eid_value(target))?),
                None => Ok(None),
            },
        }
    }

    /// Queues one assertion for every value of the map.
    fn explode(
        &mut self,
        item: &'a MapItem<'a>,
        id: Place<'a>,
        consumed: &[(usize, Rest<'a>)],
        link: Option<Link<'a>>,
    ) -> Step<'a> {
        let start = self.queue.len();
        let mut consumed = consumed.iter().peekable();
        for (at, (key, slot)) in item.entries.iter().enumerate() {
            let Value::Keyword(keyword) = key else { return Err(bad_attribute(key)) };
            let entry = self.entry(keyword, id)?;
            if link.is_some_and(|link| link.attr == entry.attr && link.from_nested != entry.reverse) {
                continue;
            }
            match consumed.next_if(|(consumed, _)| *consumed == at) {
                Some((_, Rest::Some(rest))) => {
                    for value in rest {
                        self.queue_value(&entry, value)?;
                    }
                }
                Some((_, Rest::All)) | None => self.queue_slot(&entry, slot)?,
            }
        }
        if let Some(Link { attr, owner, from_nested }) = link {
            let (e, v) = if from_nested { (id, owner) } else { (owner, id) };
            self.queue.push(Work::Add { e, a: attr, v: Operand::Place(v) });
        }
        if let Some(added) = self.queue.get_mut(start..) {
            added.reverse();
        }
        Ok(())
    }

    fn entry(&self, keyword: &Keyword, id: Place<'a>) -> Step<'a, Entry<'a>> {
        let Some(name) = keyword.name().strip_prefix('_') else {
            let attr = self.intern(keyword)?;
            let flags = self.db.flags(attr);
            return Ok(Entry { attr, id, reverse: false, is_ref: flags.is_ref(), many: flags.is_many() });
        };
        let straight = match keyword.namespace() {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        };
        if let Some(attr) = self.db.attr(&straight).filter(|attr| self.db.flags(*attr).is_ref()) {
            return Ok(Entry { attr, id, reverse: true, is_ref: true, many: true });
        }
        let message = format!(
            "Bad attribute {}: reverse attribute name requires {{:db/valueType :db.type/ref}} in schema",
            describe(&Value::Keyword(keyword.clone()))
        );
        Err(TransactError::new(ErrorKind::TransactSyntax, message).attribute(keyword.clone()).into())
    }

    fn queue_slot(&mut self, entry: &Entry<'a>, slot: &Slot<'a>) -> Step<'a> {
        match (&slot.nested, members(slot.value)) {
            (Nested::Map(place), _) if entry.is_ref => {
                self.queue_map(entry, *place);
                Ok(())
            }
            (nested, Some(elements)) if entry.many && !self.is_lookup_ref(elements) => {
                for (at, element) in elements.iter().enumerate() {
                    let place = match nested {
                        Nested::Elements(places) if entry.is_ref => places.get(at).copied().flatten(),
                        _ => None,
                    };
                    match place {
                        Some(place) => self.queue_map(entry, place),
                        None => self.queue_value(entry, element)?,
                    }
                }
                Ok(())
            }
            _ => self.queue_value(entry, slot.value),
        }
    }

    /// Whether a pair reads as one lookup ref rather than as two values.
    fn is_lookup_ref(&self, elements: &[Value]) -> bool {
        let [Value::Keyword(keyword), _] = elements else { return false };
        self.db.attr(keyword.as_str()).is_some_and(|attr| self.db.flags(attr).is_identity())
    }

    fn queue_map(&mut self, entry: &Entry<'a>, place: usize) {
        if let Some(item) = self.maps.get(place) {
            let link = Link { attr: entry.attr, owner: entry.id, from_nested: entry.reverse };
            self.queue.push(Work::Map { item, link });
        }
    }

    fn queue_value(&mut self, entry: &Entry<'a>, value: &'a Value) -> Step<'a> {
        if value.is_nil() {
            return Err(nil_value(&self.db.attrs().keyword(entry.attr)));
        }
        self.queue.push(if entry.reverse {
            Work::Add { e: Place::of(value), a: entry.attr, v: Operand::Place(entry.id) }
        } else {
            Work::Add { e: entry.id, a: entry.attr, v: Operand::Value(value) }
        });
        Ok(())
    }

    /// Map items that define attributes must do it completely, and outside the namespace `db` (datascript.md 9.5, step 1).
    fn check_schema(&self, item: &MapItem<'a>) -> Step<'a> {
        let mut defines = false;
        let mut ident = None;
        let mut cardinality = None;
        let mut value_type = None;
        for (key, slot) in &item.entries {
            let Value::Keyword(keyword) = key else { continue };
            if !keyword.as_str().starts_with("db") {
                continue;
            }
            let value = Some(slot.value);
            match keyword.as_str() {
                "db/ident" => ident = value,
                "db/cardinality" => cardinality = value,
                "db/valueType" => value_type = value,
                "db/noHistory" | "db.install/_attribute" => {}
                text if self.db.attr(text).is_some_and(|attr| self.db.flags(attr).is_live()) => {}
                _ => continue,
            }
            defines = true;
        }
        if !defines {
            return Ok(());
        }
        if let Some(Value::Keyword(keyword)) = ident
            && keyword.namespace().is_some_and(|namespace| namespace == "db" || namespace.starts_with("db."))
        {
            let message = "Using namespace 'db' for attribute identifiers is not allowed";
            return Err(TransactError::new(ErrorKind::TransactSchema, message).attribute(keyword.clone()).into());
        }
        let typed = [cardinality, value_type].iter().flatten().any(|value| value.is_truthy());
        if typed && (ident.is_none() || cardinality.is_none()) {
            let message = "Incomplete schema transaction attributes, expected :db/ident, :db/cardinality";
            return Err(refuse(ErrorKind::TransactSchema, message));
        }
        Ok(())
    }
}

/// An attribute of a map item, for the entity `id`.
struct Entry<'a> {
    attr: Attr,
    id: Place<'a>,
    reverse: bool,
    is_ref: bool,
    many: bool,
}
