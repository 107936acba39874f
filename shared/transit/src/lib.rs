//! Transit-JSON: a streaming reader, a writer and a value model.
//!
//! Transit encodes rich values (keywords, symbols, UUIDs, instants, sets, maps with any keys, tagged values) in JSON, with a
//! cache that replaces repeated keywords and keys by codes of two or three characters. This crate reads the compact and
//! the verbose form and writes the compact one, as DataScript graphs are stored and sent (datascript.md 2).
//!
//! ```
//! use transit::{read_str, write_string};
//!
//! let value = read_str(r#"[["~:db/add",1,"~:block/title","a"],["^0",2,"^1","b"]]"#)?;
//! let item = &value.as_vector().expect("a vector")[1];
//! assert!(item.as_vector().expect("a vector")[0].is_keyword("db/add"));
//! assert_eq!(write_string(&value), r#"[["~:db/add",1,"~:block/title","a"],["^0",2,"^1","b"]]"#);
//! # Ok::<_, transit::ReadError>(())
//! ```
//!
//! There are two ways in and out:
//!
//! - [`read_str`] and [`write_string`] for trees of [`Value`], immutable and shared, which cross threads and clone for the
//!   price of a reference count;
//! - [`Reader`], which yields [`Token`]s whose texts are borrowed from the input, and [`Writer`], which takes values one by
//!   one, for what is read or written often: neither allocates per value.
//!
//! Reading is total. Any text gives a value or a [`ReadError`] with its kind and place; [`Limits`] bound the depth, the
//! size and the number of values; time and memory grow with the length of the text, even of one made to prevent that. What
//! a client sends is read more strictly than what we have stored: see [`Limits::strict`].

mod cache;
mod digest;
mod distinct;
mod equality;
mod error;
mod instant;
pub mod json;
mod keyword;
mod limits;
pub mod number;
mod reader;
mod scan;
mod strict;
mod token;
mod tree;
mod value;
mod write_cache;
mod writer;

pub use cache::CACHE_SLOTS;
pub use digest::hash_value;
pub use equality::same_key;
pub use error::{ErrorKind, ReadError};
pub use keyword::{Keyword, Symbol};
pub use limits::Limits;
pub use reader::Reader;
pub use token::{Cached, Text, Token};
pub use value::{MAX_SAFE_INTEGER, Scalar, Tagged, Value};
pub use writer::{CacheSlot, CacheSnapshot, Writer};

/// Reads one value of our own, leniently: [`Limits::STORED`].
pub fn read_str(text: &str) -> Result<Value, ReadError> {
    read_with(text, Limits::STORED)
}

/// [`read_str`] from bytes, which have to be UTF-8.
pub fn read_slice(bytes: &[u8]) -> Result<Value, ReadError> {
    let text = str::from_utf8(bytes).map_err(|error| ErrorKind::InvalidUtf8.at(error.valid_up_to()))?;
    read_str(text)
}

/// Reads one value: within [`Limits::CLIENT`] if others have sent it.
pub fn read_with(text: &str, limits: Limits) -> Result<Value, ReadError> {
    let mut reader = Reader::with_limits(text, limits);
    let value = reader.read_value()?;
    reader.finish()?;
    Ok(value)
}

/// Writes one value as a complete text.
pub fn write_string(value: &Value) -> String {
    let mut out = String::new();
    write_to(value, &mut out);
    out
}

/// Appends one value as a complete text.
pub fn write_to(value: &Value, out: &mut String) {
    Writer::new(out).value(value);
}
