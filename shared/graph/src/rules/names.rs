//! Names that decide what an attribute, an ident or a property type is (sync.md 11.6).

use datascript::{Keyword, Value};

/// Namespaces below `logseq.property` whose attributes are built-in properties.
const PROPERTY_NAMESPACES: [&str; 20] = [
    "tldraw",
    "pdf",
    "fsrs",
    "linked-references",
    "asset",
    "table",
    "node",
    "code",
    "repeat",
    "journal",
    "class",
    "view",
    "user",
    "history",
    "reaction",
    "sync",
    "publish",
    "recycle",
    "comments",
    "agent",
];

/// Schema attributes that are built-in properties too, so that their idents are idents of properties.
const DB_ATTRIBUTE_PROPERTIES: [&str; 13] = [
    "block/alias",
    "block/tags",
    "block/parent",
    "block/order",
    "block/collapsed?",
    "block/page",
    "block/refs",
    "block/link",
    "block/title",
    "block/closed-value-property",
    "block/journal-day",
    "block/created-at",
    "block/updated-at",
];

/// Whether a namespace is one of the built-in property namespaces.
fn is_built_in_namespace(namespace: &str) -> bool {
    match namespace.strip_prefix("logseq.property") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| PROPERTY_NAMESPACES.contains(&rest)),
        None => false,
    }
}

/// Whether Logseq itself defines a schema attribute by a property entity whose ident it is.
pub(crate) fn is_attribute_property(ident: &Keyword) -> bool {
    DB_ATTRIBUTE_PROPERTIES.contains(&ident.as_str())
}

/// Whether an attribute is a property that users see, whether or not the graph has an entity for it.
pub(crate) fn is_property(attribute: &Keyword) -> bool {
    match attribute.namespace() {
        Some(namespace) => {
            // This covers the built-in namespaces.
            namespace.contains(".property") || matches!(attribute.as_str(), "block/alias" | "block/tags")
        }
        None => false,
    }
}

/// Who may define a property with that ident, which decides on its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Logseq,
    Plugin,
    User,
}

/// The owner of a property by its ident; `None` when the ident is no property's.
pub(crate) fn property_owner(ident: &Keyword) -> Option<Owner> {
    let namespace = ident.namespace();
    if namespace.is_some_and(is_built_in_namespace) || is_attribute_property(ident) {
        return Some(Owner::Logseq);
    }
    let namespace = namespace?;
    if namespace.starts_with("plugin.property.") {
        Some(Owner::Plugin)
    } else {
        namespace.contains(".property").then_some(Owner::User)
    }
}

/// Whether an ident is one of Logseq's own properties by its namespace.
pub(crate) fn is_built_in_property_ident(ident: &Keyword) -> bool {
    ident.namespace().is_some_and(is_built_in_namespace)
}

/// Whether an ident is in a namespace that Logseq keeps for itself: properties, classes, key-value entities.
pub(crate) fn is_built_in_ident(ident: &Keyword) -> bool {
    ident
        .namespace()
        .is_some_and(|namespace| matches!(namespace, "logseq.class" | "logseq.kv") || is_built_in_namespace(namespace))
}

/// Whether an ident is a class's.
pub(crate) fn is_class_ident(ident: &Keyword) -> bool {
    ident.namespace().is_some_and(|namespace| namespace.contains(".class"))
}

/// `:logseq.property/type` of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyType {
    Default,
    Number,
    Date,
    Datetime,
    Checkbox,
    Url,
    Node,
    Asset,
    Entity,
    Class,
    Property,
    Page,
    Keyword,
    Map,
    Coll,
    String,
    Json,
    Any,
    RawNumber,
}

impl PropertyType {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        Some(match value.as_keyword()?.as_str() {
            "default" => Self::Default,
            "number" => Self::Number,
            "date" => Self::Date,
            "datetime" => Self::Datetime,
            "checkbox" => Self::Checkbox,
            "url" => Self::Url,
            "node" => Self::Node,
            "asset" => Self::Asset,
            "entity" => Self::Entity,
            "class" => Self::Class,
            "property" => Self::Property,
            "page" => Self::Page,
            "keyword" => Self::Keyword,
            "map" => Self::Map,
            "coll" => Self::Coll,
            "string" => Self::String,
            "json" => Self::Json,
            "any" => Self::Any,
            "raw-number" => Self::RawNumber,
            _ => return None,
        })
    }

    /// Whether a property of that owner may have this type.
    pub(crate) fn allowed_for(self, owner: Owner) -> bool {
        let for_users = matches!(
            self,
            Self::Default
                | Self::Number
                | Self::Date
                | Self::Datetime
                | Self::Checkbox
                | Self::Url
                | Self::Node
                | Self::Asset
        );
        for_users
            || match owner {
                Owner::Logseq => true,
                Owner::Plugin => matches!(self, Self::Json | Self::String | Self::Page),
                Owner::User => matches!(self, Self::Map | Self::Json | Self::String),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(ident: &str) -> Option<Owner> {
        property_owner(&Keyword::new(ident))
    }

    #[test]
    fn owners_of_properties() {
        assert_eq!(owner("logseq.property/status"), Some(Owner::Logseq));
        assert_eq!(owner("logseq.property.asset/size"), Some(Owner::Logseq));
        assert_eq!(owner("block/title"), Some(Owner::Logseq));
        assert_eq!(owner("logseq.property.unheard-of/x"), Some(Owner::User));
        assert_eq!(owner("plugin.property.x/y"), Some(Owner::Plugin));
        assert_eq!(owner("user.property/x"), Some(Owner::User));
        assert_eq!(owner("user.class/x"), None);
        assert_eq!(owner("title"), None);
    }

    #[test]
    fn idents() {
        assert!(is_property(&Keyword::new("block/alias")) && !is_property(&Keyword::new("block/title")));
        assert!(is_property(&Keyword::new("x.property.y/z")) && !is_property(&Keyword::new("property/z")));
        assert!(is_class_ident(&Keyword::new("logseq.class/Root")) && !is_class_ident(&Keyword::new("class/Root")));
        assert!(is_built_in_ident(&Keyword::new("logseq.kv/x")) && !is_built_in_ident(&Keyword::new("logseq.kv.x/y")));
        assert!(!is_built_in_property_ident(&Keyword::new("block/title")));
    }

    #[test]
    fn types_by_owner() {
        let of = |name| PropertyType::parse(&Value::keyword(name)).unwrap();
        assert!(of("raw-number").allowed_for(Owner::Logseq) && !of("raw-number").allowed_for(Owner::User));
        assert!(of("page").allowed_for(Owner::Plugin) && !of("page").allowed_for(Owner::User));
        assert!(of("map").allowed_for(Owner::User) && !of("map").allowed_for(Owner::Plugin));
        assert!(of("asset").allowed_for(Owner::Plugin));
        assert_eq!(PropertyType::parse(&Value::keyword("nonsense")), None);
    }
}
