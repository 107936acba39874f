//! What a session waits for, as an operator is shown it (agents.md 20.10).

use crate::session::{ApprovalState, Phase, State};

/// A told deadline is told anew when it comes nearer than this, in milliseconds: deadlines of running turns move on with each frame.
const RENEWAL_MS: i64 = 2 * 60_000;
/// One that moved by less is let be. It is shown only when it is overdue by more than this ([`crate::registry::operator`]).
const LEAST_MOVE_MS: i64 = 30_000;

/// Something that a session waits for, and when it is settled in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub state: &'static str,
    /// When it is settled, in milliseconds since 1970.
    pub deadline: i64,
}

impl Wait {
    /// Whether an operator has to be told of `now`, who was told `told` last.
    pub fn is_news(told: Option<Self>, current: Option<Self>, now: i64) -> bool {
        match (told, current) {
            (None, None) => false,
            (Some(told), Some(current)) if told.state == current.state => {
                let is_moved = current.deadline.abs_diff(told.deadline) >= LEAST_MOVE_MS.unsigned_abs();
                is_moved && told.deadline.saturating_sub(now) < RENEWAL_MS
            }
            _ => true,
        }
    }
}

/// What ends first of all that the session waits for. An idle runtime and an order that may be sent are no such thing: they last as
/// long as a person wants.
pub fn first_wait(state: &State) -> Option<Wait> {
    if let Some(removal) = state.removal {
        return Some(Wait { state: "removing", deadline: removal.retry_at });
    }
    let wait = |state, deadline: Option<i64>| deadline.map(|deadline| Wait { state, deadline });
    let open = |approval: &&crate::session::Approval| approval.state == ApprovalState::Open;
    let approval = state.approvals.iter().filter(open).map(|approval| approval.deadline).min();
    // What waits for a runner that is away waits for a person.
    let is_bounded = |phase: Phase| phase != Phase::Waiting && !(phase == Phase::Running && state.is_cut_off());
    let turn = state.turn.as_ref().filter(|turn| turn.phase != Phase::Running || approval.is_none());
    let turn = turn.filter(|turn| is_bounded(turn.phase));
    [
        wait("provisioning", state.provisioning.map(|work| work.lease.until)),
        wait("building", state.build.as_ref().map(|build| build.deadline)),
        wait("turn", turn.map(|turn| turn.until)),
        wait("approval", approval),
        wait("ending", state.ending.map(|ending| ending.lease.until)),
        wait("publishing", state.publishing.map(|lease| lease.until)),
        wait("snapshot", state.snapshotting.map(|lease| lease.until)),
        wait("keeping", state.transcript.keeping.map(|keeping| keeping.lease.until)),
    ]
    .into_iter()
    .flatten()
    .min_by_key(|wait| wait.deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Lease;

    #[test]
    fn the_first_of_all_that_is_waited_for() {
        let mut state = State::new("s", "ann", 0);
        assert_eq!(first_wait(&state), None);
        state.publishing = Some(Lease { generation: 1, until: 50 });
        state.snapshotting = Some(Lease { generation: 2, until: 40 });
        assert_eq!(first_wait(&state), Some(Wait { state: "snapshot", deadline: 40 }));
        state.removal = Some(crate::session::Removal { attempt: 0, retry_at: 90 });
        assert_eq!(first_wait(&state), Some(Wait { state: "removing", deadline: 90 }));
    }

    #[test]
    fn a_deadline_that_moves_is_told_before_it_is_over() {
        let turn = |deadline| Some(Wait { state: "turn", deadline });
        assert!(Wait::is_news(None, turn(1_000_000), 0));
        assert!(Wait::is_news(turn(1_000_000), None, 0));
        assert!(Wait::is_news(turn(1_000_000), Some(Wait { state: "ending", deadline: 1_000_000 }), 0));
        assert!(!Wait::is_news(turn(1_000_000), turn(1_000_000), 999_999));
        assert!(!Wait::is_news(turn(1_000_000), turn(1_500_000), 880_000));
        assert!(Wait::is_news(turn(1_000_000), turn(1_500_000), 880_001));
        assert!(!Wait::is_news(turn(1_000_000), turn(1_029_999), 999_999), "hardly moved");
        assert!(!Wait::is_news(None, None, 0));
    }
}
