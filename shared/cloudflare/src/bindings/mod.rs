//! JavaScript of the runtime that the `worker` crate lacks, or binds in a way that loses errors.

pub(crate) mod crypto;
pub(crate) mod d1;
pub(crate) mod storage;
pub(crate) mod streams;
pub mod text;
