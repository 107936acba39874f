//! A sliding minute (session-mailbox.md 7.9, 8.6).

use std::collections::VecDeque;

const SECOND_MS: i64 = 1_000;
const SECONDS: i64 = 60;

/// How many requests there were in the last minute, by the second.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Second and count, oldest first: at most 61 entries.
    seconds: VecDeque<(i64, u32)>,
}

impl Minute {
    /// Counts a request, unless there were `limit` in the last minute.
    ///
    /// # Errors
    /// When there were: after how many seconds there is room again, at least 1.
    pub fn take(&mut self, limit: u32, now: i64) -> Result<(), u32> {
        let second = now.div_euclid(SECOND_MS);
        // Entries of a later time are left of a clock that was set back.
        while self.seconds.front().is_some_and(|(at, _)| *at <= second.saturating_sub(SECONDS) || *at > second) {
            self.seconds.pop_front();
        }
        while self.seconds.back().is_some_and(|(at, _)| *at > second) {
            self.seconds.pop_back();
        }
        let count = self.seconds.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        if count >= limit {
            let oldest = self.seconds.front().map_or(second, |(at, _)| *at);
            let wait = oldest.saturating_add(SECONDS).saturating_sub(second);
            return Err(u32::try_from(wait).unwrap_or(1).max(1));
        }
        match self.seconds.back_mut() {
            Some((at, count)) if *at == second => *count = count.saturating_add(1),
            _ => self.seconds.push_back((second, 1)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Minute;

    #[test]
    fn so_many_in_a_sliding_minute_and_the_wait_is_told() {
        let mut minute = Minute::default();
        for _ in 0..3 {
            assert_eq!(minute.take(3, 1_000), Ok(()));
        }
        assert_eq!(minute.take(3, 31_000), Err(30));
        assert_eq!(minute.take(3, 60_999), Err(1));
        assert_eq!(minute.take(3, 61_000), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let mut minute = Minute::default();
        assert_eq!(minute.take(1, 9_000_000), Ok(()));
        assert_eq!(minute.take(1, 1_000), Ok(()));
        assert_eq!(minute.take(1, 1_000), Err(60));
    }
}
