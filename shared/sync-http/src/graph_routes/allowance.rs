//! How much a user was sent lately in answer to pulls.
//!
//! Nothing tells whether a client reads: what it is sent waits in the platform, whose memory all graphs of an isolate share.
//! So whoever asks for more than can be meant is not answered any more. An allowance is used up by what is sent, and comes back
//! evenly with time.

use std::cell::RefCell;

use protocol::limits::{COUNTED_PULLERS, PULL_RETURN_MS, PULLS_AT_ONCE};

/// What the users of a graph have used up, at most [`COUNTED_PULLERS`] of them.
#[derive(Debug, Default)]
pub(crate) struct Allowances(RefCell<keyed::Map<String, Used>>);

/// What one user has used up.
#[derive(Clone, Copy, Debug)]
struct Used {
    bytes: u64,
    /// When that was so.
    at_ms: i64,
}

impl Used {
    /// The same later, when some of it has come back.
    fn later(self, largest: u64, now_ms: i64) -> Self {
        let ms = now_ms.saturating_sub(self.at_ms).max(0).unsigned_abs();
        let back = ms.saturating_mul(largest) / PULL_RETURN_MS;
        Self { bytes: self.bytes.saturating_sub(back), at_ms: now_ms }
    }
}

impl Allowances {
    /// Whether a user may ask for another pull, where `largest` is the greatest length of one. The last one that may can
    /// pass the allowance, by its own length.
    pub(super) fn admits(&self, user: &str, largest: u64, now_ms: i64) -> bool {
        let used = self.0.borrow().get(user).copied();
        used.is_none_or(|used| used.later(largest, now_ms).bytes < PULLS_AT_ONCE.saturating_mul(largest))
    }

    /// Counts what was made for a user.
    pub(super) fn charge(&self, user: &str, bytes: u64, largest: u64, now_ms: i64) {
        let mut users = self.0.borrow_mut();
        if let Some(used) = users.get_mut(user) {
            let now = used.later(largest, now_ms);
            *used = Used { bytes: now.bytes.saturating_add(bytes), ..now };
            return;
        }
        if users.len() >= COUNTED_PULLERS {
            make_room(&mut users, largest, now_ms);
        }
        users.insert(user.to_owned(), Used { bytes, at_ms: now_ms });
    }
}

/// Forgets those who have everything back, or else who has used least.
fn make_room(users: &mut keyed::Map<String, Used>, largest: u64, now_ms: i64) {
    users.retain(|_, used| used.later(largest, now_ms).bytes > 0);
    if users.len() < COUNTED_PULLERS {
        return;
    }
    let least = users.iter().min_by_key(|(_, used)| used.later(largest, now_ms).bytes).map(|(user, _)| user.clone());
    if let Some(user) = least {
        users.remove(&user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u64 = 1 << 20;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let users = Allowances::default();
        for n in 0..PULLS_AT_ONCE {
            assert!(users.admits("a", LARGEST, 0), "{n}");
            users.charge("a", LARGEST, LARGEST, 0);
        }
        assert!(!users.admits("a", LARGEST, 0));
        assert!(users.admits("b", LARGEST, 0), "nobody else's");
        assert!(!users.admits("a", LARGEST, -5), "a clock that goes back brings nothing");
        assert!(users.admits("a", LARGEST, 1));
        users.charge("a", LARGEST, LARGEST, 1);
        assert!(!users.admits("a", LARGEST, 59_000), "one a minute comes back");
        assert!(users.admits("a", LARGEST, 61_000));
    }

    #[test]
    fn what_comes_back_in_small_parts_is_all_of_it() {
        let users = Allowances::default();
        users.charge("a", PULLS_AT_ONCE * LARGEST, LARGEST, 0);
        for ms in 1..=60_000 {
            users.charge("a", 0, LARGEST, ms);
        }
        users.charge("a", LARGEST * 9 / 10, LARGEST, 60_000);
        assert!(users.admits("a", LARGEST, 60_000));
    }

    #[test]
    fn users_are_counted_up_to_a_number_and_the_greediest_stay() {
        let users = Allowances::default();
        users.charge("greedy", PULLS_AT_ONCE * LARGEST, LARGEST, 0);
        for n in 0..3 * COUNTED_PULLERS {
            users.charge(&format!("u{n}"), 10_000, LARGEST, 0);
        }
        assert_eq!(users.0.borrow().len(), COUNTED_PULLERS);
        assert!(!users.admits("greedy", LARGEST, 0));
        users.charge("late", 1, LARGEST, 1_000_000);
        assert_eq!(users.0.borrow().len(), 1, "who has everything back is forgotten");
    }
}
