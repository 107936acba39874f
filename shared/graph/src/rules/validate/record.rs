//! One entity as a record of attributes and their values, read with one slice.

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, Value};

use crate::rules::facts::{Known, Tag};
use crate::rules::{Result, attrs, entity};

/// Attributes that hold sets whatever the graph says of them.
const SETS: [Attr; 4] = [attrs::BLOCK_REFS, attrs::BLOCK_TAGS, attrs::BLOCK_ALIAS, attrs::BLOCK_CLOSED_VALUE_PROPERTY];

/// What a record is judged to be: valid, or not, with the attribute to blame where one alone is.
pub(super) type Verdict = Result<(), Option<Attr>>;

/// The attributes of an entity. Its buffers are used for one entity after another.
#[derive(Default)]
pub(super) struct Record {
    datoms: Vec<Datom>,
    fields: Vec<Field>,
    /// What the entity's tags are, apart from tags that no rule tells from others.
    tags: Vec<Tag>,
}

/// One attribute of the record.
#[derive(Clone, Copy)]
struct Field {
    attr: Attr,
    /// Range of datoms.
    start: usize,
    end: usize,
    is_set: bool,
    /// The attribute is a property that is judged by its type (sync.md 11.6), not as a field.
    is_pair: bool,
}

/// The value of an attribute.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    One(&'a Value),
    Set(&'a [Datom]),
}

impl Record {
    /// Reads an entity in place of the one before.
    pub(super) fn read(&mut self, db: &Db, known: &mut Known, eid: Eid) -> Result<()> {
        self.datoms.clear();
        self.fields.clear();
        self.tags.clear();
        let mut slice = db.datoms(Index::Eavt, &Pattern::e(eid));
        while let Some(datom) = slice.next_ref()? {
            self.datoms.push(datom.clone());
        }
        let mut start = 0;
        for values in self.datoms.chunk_by(|a, b| a.a == b.a) {
            let end = start + values.len();
            if let Some(first) = values.first() {
                self.fields.push(field(db, known, first.a, values, start)?);
            }
            start = end;
        }
        for tag in self.datoms.iter().filter(|datom| datom.a == attrs::BLOCK_TAGS) {
            if let Some(tag) = entity::as_eid(&tag.v) {
                self.tags.push(known.tag(db, tag)?);
            }
        }
        Ok(())
    }

    /// Whether the entity has no datom.
    pub(super) fn is_empty(&self) -> bool {
        self.datoms.is_empty()
    }

    /// A field of the record; properties that are judged by their type are none.
    pub(super) fn field(&self, attr: Attr) -> Option<Shape<'_>> {
        self.find(attr).filter(|field| !field.is_pair).map(|field| self.shape(field))
    }

    /// The first value of an attribute.
    pub(super) fn first(&self, attr: Attr) -> Option<&Value> {
        self.find(attr).and_then(|field| self.datoms.get(field.start)).map(|datom| &datom.v)
    }

    /// The properties that are judged by their type.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Attr, Shape<'_>)> {
        self.fields.iter().filter(|field| field.is_pair).map(|field| (field.attr, self.shape(*field)))
    }

    /// Whether any tag passes a test.
    pub(super) fn has_tag(&self, test: impl Fn(Tag) -> bool) -> bool {
        self.tags.iter().copied().any(test)
    }

    /// The tags, in the order of their entities.
    pub(super) fn tags(&self) -> &[Tag] {
        &self.tags
    }

    fn find(&self, attr: Attr) -> Option<Field> {
        self.fields.iter().find(|field| field.attr == attr).copied()
    }

    fn shape(&self, field: Field) -> Shape<'_> {
        let values = self.datoms.get(field.start..field.end).unwrap_or_default();
        match values {
            [value] if !field.is_set => Shape::One(&value.v),
            _ => Shape::Set(values),
        }
    }
}

fn field(db: &Db, known: &mut Known, attr: Attr, values: &[Datom], start: usize) -> Result<Field> {
    let end = start + values.len();
    let is_static_set = SETS.contains(&attr);
    // A `false` gives way to the value after it: that is how the reference implementation collects values.
    let start = match values {
        [first, _] if !is_static_set && matches!(first.v, Value::Bool(false)) => start + 1,
        _ => start,
    };
    let mut field = Field { attr, start, end, is_set: is_static_set || end - start > 1, is_pair: false };
    if !attrs::is_plain(attr) {
        let attribute = known.attribute(db, attr)?;
        field.is_set |= attribute.is_property && attribute.is_many;
        field.is_pair = attribute.is_property && !is_field(attr);
    }
    Ok(field)
}

/// Properties that stay fields of the record.
fn is_field(attr: Attr) -> bool {
    matches!(
        attr,
        attrs::BLOCK_TAGS
            | attrs::ASSET_TYPE
            | attrs::ASSET_SIZE
            | attrs::ASSET_CHECKSUM
            | attrs::CREATED_FROM_PROPERTY
            | attrs::PROPERTY_VALUE
            | attrs::HISTORY_SCALAR_VALUE
            | attrs::HISTORY_BLOCK
            | attrs::HISTORY_PROPERTY
            | attrs::HISTORY_REF_VALUE
            | attrs::CLASS_EXTENDS
            | attrs::REACTION_EMOJI_ID
            | attrs::REACTION_TARGET
            | attrs::PROPERTY_TYPE
            | attrs::PROPERTY_HIDE
            | attrs::PROPERTY_PUBLIC
            | attrs::PROPERTY_UI_POSITION
            | attrs::PROPERTY_VIEW_CONTEXT
            | attrs::PROPERTY_CLASSES
    )
}
