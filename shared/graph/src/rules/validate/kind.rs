//! Kinds of entities, and what each must have (table of sync.md 11.6).

use datascript::{Attr, Db, Keyword, Value};

use super::property;
use super::record::{Record, Shape, Verdict};
use crate::rules::facts::{Known, Tag};
use crate::rules::names::{
    Owner, PropertyType, is_built_in_ident, is_built_in_property_ident, is_class_ident, property_owner,
};
use crate::rules::{Result, attrs, entity, order_key};

/// What an entity is judged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A reaction to a block.
    Reaction,
    /// The definition of a property.
    Property,
    /// The definition of a tag.
    Class,
    /// A page that is not shown.
    HiddenPage,
    /// Any other page.
    Page,
    /// A block that stands for a file.
    Asset,
    /// A file of the graph's own, such as its configuration.
    File,
    /// A value that a property had.
    PropertyHistory,
    /// One of the values that a property may have.
    ClosedValue,
    /// A value of a property, as an entity.
    PropertyValue,
    /// The value of no value.
    Placeholder,
    /// A block.
    Block,
    /// A setting of the graph.
    KeyValue,
}

impl Kind {
    /// What the kind is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reaction => "reaction",
            Self::Property => "property",
            Self::Class => "class",
            Self::HiddenPage => "hidden page",
            Self::Page => "page",
            Self::Asset => "asset",
            Self::File => "file",
            Self::PropertyHistory => "property history",
            Self::ClosedValue => "closed value",
            Self::PropertyValue => "property value",
            Self::Placeholder => "placeholder",
            Self::Block => "block",
            Self::KeyValue => "key value",
        }
    }
}

/// The first kind in the table whose condition the entity meets.
pub(super) fn kind_of(db: &Db, known: &mut Known, record: &Record) -> Result<Option<Kind>> {
    let has = |attr| record.first(attr).is_some();
    Ok(Some(if refers(db, known, record, attrs::REACTION_TARGET)? {
        Kind::Reaction
    } else if record.has_tag(|tag| tag == Tag::Property) {
        Kind::Property
    } else if record.has_tag(|tag| tag == Tag::Class) {
        Kind::Class
    } else if record.has_tag(|tag| tag.is_page() || tag == Tag::Whiteboard) {
        let is_hidden = matches!(record.first(attrs::PROPERTY_HIDE), Some(Value::Bool(true)));
        if is_hidden && record.has_tag(Tag::is_page) { Kind::HiddenPage } else { Kind::Page }
    } else if has(attrs::ASSET_TYPE) {
        Kind::Asset
    } else if has(attrs::FILE_PATH) {
        Kind::File
    } else if refers(db, known, record, attrs::HISTORY_BLOCK)? {
        Kind::PropertyHistory
    } else if has(attrs::BLOCK_CLOSED_VALUE_PROPERTY) {
        Kind::ClosedValue
    } else if refers(db, known, record, attrs::CREATED_FROM_PROPERTY)?
        && record.first(attrs::PROPERTY_VALUE).is_some_and(Value::is_truthy)
    {
        Kind::PropertyValue
    } else if record.first(attrs::DB_IDENT).is_some_and(|ident| ident.is_keyword("logseq.property/empty-placeholder")) {
        Kind::Placeholder
    } else if has(attrs::BLOCK_UUID) {
        Kind::Block
    } else if has(attrs::DB_IDENT) {
        Kind::KeyValue
    } else {
        return Ok(None);
    }))
}

/// Whether the attribute has a value that is not false and, if it is a reference, not dangling.
fn refers(db: &Db, known: &mut Known, record: &Record, attr: Attr) -> Result<bool> {
    match record.first(attr) {
        None => Ok(false),
        Some(value) => match entity::as_eid(value) {
            Some(eid) if known.is_ref(db, attr)? => Ok(db.exists(eid)?),
            _ => Ok(value.is_truthy()),
        },
    }
}

