//! Rows of `kvs` (datascript.md 4): how nodes, the root and the tail stand in storage.

mod decode;

pub(crate) use decode::{decode_inner, decode_leaf};
