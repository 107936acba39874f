//! The request that waits for work. Kept in memory: whoever waits is gone with the object.

use super::{Runner, Times};

/// How a waiting request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Without items.
    Ended,
    /// 409 `runner superseded`.
    Superseded,
    /// 401 `runner revoked`.
    Revoked,
}

/// Requests for work: one waits at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    number: u64,
    end: Option<(u64, Woken)>,
}

/// What a request for work does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// It is answered without items.
    Answer(Woken),
    /// Sessions may have work: it is fetched. If they give nothing, the request asks again.
    Fetch,
    /// It waits to be woken, at most until this time.
    Wait(i64),
}

impl Waiting {
    /// A request begins; the one before ends. Gives its number.
    pub fn begin(&mut self) -> u64 {
        self.number = self.number.saturating_add(1);
        self.number
    }

    /// All requests that wait now end like this.
    pub fn end(&mut self, how: Woken) {
        self.end = Some((self.number, how));
    }

    /// What the request `number` does, which began at `began_at` and asked to wait so many milliseconds.
    pub fn next(&self, runner: &Runner, times: &Times, number: u64, began_at: i64, asked_ms: i64, now: i64) -> Poll {
        if let Some((through, how)) = self.end
            && number <= through
        {
            return Poll::Answer(how);
        }
        if number < self.number {
            return Poll::Answer(Woken::Ended);
        }
        if runner.with_work().next().is_some() {
            return Poll::Fetch;
        }
        let until = began_at.saturating_add(times.wait(asked_ms));
        if until <= now { Poll::Answer(Woken::Ended) } else { Poll::Wait(until) }
    }
}
