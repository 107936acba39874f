//! The tables of one graph and the statements over them (sync.md 9).
//!
//! Nothing here decides anything; every write is meant to run inside a transaction that the caller opens.

pub(crate) mod discard;
pub(crate) mod gate;
pub(crate) mod journal;
pub(crate) mod kvs;
pub(crate) mod log;
pub(crate) mod meta;
mod schema;
mod statements;
pub(crate) mod upload_mark;

pub(crate) use schema::ensure;
