//! One who observes, as a session does (pg-sync.md 4.9): it keeps the last number that it has, and what it was told.

use std::collections::{BTreeMap, HashSet};

use pg_sync::bridge::Outcome;
use serde_json::Value as Json;

use crate::rig::Storage;

/// What an observer has. It is stored with each thing that it takes, so it survives everything.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// `None`: all operations.
    pub(crate) operation: Option<&'static str>,
    /// Whether it has had the table, and wants nothing older.
    has_table: bool,
    /// How many changes had been committed when it was told that it observes.
    pub(crate) joined_at: Option<usize>,
    has_seq: u64,
    keys: HashSet<String>,
    /// Places of changes, as they were told.
    pub(crate) told: Vec<(u64, u64)>,
    /// When it last had the table: after how many changes.
    pub(crate) read_at: Option<usize>,
    /// What it was told since then of the rows of the table: where each was written last, or that it is gone.
    pub(crate) rows: BTreeMap<u64, Option<(u64, u64)>>,
    /// How many differences it was told.
    pub(crate) differences: u64,
    pub(crate) gaps: u64,
    pub(crate) has_ended: bool,
    last_was_blocked: bool,
}

impl Client {
    pub(crate) fn new(id: String, operation: Option<&'static str>, has_table: bool) -> Self {
        Self {
            id,
            operation,
            has_table,
            joined_at: None,
            has_seq: 0,
            keys: HashSet::new(),
            told: Vec::new(),
            read_at: None,
            rows: BTreeMap::new(),
            differences: 0,
            gaps: 0,
            has_ended: false,
            last_was_blocked: false,
        }
    }

    /// Takes what it is sent. A wake that tells only a part is read on, as with the route of changes; at a gap the table is read, as it
    /// is after the changes that are told by then: what it shows beyond those would have to be told by nobody.
    pub(crate) fn take(&mut self, key: &str, body: &str, storage: &Storage, told_at: usize) -> Outcome {
        let body: Json = serde_json::from_str(body).unwrap();
        assert_eq!(body["key"], key);
        if body["type"] != "pg_sync.change" {
            if !self.keys.insert(key.to_owned()) {
                return Outcome::Taken;
            }
            match body["type"].as_str().unwrap() {
                "pg_sync.gap" => {
                    self.gaps += body["count"].as_u64().unwrap();
                    self.read_at = Some(told_at);
                    self.rows.clear();
                }
                "pg_sync.blocked" => assert!(!std::mem::replace(&mut self.last_was_blocked, true), "told once"),
                "pg_sync.recovered" => assert!(std::mem::replace(&mut self.last_was_blocked, false), "told once"),
                "pg_sync.throttled" => {}
                "pg_sync.ended" => self.has_ended = true,
                other => panic!("{other}"),
            }
            return Outcome::Taken;
        }
        let (after, to) = (body["after_seq"].as_u64().unwrap(), body["to_seq"].as_u64().unwrap());
        if self.has_seq == 0 && (self.keys.is_empty() || self.has_table) {
            self.has_seq = after;
        }
        if to <= self.has_seq {
            return Outcome::Taken;
        }
        if after > self.has_seq {
            return Outcome::Behind(self.has_seq);
        }
        assert_eq!(after, self.has_seq, "{key}: a range begins where the one before ended");
        let mut told = body["changes"].as_array().unwrap().clone();
        if body["more"] == true {
            let mut rows: Vec<_> = storage
                .rows
                .values()
                .filter(|row| row.seq > after && row.seq <= to)
                .filter(|row| self.operation.is_none_or(|operation| row.operation.as_str() == operation))
                .collect();
            rows.sort_by_key(|row| row.seq);
            told = rows.into_iter().map(pg_sync::change::Change::to_json).collect();
        }
        let counts = ["insert", "update", "delete"].map(|operation| body["counts"][operation].as_u64().unwrap());
        assert_eq!(counts.iter().sum::<u64>(), told.len() as u64, "{key}: counts are those of the changes");
        for change in &told {
            self.note(change);
        }
        self.has_seq = to;
        self.keys.insert(key.to_owned());
        Outcome::Taken
    }

    fn note(&mut self, change: &Json) {
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let place = |text: &str| {
            let (tx, op) = text.split_once('_').unwrap();
            (tx.parse().unwrap(), op.parse().unwrap())
        };
        if let Some(tx) = change["tx"].as_str() {
            self.told.push((tx.parse().unwrap(), change["op"].as_u64().unwrap()));
        } else {
            assert_eq!(change["synthetic"], true);
            self.differences += 1;
        }
        let written = (change["operation"] != "delete").then(|| place(&text(&change["value"]["place"])));
        self.rows.insert(text(&change["key"]).parse().unwrap(), written);
    }

    /// It loses what it has taken last, as one restored from an older copy would.
    pub(crate) fn has_seq(&self) -> u64 {
        self.has_seq
    }
}
