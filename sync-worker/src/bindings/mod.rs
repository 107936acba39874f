//! JavaScript of the runtime that the `worker` crate lacks, or binds in a way that loses errors.

pub mod d1;
pub mod storage;
pub mod streams;
pub mod text;
