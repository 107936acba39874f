//! Rows of `kvs` (datascript.md 4): how nodes, the root and the tail stand in storage.

mod decode;
mod encode;
mod root;
mod tail;

pub(crate) use decode::{decode_datoms, decode_inner, decode_leaf};
pub(crate) use encode::{Encoder, encode_addresses, encoded_size, is_longer_than};
pub(crate) use root::{Root, RootFields, RootWriter};
pub(crate) use tail::{decode_tail, encode_tail};

use crate::error::Error;
use crate::storage::Addr;

fn corrupt(addr: Addr, reason: &'static str) -> Error {
    Error::Corrupt { addr, reason }
}
