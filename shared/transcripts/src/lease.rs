//! One agent a session (transcripts.md 4.9): whoever runs it holds a lease. Pure: the time comes in as an argument.

use serde::{Deserialize, Serialize};

use crate::limits::LEASE_MS;

/// Who may run the agent of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// The turn.
    pub run: u64,
    /// The attempt.
    pub attempt: u64,
    /// The sandbox or machine.
    pub holder: String,
    /// Raised whenever the session goes to another holder.
    pub generation: u64,
    /// When it is over unless it is renewed, in milliseconds since 1970.
    pub expires: i64,
    /// Whether its end by time alone lets another one have the session. A person's own machine is waited for.
    pub moves_by_time: bool,
}

/// Whoever wants a lease.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The turn.
    pub run: u64,
    /// The attempt.
    pub attempt: u64,
    /// The sandbox or machine.
    pub holder: &'a str,
    /// As [`Lease::moves_by_time`].
    pub moves_by_time: bool,
}

/// Somebody else runs the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another one runs the session")]
pub struct Held {
    /// When to ask again, in milliseconds since 1970; none when time changes nothing.
    pub until: Option<i64>,
}

impl Lease {
    /// The lease of a turn, if nobody else has one.
    pub fn take(current: Option<&Self>, wanted: &Wanted<'_>, now: i64) -> Result<Self, Held> {
        if let Some(held) = current.and_then(|current| current.keeps_out(wanted.holder, now)) {
            return Err(held);
        }
        let generation = current.map_or(1, |lease| {
            if lease.holder == wanted.holder { lease.generation } else { lease.generation.saturating_add(1) }
        });
        Ok(Self {
            run: wanted.run,
            attempt: wanted.attempt,
            holder: wanted.holder.to_owned(),
            generation,
            expires: now.saturating_add(LEASE_MS),
            moves_by_time: wanted.moves_by_time,
        })
    }

    /// Whether it keeps another holder out.
    pub fn keeps_out(&self, holder: &str, now: i64) -> Option<Held> {
        let is_over = self.moves_by_time && self.expires <= now;
        if self.holder == holder || is_over {
            return None;
        }
        Some(Held { until: self.moves_by_time.then_some(self.expires) })
    }

    /// The holder is there.
    pub fn renew(&mut self, now: i64) {
        self.expires = now.saturating_add(LEASE_MS);
    }

    /// Whether an upload of that turn and attempt comes from before the lease.
    pub fn is_later_than(&self, run: u64, attempt: u64) -> bool {
        self.run == run && self.attempt > attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(holder: &str, moves_by_time: bool) -> Wanted<'_> {
        Wanted { run: 1, attempt: 1, holder, moves_by_time }
    }

    /// Facts 29 and 30 of transcripts.md 3, as the lease of 4.9.
    #[test]
    fn a_second_sandbox_waits_for_release_expiry_or_proof() {
        let first = Lease::take(None, &wanted("a", true), 0).unwrap();
        assert_eq!((first.generation, first.expires), (1, LEASE_MS));
        let held = Lease::take(Some(&first), &wanted("b", true), LEASE_MS - 1).unwrap_err();
        assert_eq!(held.until, Some(LEASE_MS), "it is asked again when the lease is over");
        let second = Lease::take(Some(&first), &wanted("b", true), LEASE_MS).unwrap();
        assert_eq!(second.generation, 2);
        // Whoever knows that the agent has ended drops the lease: nobody waits.
        assert_eq!(Lease::take(None, &wanted("b", true), 1).unwrap().generation, 1);
    }

    #[test]
    fn the_holder_goes_on_and_renews() {
        let mut lease = Lease::take(None, &wanted("a", true), 0).unwrap();
        lease.renew(20_000);
        assert!(Lease::take(Some(&lease), &wanted("b", true), LEASE_MS).is_err());
        let again = Lease::take(Some(&lease), &Wanted { run: 2, ..wanted("a", true) }, 30_000).unwrap();
        assert_eq!((again.generation, again.run), (1, 2));
    }

    #[test]
    fn the_machine_of_a_person_is_waited_for() {
        let lease = Lease::take(None, &wanted("runner", false), 0).unwrap();
        let held = Lease::take(Some(&lease), &wanted("b", true), i64::MAX).unwrap_err();
        assert_eq!(held.until, None);
    }

    #[test]
    fn earlier_attempts_of_the_run_are_stale() {
        let lease = Lease::take(None, &Wanted { attempt: 3, ..wanted("a", true) }, 0).unwrap();
        assert!(lease.is_later_than(1, 2) && !lease.is_later_than(1, 3) && !lease.is_later_than(2, 1));
    }
}
