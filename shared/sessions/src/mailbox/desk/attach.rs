//! A runner's process says what it has of the session; the session says whether that counts (session-mailbox.md 7.3).

use super::holder::begin_anew;
use super::{Decide, Desk};

/// What a runner has of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its mailbox.
    pub mailbox_id: String,
    /// Under which lease.
    pub lease: u64,
    /// The highest number of an item that it stored.
    pub work_seq: u64,
    /// The highest number of an event that it stored.
    pub out_seq: u64,
    /// The number of the agent's last process.
    pub generation: u64,
}

/// Whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The runner goes on.
    Keep,
    /// It is an old copy, or another mailbox: it is put aside.
    Stale,
    /// The session is not the runner's.
    Gone,
}

impl Verdict {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicted {
    /// Whether it counts.
    pub verdict: Verdict,
    /// The lease from now on.
    pub lease: u64,
    /// The last event that was taken in.
    pub accepted_seq: u64,
    /// The highest item that was acknowledged as stored.
    pub work_seq: u64,
    /// The highest number of a process that is known.
    pub generation: u64,
}

/// A process of the runner attached. `claim` is what it says of this session; none when its list lacks it.
pub fn on_attach(desk: &mut Desk, decide: &mut Decide<'_>, runner_key: &str, claim: Option<&Claim>) -> Verdicted {
    let lease = desk.lease;
    let Some(holder) = desk.holder.as_mut().filter(|holder| holder.runner_key == runner_key) else {
        return Verdicted { verdict: Verdict::Gone, lease, accepted_seq: 0, work_seq: 0, generation: 0 };
    };
    let counts = claim.filter(|claim| {
        claim.lease == lease
            && holder.mailbox.as_ref().is_none_or(|mailbox| *mailbox == claim.mailbox_id)
            && claim.out_seq >= holder.accepted
            && claim.work_seq >= holder.stored
            && claim.generation >= holder.generation
    });
    if let Some(claim) = counts {
        holder.mailbox.get_or_insert_with(|| claim.mailbox_id.clone());
        holder.generation = claim.generation;
        // Whatever was on its way to the process before is given out again.
        for item in &mut desk.items {
            item.given_at = item.given_at.map(|_| i64::MIN);
        }
        return answer(desk, Verdict::Keep);
    }
    if !desk.is_fresh() {
        begin_anew(desk, decide);
    }
    answer(desk, if claim.is_some() { Verdict::Stale } else { Verdict::Gone })
}

fn answer(desk: &Desk, verdict: Verdict) -> Verdicted {
    let (accepted_seq, work_seq, generation) =
        desk.holder.as_ref().map_or((0, 0, 0), |holder| (holder.accepted, holder.stored, holder.generation));
    Verdicted { verdict, lease: desk.lease, accepted_seq, work_seq, generation }
}
