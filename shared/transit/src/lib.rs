#![doc = include_str!("../README.md")]

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
