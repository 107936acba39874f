//! What DataScript adds to Transit values: their order and the ClojureScript hash it rests on (datascript.md 3).

mod canonical;
mod hash;
mod order;
mod utf16;

pub use hash::hash;
pub(crate) use hash::take_hashed;
pub use order::{compare, compare_named, same};
pub use utf16::compare_utf16;
