//! Which events a caller asks for (agents.md 2.6.9, 3.12).

use serde::Serialize;

use super::Event;

/// How many events are answered when the caller names no number.
pub const DEFAULT_LIMIT: usize = 1000;
/// How many events are answered at most (agents.md 2.8).
pub const MAX_LIMIT: usize = 10_000;

/// A caller's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Only events of a later time, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only stored events with a greater number.
    pub cursor: Option<i64>,
    /// The first so many.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { since: None, cursor: None, limit: DEFAULT_LIMIT }
    }
}

impl Query {
    /// Reads the parameters of the address. What is no number counts as not given; of `12abc` the 12 counts.
    pub fn read(since: Option<&str>, cursor: Option<&str>, limit: Option<&str>) -> Self {
        let limit = limit
            .and_then(leading_integer)
            .map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit.max(0)).unwrap_or(MAX_LIMIT));
        Self {
            since: since.and_then(leading_integer),
            cursor: cursor.and_then(leading_integer),
            limit: limit.min(MAX_LIMIT),
        }
    }

    fn admits(&self, cursor: Option<u64>, ts: i64) -> bool {
        // A number beyond what a question can name is greater than any that it does name.
        let number = cursor.map(|cursor| i64::try_from(cursor).unwrap_or(i64::MAX));
        self.since.is_none_or(|since| ts > since)
            && self.cursor.zip(number).is_none_or(|(asked, number)| number > asked)
    }

    /// The answer: stored events in their order, then the messages that are still being written. `dropped` is the youngest
    /// event that retention took out of the log, if any. Live messages have no number and always come after a cursor.
    pub fn page<'a>(&self, stored: &'a [Event], live: &'a [Event], dropped: Option<Dropped>) -> Page<'a> {
        let events =
            stored.iter().chain(live).filter(|event| self.admits(event.cursor, event.ts)).take(self.limit).collect();
        Page { events, truncated: dropped.is_some_and(|dropped| self.admits(Some(dropped.cursor), dropped.ts)) }
    }
}

/// An event that the log no longer holds (agents.md 3.1, retention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its number.
    pub cursor: u64,
    /// Its time, in milliseconds since 1970.
    pub ts: i64,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<'a> {
    /// The events.
    pub events: Vec<&'a Event>,
    /// Whether events that were asked for are no longer there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The integer that a text begins with, as JavaScript's `parseInt` reads it. One that is too large is the largest.
fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..end).filter(|digits| !digits.is_empty())?;
    let number = digits.parse().unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
}
