//! The checksum of a graph (sync.md 12).

pub mod blocks;
mod counted;
mod digest;
mod full;
mod print;
mod update;

pub(crate) use counted::{Counted, Reader};
pub use digest::{Checksum, NoChecksum, tuple_digest};
pub use full::full;
pub use update::{Changes, MAX_REFERENCES, Update, follow};
