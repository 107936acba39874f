//! Who is kept out of a graph, whatever the index or a cache still says: everyone, once the graph is deleted (D-70), and
//! users who were removed (D-18).
//!
//! Both are stored beside the graph and survive restarts, the wipe of an upload and, as far as removals go, a reset.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::store::gate;
use database::local::Sql;

/// How long a removal is remembered, in milliseconds: longer than any cache of access decisions holds, than a copy of the
/// index lags, and than a request that was let in before is under way.
pub const REVOCATION_MS: i64 = 10 * 60 * 1000;

/// Removals remembered at a time; beyond it the one that ends first is forgotten. Managers remove whom they like, also
/// users who never were members.
pub const REVOCATIONS: usize = 1_000;

/// A removal as the graph remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    until_ms: i64,
    /// Tells two removals of one user apart.
    number: u64,
}

/// What is stored, held in memory: at most [`REVOCATIONS`] users.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    deleted: bool,
    revocations: BTreeMap<String, Revocation>,
    numbers: u64,
}

impl Gate {
    pub(crate) fn load(sql: &impl Sql) -> Result<Self> {
        let mut revocations = BTreeMap::new();
        gate::revocations(sql, REVOCATIONS, &mut |user, until_ms| {
            revocations.insert(user.to_owned(), Revocation { until_ms, number: 0 });
        })?;
        Ok(Self { deleted: gate::is_deleted(sql)?, revocations, numbers: 0 })
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// Whether the graph was deleted: then every other operation is refused with [`Error::Deleted`].
    pub fn is_deleted(&mut self) -> Result<bool> {
        Ok(self.gate()?.deleted)
    }

    /// First step of a deletion: from here on nothing reaches the graph, though its rows are still there. Uploads,
    /// downloads and pulls that are under way fail with their next step. Repeating it does nothing.
    pub fn delete(&mut self) -> Result<()> {
        if !self.gate()?.deleted {
            gate::set_deleted(&*self.sql, self.clock.now_ms())?;
            self.gate()?.deleted = true;
            self.forget();
            self.replaced();
            self.upload_epoch += 1;
            self.running = None;
        }
        Ok(())
    }

    /// A later step of a deletion: removes everything but the mark that the graph is deleted.
    ///
    /// # Errors
    /// [`Error::NotDeleted`] for a graph that is in use.
    pub fn erase(&mut self) -> Result<()> {
        if !self.gate()?.deleted {
            return Err(Error::NotDeleted);
        }
        let wiped = self.sql.delete_all();
        self.forget_tables();
        wiped?;
        // Made durable together with the removal: nothing else reaches the storage in between.
        crate::store::ensure(&*self.sql)?;
        Ok(gate::set_deleted(&*self.sql, self.clock.now_ms())?)
    }

    /// Remembers that a user was removed.
    pub fn revoke(&mut self, user_id: &str) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let until_ms = now_ms + REVOCATION_MS;
        let gate = self.gate()?;
        gate.numbers += 1;
        let number = gate.numbers;
        gate.revocations.retain(|_, revocation| revocation.until_ms > now_ms);
        gate.revocations.insert(user_id.to_owned(), Revocation { until_ms, number });
        while gate.revocations.len() > REVOCATIONS {
            let first = gate.revocations.iter().min_by_key(|(_, one)| (one.until_ms, one.number));
            let Some(first) = first.map(|(user, _)| user.clone()) else { break };
            gate.revocations.remove(&first);
        }
        gate::set_revocation(&*self.sql, user_id, until_ms, now_ms, REVOCATIONS)?;
        Ok(())
    }

    /// The removal of a user, while it is remembered.
    pub fn revocation(&mut self, user_id: &str) -> Result<Option<Revocation>> {
        let now_ms = self.clock.now_ms();
        let found = self.gate()?.revocations.get(user_id).copied();
        Ok(found.filter(|revocation| revocation.until_ms > now_ms))
    }

    /// Forgets a removal, because the user is a member again. Another removal that came in between stays.
    pub fn lift(&mut self, user_id: &str, revocation: Revocation) -> Result<()> {
        let gate = self.gate()?;
        if gate.revocations.get(user_id) == Some(&revocation) {
            gate.revocations.remove(user_id);
            gate::drop_revocation(&*self.sql, user_id)?;
        }
        Ok(())
    }

    /// Writes the removals again, after everything else was removed.
    pub(crate) fn keep_revocations(&mut self, kept: &Gate) -> Result<()> {
        if kept.revocations.is_empty() {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        self.ensure_tables()?;
        for (user, revocation) in &kept.revocations {
            gate::set_revocation(&*self.sql, user, revocation.until_ms, now_ms, REVOCATIONS)?;
        }
        self.gate = Some(Gate::load(&*self.sql)?);
        Ok(())
    }

    /// What is stored about who is kept out.
    pub(crate) fn gate(&mut self) -> Result<&mut Gate> {
        self.ensure_tables()?;
        let loaded = match self.gate.take() {
            Some(gate) => gate,
            None => Gate::load(&*self.sql)?,
        };
        Ok(self.gate.insert(loaded))
    }

    /// Refuses once the graph is deleted.
    pub(crate) fn require_undeleted(&mut self) -> Result<()> {
        if self.gate()?.deleted { Err(Error::Deleted) } else { Ok(()) }
    }
}