/// Whether the entity has what its kind must have.
pub(super) fn check(db: &Db, known: &mut Known, kind: Kind, record: &Record) -> Result<Verdict> {
    if let Err(attribute) = check_fields(kind, record) {
        return Ok(Err(attribute));
    }
    let with_properties = !matches!(kind, Kind::File | Kind::KeyValue | Kind::Placeholder);
    if with_properties && let Err(attribute) = property::check_pairs(db, known, record)? {
        return Ok(Err(attribute));
    }
    let with_tags = with_properties && !matches!(kind, Kind::Reaction | Kind::PropertyHistory);
    if with_tags { property::check_tags(db, known, record) } else { Ok(Ok(())) }
}

fn check_fields(kind: Kind, record: &Record) -> Verdict {
    let fields = Fields(record);
    match kind {
        Kind::Reaction => {
            fields.need(attrs::BLOCK_UUID, is_uuid)?;
            fields.need(attrs::REACTION_EMOJI_ID, is_string)?;
            fields.need(attrs::REACTION_TARGET, is_int)?;
            fields.need(attrs::BLOCK_CREATED_AT, is_int)?;
            fields.may(attrs::BLOCK_TX_ID, is_int)?;
            fields.may(attrs::BLOCK_REFS, is_int_set)
        }
        Kind::Property => fields.property(),
        Kind::Class => {
            fields.page()?;
            fields.need(attrs::DB_IDENT, |ident| keyword(ident).is_some_and(is_class_ident))?;
            if fields.is_keyword(attrs::DB_IDENT, "logseq.class/Root") {
                return Ok(());
            }
            fields.need(attrs::CLASS_EXTENDS, is_int_set)
        }
        Kind::HiddenPage => {
            fields.page()?;
            fields.may(attrs::BLOCK_ORDER, is_order)?;
            fields.need(attrs::PROPERTY_HIDE, |value| matches!(value, Shape::One(Value::Bool(true))))
        }
        Kind::Page => {
            fields.page()?;
            fields.may(attrs::BLOCK_JOURNAL_DAY, is_int)?;
            fields.may(attrs::BLOCK_PARENT, is_int)?;
            fields.may(attrs::BLOCK_ORDER, is_order)
        }
        Kind::Asset => {
            fields.block()?;
            fields.need(attrs::BLOCK_TITLE, is_string)?;
            fields.may(attrs::CREATED_FROM_PROPERTY, is_int)?;
            fields.need(attrs::ASSET_TYPE, is_string)?;
            fields.need(attrs::ASSET_CHECKSUM, is_string)?;
            fields.need(attrs::ASSET_SIZE, is_int)?;
            fields.may(attrs::ASSET_WIDTH, is_int)?;
            fields.may(attrs::ASSET_HEIGHT, is_int)?;
            fields.may(attrs::ASSET_ALIGN, is_keyword)
        }
        Kind::File => {
            fields.need(attrs::BLOCK_UUID, is_uuid)?;
            for attr in [attrs::FILE_PATH, attrs::FILE_CONTENT] {
                fields.need(attr, is_string)?;
            }
            for attr in [attrs::FILE_CREATED_AT, attrs::FILE_LAST_MODIFIED_AT] {
                fields.need(attr, is_instant)?;
            }
            for attr in [attrs::BLOCK_TX_ID, attrs::BLOCK_CREATED_AT, attrs::BLOCK_UPDATED_AT, attrs::FILE_SIZE] {
                fields.may(attr, is_int)?;
            }
            Ok(())
        }
        Kind::PropertyHistory => {
            fields.need(attrs::BLOCK_UUID, is_uuid)?;
            for attr in [attrs::BLOCK_CREATED_AT, attrs::HISTORY_BLOCK, attrs::HISTORY_PROPERTY] {
                fields.need(attr, is_int)?;
            }
            for attr in [attrs::BLOCK_UPDATED_AT, attrs::HISTORY_REF_VALUE, attrs::BLOCK_TX_ID] {
                fields.may(attr, is_int)?;
            }
            fields.one_of(attrs::HISTORY_REF_VALUE, attrs::HISTORY_SCALAR_VALUE, |_| true)
        }
        Kind::ClosedValue => {
            fields.block()?;
            fields.may(attrs::DB_IDENT, |ident| keyword(ident).is_some_and(is_built_in_property_ident))?;
            fields.may(attrs::BLOCK_TITLE, is_string)?;
            fields.may(attrs::PROPERTY_VALUE, |value| is_string(value) || is_number(value))?;
            fields.need(attrs::CREATED_FROM_PROPERTY, is_int)?;
            fields.may(attrs::BLOCK_CLOSED_VALUE_PROPERTY, is_int_set)?;
            fields.one_of(attrs::BLOCK_TITLE, attrs::PROPERTY_VALUE, Value::is_truthy)
        }
        Kind::PropertyValue => {
            fields.block()?;
            fields.need(attrs::PROPERTY_VALUE, |value| is_string(value) || is_number(value) || is_bool(value))?;
            fields.need(attrs::CREATED_FROM_PROPERTY, is_int)
        }
        Kind::Placeholder => {
            fields.need(attrs::BLOCK_UUID, is_uuid)?;
            for attr in [attrs::BLOCK_TX_ID, attrs::BLOCK_CREATED_AT, attrs::BLOCK_UPDATED_AT] {
                fields.may(attr, is_int)?;
            }
            Ok(())
        }
        Kind::Block => {
            // The form of blocks on whiteboards, which accepts whatever the other form does: no order is looked at.
            fields.common()?;
            fields.need(attrs::BLOCK_TITLE, is_string)?;
            fields.need(attrs::BLOCK_PARENT, is_int)?;
            fields.need(attrs::BLOCK_PAGE, is_int)
        }
        Kind::KeyValue => {
            fields.need(attrs::DB_IDENT, |ident| keyword(ident).is_some_and(is_built_in_ident))?;
            fields.need(attrs::KV_VALUE, |_| true)?;
            fields.may(attrs::BLOCK_TX_ID, is_int)
        }
    }
}

