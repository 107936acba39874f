//! One who observes, as a session does (pg-sync.md 4.9): it keeps the last number that it has, and what it was told.

use std::collections::HashSet;

use pg_sync::bridge::Outcome;
use serde_json::Value as Json;

use crate::rig::{Storage, places};

/// What an observer has. It is stored with each thing that it takes, so it survives everything.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// `None`: all operations.
    pub(crate) operation: Option<&'static str>,
    /// How many changes had been committed when it was told that it observes.
    pub(crate) joined_at: Option<usize>,
    has_seq: u64,
    keys: HashSet<String>,
    /// Places of changes, as they were told.
    pub(crate) told: Vec<(u64, u64)>,
    pub(crate) gaps: u64,
    pub(crate) has_ended: bool,
    last_was_blocked: bool,
}

impl Client {
    pub(crate) fn new(id: String, operation: Option<&'static str>) -> Self {
        Self {
            id,
            operation,
            joined_at: None,
            has_seq: 0,
            keys: HashSet::new(),
            told: Vec::new(),
            gaps: 0,
            has_ended: false,
            last_was_blocked: false,
        }
    }

    /// Takes what it is sent. A wake that tells only a part is read on, as with the route of changes.
    pub(crate) fn take(&mut self, key: &str, body: &str, storage: &Storage) -> Outcome {
        let body: Json = serde_json::from_str(body).unwrap();
        assert_eq!(body["key"], key);
        if body["type"] != "pg_sync.change" {
            if !self.keys.insert(key.to_owned()) {
                return Outcome::Taken;
            }
            match body["type"].as_str().unwrap() {
                "pg_sync.gap" => self.gaps += body["count"].as_u64().unwrap(),
                "pg_sync.blocked" => assert!(!std::mem::replace(&mut self.last_was_blocked, true), "told once"),
                "pg_sync.recovered" => assert!(std::mem::replace(&mut self.last_was_blocked, false), "told once"),
                "pg_sync.throttled" => {}
                "pg_sync.ended" => self.has_ended = true,
                other => panic!("{other}"),
            }
            return Outcome::Taken;
        }
        let (after, to) = (body["after_seq"].as_u64().unwrap(), body["to_seq"].as_u64().unwrap());
        if self.has_seq == 0 && self.keys.is_empty() {
            self.has_seq = after;
        }
        if to <= self.has_seq {
            return Outcome::Taken;
        }
        if after > self.has_seq {
            return Outcome::Behind(self.has_seq);
        }
        assert_eq!(after, self.has_seq, "{key}: a range begins where the one before ended");
        let mut told = places(&body);
        if body["more"] == true {
            told = storage
                .rows
                .values()
                .filter(|row| row.seq > after && row.seq <= to)
                .filter(|row| self.operation.is_none_or(|operation| row.operation.as_str() == operation))
                .map(|row| row.position.map(|position| (position.tx, position.op)).unwrap())
                .collect();
            told.sort_unstable();
        }
        let counts = ["insert", "update", "delete"].map(|operation| body["counts"][operation].as_u64().unwrap());
        assert_eq!(counts.iter().sum::<u64>(), told.len() as u64, "{key}: counts are those of the changes");
        self.told.extend(told);
        self.has_seq = to;
        self.keys.insert(key.to_owned());
        Outcome::Taken
    }

    /// It loses what it has taken last, as one restored from an older copy would.
    pub(crate) fn has_seq(&self) -> u64 {
        self.has_seq
    }
}
