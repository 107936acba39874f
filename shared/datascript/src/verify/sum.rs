//! Sums over facts that do not depend on their order.

use std::hash::Hasher;

use rustc_hash::FxHasher;
use transit::Value;

use crate::datom::Datom;
use crate::value;

/// Count and sum of digests. Made to notice accidents, not to withstand someone who prepares facts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    count: u64,
    digests: u64,
}

impl Sum {
    /// Adds a fact; gives its digest.
    pub(super) fn add(&mut self, datom: &Datom) -> u64 {
        let digest = digest(datom);
        self.add_digest(digest);
        digest
    }

    /// How many facts.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds a fact by its digest.
    pub(super) fn add_digest(&mut self, digest: u64) {
        self.count += 1;
        self.digests = self.digests.wrapping_add(digest);
    }
}

fn digest(datom: &Datom) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u32(datom.e);
    hasher.write_usize(datom.a.index());
    hasher.write_u32(datom.tx);
    match &datom.v {
        Value::Int(number) => hasher.write_i64(*number),
        Value::String(text) => hasher.write(text.as_bytes()),
        Value::Uuid(uuid) => hasher.write(uuid.as_bytes()),
        other => hasher.write_i32(value::hash(other)),
    }
    // The hasher's own mixing is too even for sums.
    let h = hasher.finish();
    (h ^ (h >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
