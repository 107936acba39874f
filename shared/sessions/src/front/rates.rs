//! How often a user may ask (agents.md 18): a bucket of tokens for each user and kind of request.

use std::num::NonZeroUsize;

use keyed::Cache;

use crate::error::Error;
use crate::mailbox::Minute;
use crate::mailbox::limits::{FAILED_TOKENS_A_MINUTE, REGISTRATIONS_A_MINUTE};

/// Kinds of requests that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Creations of sessions.
    Create,
    /// Messages.
    Message,
    /// Everything that steers a session.
    Control,
    /// Lists of branches.
    Branches,
    /// Git's credentials of one session, by its id.
    GitCredentials,
    /// Calls of tools in one session, by its id.
    Tools,
    /// Registrations of runners that call us.
    Register,
}

impl Kind {
    /// Requests of one user in a minute.
    fn a_minute(self) -> i64 {
        match self {
            Self::Create => 10,
            Self::Register => i64::from(REGISTRATIONS_A_MINUTE),
            Self::Branches | Self::GitCredentials => 30,
            Self::Message | Self::Control => 60,
            Self::Tools => 120,
        }
    }
}

const MINUTE_MS: i64 = 60_000;
/// Users and kinds that are remembered. Whoever is forgotten begins with a full bucket.
const BUCKETS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// A bucket: thousandths of a token, and when they were counted.
#[derive(Clone, Copy)]
struct Bucket {
    thousandths: i64,
    at: i64,
}

/// All buckets, hashed with a secret.
pub(super) struct Rates {
    buckets: Cache<(String, Kind), Bucket>,
    /// Refused tokens of runners, by the address that they came from.
    failed: Cache<String, Minute>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { buckets: Cache::new(BUCKETS), failed: Cache::new(BUCKETS) }
    }
}

impl Rates {
    /// Takes a token; without one it says when there is the next.
    pub(super) fn take(&self, user: &str, kind: Kind, now: i64) -> Result<(), Error> {
        let (key, full) = ((user.to_owned(), kind), kind.a_minute() * 1_000);
        let bucket = self.buckets.get(&key, now).unwrap_or(Bucket { thousandths: full, at: now });
        let gained = now.saturating_sub(bucket.at).clamp(0, MINUTE_MS) * full / MINUTE_MS;
        let have = bucket.thousandths.saturating_add(gained).min(full);
        let is_enough = have >= 1_000;
        let left = if is_enough { have - 1_000 } else { have };
        self.buckets.put(key, Bucket { thousandths: left, at: now }, now..now.saturating_add(MINUTE_MS));
        if is_enough {
            return Ok(());
        }
        let missing_ms = (1_000 - left) * MINUTE_MS / full;
        Err(Error::RateLimited(u32::try_from(missing_ms.div_euclid(1_000) + 1).unwrap_or(1)))
    }

    /// A token of a runner was refused (session-mailbox.md 7.9).
    ///
    /// # Errors
    /// [`Error::RateLimited`] when there were too many from this address in the last minute.
    pub(super) fn failed_token(&self, address: &str, now: i64) -> Result<(), Error> {
        let mut minute = self.failed.get(address, now).unwrap_or_default();
        let taken = minute.take(FAILED_TOKENS_A_MINUTE, now);
        self.failed.put(address.to_owned(), minute, now..now.saturating_add(MINUTE_MS));
        taken.map_err(Error::RateLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        for kind in [Kind::Create, Kind::Message, Kind::Control, Kind::Branches, Kind::GitCredentials, Kind::Tools] {
            let rates = Rates::default();
            for _ in 0..kind.a_minute() {
                assert_eq!(rates.take("ann", kind, 0), Ok(()));
            }
            assert!(matches!(rates.take("ann", kind, 0), Err(Error::RateLimited(_))), "{kind:?}");
            assert_eq!(rates.take("bob", kind, 0), Ok(()));
            assert_eq!(rates.take("ann", kind, MINUTE_MS / kind.a_minute() + 1), Ok(()));
            assert!(rates.take("ann", kind, MINUTE_MS / kind.a_minute() + 1).is_err());
        }
    }

    #[test]
    fn the_answer_says_when_to_come_again() {
        let rates = Rates::default();
        for _ in 0..10 {
            rates.take("ann", Kind::Create, 0).unwrap();
        }
        assert_eq!(rates.take("ann", Kind::Create, 0), Err(Error::RateLimited(7)));
    }
}
