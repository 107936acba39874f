//! A shape service with one shape, in memory: what it answers follows pg-sync.md 2.8. It hears of commits a little later, as through a
//! replication slot; rows that it is asked for it reads from the table itself.

use std::collections::BTreeMap;

use pg_sync::answer::Answer;
use pg_sync::shape::{Ask, Cursor};
use serde_json::{Value as Json, json};

use super::Rng;
use crate::rig::message;

/// One change of a row, by its place in the log of the database.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: (u64, u64),
    pub(crate) operation: &'static str,
    pub(crate) key: u64,
}

#[derive(Debug)]
pub(crate) struct Service {
    /// All that was ever committed.
    pub(crate) rows: Vec<Row>,
    /// How many of those it has heard of.
    heard: usize,
    next_tx: u64,
    /// Which log is served, and how many rows came before it.
    handle: u64,
    begin: usize,
    /// So many changes at most in one answer.
    chunk: usize,
    /// Faults happen.
    pub(crate) is_moody: bool,
}

const AT_THE_BEGINNING: &str = "0_inf";

impl Service {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let chunk = [1, 2, 3, 7, 1_000][usize::try_from(rng.below(5)).unwrap()];
        Self { rows: Vec::new(), heard: 0, next_tx: 100, handle: 1, begin: 0, chunk, is_moody: true }
    }

    /// A transaction commits.
    pub(crate) fn commit(&mut self, rng: &mut Rng) {
        self.next_tx += 1 + rng.below(3);
        let size = [1, 1, 1, 3, 10, 60][usize::try_from(rng.below(6)).unwrap()];
        let mut op = 0;
        let mut table = self.table(self.rows.len());
        for _ in 0..size {
            let key = rng.below(8);
            let operation = match table.contains_key(&key) {
                false => "insert",
                true if rng.percent(50) => "update",
                true => "delete",
            };
            let mut push = |op, operation, key| {
                let row = Row { place: (self.next_tx, op), operation, key };
                row.happens_to(&mut table);
                self.rows.push(row);
            };
            if operation == "delete" && rng.percent(20) {
                // A changed key: the row leaves, and another one comes.
                push(op, "delete", key);
                push(op + 1, "insert", key + 100 + op);
            } else {
                push(op, operation, key);
            }
            op += 2;
        }
        if rng.percent(70) {
            self.hears();
        }
    }

    /// It hears of everything that was committed.
    pub(crate) fn hears(&mut self) {
        self.heard = self.rows.len();
    }

    /// The table after so many changes: the rows by their keys, each with the place where it was written.
    pub(crate) fn table(&self, changes: usize) -> BTreeMap<u64, (u64, u64)> {
        let mut table = BTreeMap::new();
        self.rows.iter().take(changes).for_each(|row| row.happens_to(&mut table));
        table
    }

    /// The log is replaced: truncation, another schema, eviction.
    pub(crate) fn rotate(&mut self) {
        self.handle += 1;
        self.begin = self.heard;
    }

    /// How many rows lie before a cursor's place; `None` for one of another log.
    pub(crate) fn index(&self, cursor: &Cursor) -> Option<usize> {
        (cursor.handle == format!("log-{}", self.handle)).then(|| self.index_of_offset(&cursor.offset))
    }

    fn index_of_offset(&self, offset: &str) -> usize {
        if offset == AT_THE_BEGINNING {
            return 0;
        }
        let (tx, op) = offset.split_once('_').unwrap();
        let place: (u64, u64) = (tx.parse().unwrap(), op.parse().unwrap());
        self.rows.partition_point(|row| row.place <= place)
    }

    fn offset(&self, index: usize) -> String {
        index.checked_sub(1).map_or_else(
            || AT_THE_BEGINNING.to_owned(),
            |last| {
                let (tx, op) = self.rows[last].place;
                format!("{tx}_{op}")
            },
        )
    }

    /// What is answered.
    pub(crate) fn answer(&self, ask: &Ask, rng: &mut Rng) -> Answer {
        if self.is_moody && rng.percent(15) {
            return self.fault(rng);
        }
        let (from, is_now) = match ask {
            Ask::Now(_) => (self.heard, true),
            Ask::Rows(cursor) if self.index(cursor).is_some() => return self.all_rows(),
            Ask::Rows(_) => return answer(409, "", "", &[]),
            Ask::CatchUp(cursor) | Ask::Live(cursor, _) => match self.index(cursor) {
                // The log holds nothing that came before it.
                Some(from) if from >= self.begin => (from, false),
                _ => return answer(409, "", "", &[json!({"headers": {"control": "must-refetch"}})]),
            },
        };
        let to = self.heard.min(from + self.chunk);
        let mut body: Vec<Json> = self.rows[from..to].iter().map(told).collect();
        if to == self.heard {
            body.push(json!({"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}));
        }
        if self.is_moody && !is_now && rng.percent(3) {
            body.push(json!({"headers": {"control": "something-new"}}));
        }
        let text = Json::Array(body.clone()).to_string();
        if self.is_moody && rng.percent(5) {
            let cut = usize::try_from(rng.below(text.len() as u64)).unwrap();
            let (handle, offset) = (format!("log-{}", self.handle), self.offset(to));
            return crate::rig::answer(200, &handle, &offset, &text[..cut], false);
        }
        answer(200, &format!("log-{}", self.handle), &self.offset(to), &body)
    }

    /// The table as it is, which may be later than what the log tells.
    fn all_rows(&self) -> Answer {
        let row = |(key, (tx, op)): (u64, (u64, u64))| told(&Row { place: (tx, op), operation: "insert", key });
        let mut data: Vec<Json> = self.table(self.rows.len()).into_iter().map(row).collect();
        for row in &mut data {
            row["headers"] = json!({"operation": "insert", "snapshot_mark": 1});
        }
        let next = transaction(self.next_tx + 1).to_string();
        let body = json!({"metadata": {"xmin": next, "xmax": next, "xip_list": [], "snapshot_mark": 1}, "data": data});
        crate::rig::answer(200, &format!("log-{}", self.handle), "0_0", &body.to_string(), false)
    }

    fn fault(&self, rng: &mut Rng) -> Answer {
        match rng.below(12) {
            0 => answer(400, "", "", &[]),
            1 => answer(401, "", "", &[]),
            2 => answer(404, "", "", &[]),
            3 => Answer::Busy { status: 429, retry_after_ms: Some(5_000), detail: String::new() },
            4 => Answer::Busy { status: 503, retry_after_ms: None, detail: String::new() },
            5 => answer(409, "", "", &[]),
            6 => crate::rig::answer(200, &format!("log-{}", self.handle), "1_0", "<html>", false),
            7 => crate::rig::answer(200, "", "", "[]", true),
            8 if rng.percent(10) => Answer::TooLarge,
            _ => Answer::Broken("reset".into()),
        }
    }
}

fn told(row: &Row) -> Json {
    let value = json!({"id": row.key.to_string(), "place": format!("{}_{}", row.place.0, row.place.1)});
    let mut told = message(row.operation, &row.key.to_string(), row.place.0, row.place.1, &value);
    told["headers"]["txids"] = json!([transaction(row.place.0) % (1 << 32)]);
    told
}

/// The number of a transaction, as the database counts them: histories are where the lower half of them begins anew.
fn transaction(tx: u64) -> u64 {
    (7 << 32) - 150 + tx
}

impl Row {
    fn happens_to(&self, table: &mut BTreeMap<u64, (u64, u64)>) {
        if self.operation == "delete" {
            table.remove(&self.key);
        } else {
            table.insert(self.key, self.place);
        }
    }
}

fn answer(status: u16, handle: &str, offset: &str, body: &[Json]) -> Answer {
    let is_up_to_date = body.last().is_some_and(|last| last["headers"]["control"] == "up-to-date");
    crate::rig::answer(status, handle, offset, &Json::Array(body.to_vec()).to_string(), is_up_to_date)
}
