//! Attributes that the rules know by name, as constants.
//!
//! A graph's interner is made with [`PRESET`], so that each constant is the attribute of its text and no rule hashes a
//! name where datoms are read.

use datascript::Attr;

macro_rules! preset {
    ($($name:ident = $text:literal,)*) => {
        #[expect(non_camel_case_types, reason = "names of constants, counted by the compiler")]
        #[repr(u32)]
        enum Slot {
            $($name),*
        }

        /// Texts (without the colon) for `Attrs::new`: the text of `Attr::new(i)` is `PRESET[i]`.
        pub const PRESET: &[&str] = &[$($text),*];

        $(
            #[doc = concat!("`:", $text, "`")]
            pub const $name: Attr = Attr::new(Slot::$name as u32);
        )*
    };
}

preset! {
    // Facts with one of these attributes change the live schema (datascript.md 8.2).
    DB_IDENT = "db/ident",
    DB_VALUE_TYPE = "db/valueType",
    DB_CARDINALITY = "db/cardinality",
    DB_INDEX = "db/index",
    DB_UNIQUE = "db/unique",
    DB_IS_COMPONENT = "db/isComponent",
    DB_DOC = "db/doc",
    DB_ID = "db/id",
    DB_TUPLE_ATTRS = "db/tupleAttrs",
    DB_TUPLE_TYPE = "db/tupleType",
    DB_TUPLE_TYPES = "db/tupleTypes",
    // From here on they do not.
    KV_VALUE = "kv/value",
    BLOCK_UUID = "block/uuid",
    BLOCK_PARENT = "block/parent",
    BLOCK_PAGE = "block/page",
    BLOCK_ORDER = "block/order",
    BLOCK_TITLE = "block/title",
    BLOCK_NAME = "block/name",
    BLOCK_CREATED_AT = "block/created-at",
    BLOCK_UPDATED_AT = "block/updated-at",
    BLOCK_COLLAPSED = "block/collapsed?",
    BLOCK_TX_ID = "block/tx-id",
    BLOCK_JOURNAL_DAY = "block/journal-day",
    BLOCK_WARNING = "block/warning",
    BLOCK_LINK = "block/link",
    BLOCK_REFS = "block/refs",
    BLOCK_CLOSED_VALUE_PROPERTY = "block/closed-value-property",
    FILE_PATH = "file/path",
    FILE_CONTENT = "file/content",
    FILE_CREATED_AT = "file/created-at",
    FILE_LAST_MODIFIED_AT = "file/last-modified-at",
    FILE_SIZE = "file/size",
    // From here on the attributes may be properties (sync.md 11.6); those before never are.
    BLOCK_ALIAS = "block/alias",
    BLOCK_TAGS = "block/tags",
    BUILT_IN = "logseq.property/built-in?",
    CREATED_BY_REF = "logseq.property/created-by-ref",
    CREATED_FROM_PROPERTY = "logseq.property/created-from-property",
    DELETED_AT = "logseq.property/deleted-at",
    PROPERTY_VALUE = "logseq.property/value",
    PROPERTY_TYPE = "logseq.property/type",
    PROPERTY_HIDE = "logseq.property/hide?",
    PROPERTY_PUBLIC = "logseq.property/public?",
    PROPERTY_UI_POSITION = "logseq.property/ui-position",
    PROPERTY_VIEW_CONTEXT = "logseq.property/view-context",
    PROPERTY_CLASSES = "logseq.property/classes",
    VIEW_FOR = "logseq.property/view-for",
    CLASS_EXTENDS = "logseq.property.class/extends",
    ASSET_TYPE = "logseq.property.asset/type",
    ASSET_CHECKSUM = "logseq.property.asset/checksum",
    ASSET_SIZE = "logseq.property.asset/size",
    ASSET_WIDTH = "logseq.property.asset/width",
    ASSET_HEIGHT = "logseq.property.asset/height",
    ASSET_ALIGN = "logseq.property.asset/align",
    HISTORY_BLOCK = "logseq.property.history/block",
    HISTORY_PROPERTY = "logseq.property.history/property",
    HISTORY_REF_VALUE = "logseq.property.history/ref-value",
    HISTORY_SCALAR_VALUE = "logseq.property.history/scalar-value",
    REACTION_EMOJI_ID = "logseq.property.reaction/emoji-id",
    REACTION_TARGET = "logseq.property.reaction/target",
}

/// Whether facts with an attribute change the live schema.
#[inline]
pub(crate) const fn is_live(attr: Attr) -> bool {
    attr.index() < KV_VALUE.index()
}

/// Whether an attribute is one of those constants that are never a property.
pub(crate) const fn is_plain(attr: Attr) -> bool {
    attr.index() < BLOCK_ALIAS.index()
}

#[cfg(test)]
mod tests {
    use datascript::Attrs;

    use super::*;

    #[test]
    fn constants_are_the_attributes_of_their_texts() {
        let attrs = Attrs::new(PRESET);
        assert_eq!(attrs.get("db/ident"), Some(DB_IDENT));
        assert_eq!(attrs.get("block/alias"), Some(BLOCK_ALIAS));
        assert_eq!(attrs.get("logseq.property.reaction/target"), Some(REACTION_TARGET));
        assert_eq!(attrs.len(), PRESET.len());
        assert!(is_plain(FILE_SIZE) && !is_plain(BLOCK_ALIAS));
        assert!(is_live(DB_IDENT) && is_live(DB_TUPLE_TYPES) && !is_live(KV_VALUE));
    }
}
