//! Leases are renewed while a turn runs (session-mailbox.md 7.5).

use super::{Decide, Desk};
use crate::mailbox::limits;

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The runner has the session, for at least so many milliseconds.
    Held {
        /// In milliseconds.
        expires_in_ms: i64,
        /// The run that the runner may have a token for: the one that it named, if it was given that.
        token_for: Option<(u64, u64)>,
    },
    /// Somebody else has it, or nobody, or it is another copy that counts.
    Lost,
}

/// The runner renews its lease. One that lapsed holds again, for it gives the session to nobody. `run` and attempt are those that it wants a token for.
pub fn renew(desk: &mut Desk, decide: &Decide<'_>, runner_key: &str, lease: u64, run: Option<(u64, u64)>) -> Renewed {
    let is_current = lease == desk.lease;
    let holder = desk.holder.as_mut().filter(|holder| is_current && holder.runner_key == runner_key);
    let Some(holder) = holder else { return Renewed::Lost };
    holder.held_until = Some(decide.after(limits::LEASE_MS));
    let given = desk.prompt.as_ref().filter(|prompt| prompt.was_given || prompt.is_stored);
    let token_for =
        run.filter(|(run, attempt)| given.is_some_and(|prompt| prompt.run == *run && prompt.attempt == *attempt));
    Renewed::Held { expires_in_ms: limits::LEASE_MS, token_for }
}
