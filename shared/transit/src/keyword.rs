//! Keywords and symbols: shared texts with an optional namespace.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where the namespace ends: at the first `/`, unless the text is nothing but that (datascript.md 1).
fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((namespace, name)) if text.len() > 1 => (Some(namespace), name),
        _ => (None, text),
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it stands in Transit after the tag; nothing is checked.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The whole text, namespace included.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The whole text, shared.
            pub fn text(&self) -> &Arc<str> {
                &self.0
            }

            /// The part before the first `/`.
            pub fn namespace(&self) -> Option<&str> {
                split(&self.0).0
            }

            /// The part after the first `/`, or all of it.
            pub fn name(&self) -> &str {
                split(&self.0).1
            }

            /// Whether both share one allocation, which implies equality and costs nothing.
            pub fn ptr_eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.ptr_eq(other) || self.0 == other.0
            }
        }

        impl Eq for $name {}

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

named!(
    /// A keyword. The text is without the colon; two keywords are equal when their texts are.
    Keyword,
    ":{}"
);
named!(
    /// A symbol; two symbols are equal when their texts are.
    Symbol,
    "{}"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_ends_the_namespace() {
        for (text, namespace, name) in [
            ("block/uuid", Some("block"), "uuid"),
            ("a/b/c", Some("a"), "b/c"),
            ("title", None, "title"),
            ("/", None, "/"),
            ("", None, ""),
            ("/x", Some(""), "x"),
        ] {
            let keyword = Keyword::new(text);
            assert_eq!((keyword.namespace(), keyword.name()), (namespace, name), "{text}");
        }
        assert_eq!(Keyword::new("a/b").to_string(), ":a/b");
        assert_eq!(Symbol::new("a/b").to_string(), "a/b");
    }
}
