//! What a session remembers of what it observes (pg-sync.md 4.9, 4.15): how far each subscription is, and what it was told last.

use serde::{Deserialize, Serialize};

/// Subscriptions of one session.
pub const MAX_WATCHES: usize = 16;

/// How far a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watching {
    /// The bridge is asked for it, until it answers or the time is over, in milliseconds since 1970.
    Pending {
        /// Then it is given up.
        until: i64,
    },
    /// The bridge has it.
    Active,
    /// The bridge is told that nobody wants it any more, until it has answered.
    Removing,
}

/// The last changes that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Taken {
    /// Of which life of the source.
    pub incarnation: i64,
    /// Up to which number.
    pub to_seq: u64,
}

/// A subscription. What is observed and what waits to be told lie in rows of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Watch {
    /// Its name.
    pub id: String,
    /// The source.
    pub source_id: String,
    /// How far it is.
    pub state: Watching,
    /// When it is looked after next.
    pub next_at: i64,
    /// How often that failed in a row.
    pub attempts: u32,
    /// The order that tells of it. Whether it is still waiting, the orders say.
    pub order: Option<u64>,
    /// The last changes that were taken.
    pub taken: Option<Taken>,
    /// The key of what was taken last: the bridge sends one thing at a time.
    pub last_key: Option<String>,
}

/// Something that a bridge sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The subscription.
    pub id: &'a str,
    /// The type of the event.
    pub kind: &'a str,
    /// By which a repetition is known.
    pub key: &'a str,
    /// The life of the source.
    pub incarnation: i64,
    /// The range of changes: after the first number, up to the second. None for everything else.
    pub range: Option<(u64, u64)>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It was taken before.
    Duplicate,
    /// Changes before it are missing: the last that is there has this number.
    Behind(u64),
    /// Nobody wants it.
    Gone,
    /// It is to be taken.
    New,
}

impl Watch {
    /// One that the bridge is about to be asked for.
    pub fn pending(id: &str, source_id: &str, until: i64, next_at: i64) -> Self {
        Self {
            id: id.to_owned(),
            source_id: source_id.to_owned(),
            state: Watching::Pending { until },
            next_at,
            attempts: 0,
            order: None,
            taken: None,
            last_key: None,
        }
    }

    /// What becomes of something that has arrived for it. One that is pending wants it: the bridge has joined it.
    pub fn receives(&self, arrival: &Arrival<'_>) -> Reception {
        if self.state == Watching::Removing {
            return Reception::Gone;
        }
        if self.last_key.as_deref() == Some(arrival.key) {
            return Reception::Duplicate;
        }
        let taken = self.taken.filter(|taken| taken.incarnation == arrival.incarnation);
        match (arrival.range, taken) {
            (Some((_, to)), Some(taken)) if to <= taken.to_seq => Reception::Duplicate,
            (Some((after, _)), Some(taken)) if after > taken.to_seq => Reception::Behind(taken.to_seq),
            _ => Reception::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &'static str, incarnation: i64, after: u64, to: u64) -> Arrival<'static> {
        Arrival { id: "s", kind: "pg_sync.change", key, incarnation, range: Some((after, to)) }
    }

    #[test]
    fn each_change_is_taken_once_and_none_is_passed_over() {
        let mut watch = Watch::pending("s", "o", 10, 5);
        assert_eq!(watch.receives(&change("a", 1, 4, 6)), Reception::New, "the first begins anywhere");
        watch.taken = Some(Taken { incarnation: 1, to_seq: 6 });
        watch.last_key = Some("a".into());
        assert_eq!(watch.receives(&change("a", 1, 4, 6)), Reception::Duplicate);
        assert_eq!(watch.receives(&change("b", 1, 2, 5)), Reception::Duplicate);
        assert_eq!(watch.receives(&change("b", 1, 7, 9)), Reception::Behind(6));
        assert_eq!(watch.receives(&change("b", 1, 6, 9)), Reception::New);
        assert_eq!(watch.receives(&change("b", 1, 4, 9)), Reception::New, "built anew from further back");
        assert_eq!(watch.receives(&change("b", 2, 0, 1)), Reception::New, "another life of the source");
        let gap = |key| Arrival { kind: "pg_sync.gap", range: None, ..change(key, 1, 0, 0) };
        assert_eq!(watch.receives(&gap("a")), Reception::Duplicate);
        assert_eq!(watch.receives(&gap("c")), Reception::New);
        watch.state = Watching::Removing;
        assert_eq!(watch.receives(&gap("c")), Reception::Gone);
    }
}
