//! Sums over facts that do not depend on their order.

use std::hash::{BuildHasher, Hasher};

use transit::Value;

use crate::datom::Datom;

/// Count and sum of digests, which have a secret: rows that were prepared to look alike do not.
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
    let mut hasher = keyed::Build::default().build_hasher();
    hasher.write_u32(datom.e);
    hasher.write_usize(datom.a.index());
    hasher.write_u32(datom.tx);
    match &datom.v {
        Value::Int(number) => hasher.write_i64(*number),
        Value::String(text) => hasher.write(text.as_bytes()),
        Value::Uuid(uuid) => hasher.write(uuid.as_bytes()),
        other => transit::hash_value(other, &mut hasher),
    }
    hasher.finish()
}