struct Fields<'r>(&'r Record);

impl Fields<'_> {
    fn need(&self, attr: Attr, test: impl Fn(Shape<'_>) -> bool) -> Verdict {
        if self.0.field(attr).is_some_and(test) { Ok(()) } else { Err(Some(attr)) }
    }

    fn may(&self, attr: Attr, test: impl Fn(Shape<'_>) -> bool) -> Verdict {
        if self.0.field(attr).is_none_or(test) { Ok(()) } else { Err(Some(attr)) }
    }

    /// At least one of two attributes, the first with a true value, the second with one that passes.
    fn one_of(&self, first: Attr, second: Attr, test: impl Fn(&Value) -> bool) -> Verdict {
        let passes = |attr, test: &dyn Fn(&Value) -> bool| match self.0.field(attr) {
            Some(Shape::One(value)) => test(value),
            Some(Shape::Set(_)) => true,
            None => false,
        };
        if passes(first, &Value::is_truthy) || passes(second, &test) { Ok(()) } else { Err(Some(first)) }
    }

    fn is_keyword(&self, attr: Attr, text: &str) -> bool {
        matches!(self.0.field(attr), Some(Shape::One(value)) if value.is_keyword(text))
    }

    /// What pages and blocks have in common.
    fn common(&self) -> Verdict {
        self.need(attrs::BLOCK_UUID, is_uuid)?;
        self.need(attrs::BLOCK_CREATED_AT, is_int)?;
        self.need(attrs::BLOCK_UPDATED_AT, is_int)?;
        self.may(attrs::DELETED_AT, is_int)?;
        self.may(attrs::BLOCK_REFS, is_int_set)?;
        self.may(attrs::BLOCK_TX_ID, is_int)?;
        self.may(attrs::BLOCK_COLLAPSED, is_bool)?;
        self.may(attrs::BLOCK_WARNING, is_keyword)?;
        self.may(attrs::CREATED_BY_REF, is_int)
    }

    fn page(&self) -> Verdict {
        self.common()?;
        self.need(attrs::BLOCK_NAME, is_string)?;
        self.need(attrs::BLOCK_TITLE, is_string)
    }

    /// What blocks have that are checked in full, but for the title and the property they come from.
    fn block(&self) -> Verdict {
        self.common()?;
        self.need(attrs::BLOCK_PARENT, is_int)?;
        self.need(attrs::BLOCK_ORDER, is_order)?;
        self.need(attrs::BLOCK_PAGE, is_int)?;
        self.may(attrs::BLOCK_LINK, is_int)
    }

    fn property(&self) -> Verdict {
        self.page()?;
        let owner = self.0.field(attrs::DB_IDENT).and_then(keyword).and_then(property_owner);
        let owner = owner.ok_or(Some(attrs::DB_IDENT))?;
        self.need(attrs::PROPERTY_TYPE, |value| match value {
            Shape::One(value) => PropertyType::parse(value).is_some_and(|parsed| parsed.allowed_for(owner)),
            Shape::Set(_) => false,
        })?;
        self.may(attrs::DB_INDEX, is_bool)?;
        self.may(attrs::DB_VALUE_TYPE, |value| is_one_of(value, &["db.type/ref"]))?;
        self.may(attrs::DB_CARDINALITY, |value| is_one_of(value, &["db.cardinality/many", "db.cardinality/one"]))?;
        self.may(attrs::BLOCK_ORDER, is_order)?;
        self.may(attrs::PROPERTY_CLASSES, is_int_set)?;
        self.may(attrs::PROPERTY_HIDE, is_bool)?;
        self.may(attrs::PROPERTY_PUBLIC, is_bool)?;
        self.may(attrs::PROPERTY_UI_POSITION, |value| {
            is_one_of(value, &["properties", "block-left", "block-right", "block-below"])
        })?;
        if owner == Owner::Logseq {
            self.may(attrs::PROPERTY_VIEW_CONTEXT, |value| {
                is_one_of(value, &["page", "block", "class", "property", "never"])
            })?;
        }
        Ok(())
    }
}

fn one(shape: Shape<'_>, test: impl Fn(&Value) -> bool) -> bool {
    matches!(shape, Shape::One(value) if test(value))
}

fn is_uuid(shape: Shape<'_>) -> bool {
    one(shape, entity::is_uuid)
}

fn is_int(shape: Shape<'_>) -> bool {
    one(shape, |value| matches!(value, Value::Int(_)))
}

fn is_number(shape: Shape<'_>) -> bool {
    one(shape, entity::is_number)
}

fn is_string(shape: Shape<'_>) -> bool {
    one(shape, |value| matches!(value, Value::String(_)))
}

fn is_bool(shape: Shape<'_>) -> bool {
    one(shape, |value| matches!(value, Value::Bool(_)))
}

fn is_instant(shape: Shape<'_>) -> bool {
    one(shape, |value| matches!(value, Value::Instant(_)))
}

fn is_keyword(shape: Shape<'_>) -> bool {
    one(shape, |value| matches!(value, Value::Keyword(_)))
}

fn is_order(shape: Shape<'_>) -> bool {
    one(shape, |value| value.as_str().is_some_and(order_key::is_valid))
}

fn is_int_set(shape: Shape<'_>) -> bool {
    match shape {
        Shape::Set(values) => values.iter().all(|datom| matches!(datom.v, Value::Int(_))),
        Shape::One(Value::Set(values)) => values.iter().all(|value| matches!(value, Value::Int(_))),
        Shape::One(_) => false,
    }
}

fn is_one_of(shape: Shape<'_>, keywords: &[&str]) -> bool {
    keyword(shape).is_some_and(|keyword| keywords.contains(&keyword.as_str()))
}

fn keyword(shape: Shape<'_>) -> Option<&Keyword> {
    match shape {
        Shape::One(Value::Keyword(keyword)) => Some(keyword),
        _ => None,
    }
}
