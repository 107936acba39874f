//! Rows that are compared, so that what a gap has hidden is told (pg-sync.md 4.8): what is remembered of them, and what becomes of
//! an answer that holds all of them.
//!
//! At the beginning and after each gap all rows are asked for, on top of the cursor. What they show is told as differences from what was known
//! before, and the log goes on from the cursor, without the transactions that the rows show already. Whatever does not fit into the limits
//! or does not come in time leaves a gap as it is told without any of this.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Decide;
use super::state::ShownUntil;
use super::{Commit, State, Stored};
use crate::answer::{Answer, Refusal, Success};
use crate::change::{Operation, Received};
use crate::options::OnGap;
use crate::ring::{Log, MAX_ROWS};
use crate::rows::{Incomparable, Known, MAX_KNOWN_BYTES, MAX_KNOWN_ROWS, Row, Types};
use crate::snapshot::{Shown, Snapshot};

/// How long rows are asked for, with all failures and pauses, in milliseconds. So long a gap is told later than without.
const COMPARING_MS: i64 = 300_000;
/// How long it is looked at which transactions a snapshot shows, in milliseconds. A log that is behind by more is none to go on with.
const SHOWN_MS: i64 = 86_400_000;

/// What an answer with all rows says.
struct Found {
    shown: Shown,
    known: Known,
    /// What is remembered from now on, where it differs.
    rows: BTreeMap<String, Option<Row>>,
    /// Against what was known before; nothing where nothing was.
    differences: Vec<Received>,
}

impl<L: Log> Decide<'_, L> {
    /// There is a cursor. Gaps are not told and nobody has joined before the rows have come, or have not.
    pub(super) fn begin_comparing(&mut self) {
        self.bridge.stored.comparing = Some(self.now.saturating_add(COMPARING_MS));
        self.bridge.stored.state = State::Catching;
        self.pace(true);
    }

    /// What becomes of the question for all rows.
    pub(super) fn rows_answered(&mut self, answer: Answer) -> Result<(), L::Error> {
        match answer {
            Answer::Success(success) => return self.rows_came(&success),
            Answer::Rotated => self.rotated(),
            // The secret may be another one by now.
            Answer::Refused(refusal) if matches!(refusal.status, 401 | 403) && !self.bridge.memory.has_read_again => {
                self.refused(refusal);
            }
            Answer::Refused(Refusal { status, detail }) => {
                self.bridge.memory.has_read_again = false;
                self.bridge.stored.failures.last = Some(format!("{status} {detail}"));
                self.give_up_comparing(Incomparable::Unavailable);
            }
            Answer::TooLarge => self.give_up_comparing(Incomparable::TooLarge),
            Answer::Busy { status, retry_after_ms, detail } => {
                self.failed(format!("{status} {detail}"), retry_after_ms);
            }
            Answer::Broken(text) => self.failed(text, None),
        }
        Ok(())
    }

    /// Rows are not compared this time: the gap is told, and what was remembered is told by nobody any more.
    pub(super) fn give_up_comparing(&mut self, why: Incomparable) {
        if self.bridge.stored.comparing.take().is_none() {
            return;
        }
        if self.bridge.memory.asking.is_some() {
            self.give_up_request();
        }
        self.bridge.memory.next_poll_at = self.now;
        self.bridge.stored.known = why.into();
        self.commit.rows.clear();
        self.commit.forgets_rows = true;
        self.close_gap(Some(why));
    }

    fn rows_came(&mut self, success: &Success) -> Result<(), L::Error> {
        let handle = self.bridge.stored.cursor.as_ref().map(|cursor| cursor.handle.as_str());
        if success.handle.is_some() && success.handle.as_deref() != handle {
            self.rotated();
            return Ok(());
        }
        let (before, why) = match self.bridge.stored.known {
            Known::Rows { .. } => (Some(self.log.rows()?), None),
            Known::Unavailable => (None, Some(Incomparable::Unavailable)),
            Known::TooLarge => (None, Some(Incomparable::TooLarge)),
        };
        let schema = success.schema.as_deref().or(self.bridge.stored.schema.as_deref());
        let found = match found(&success.body, before, &Types::read(schema)) {
            Ok(found) => found,
            Err(why) => {
                self.give_up_comparing(why);
                return Ok(());
            }
        };
        self.recovered(success.handle.is_some());
        self.bridge.stored.comparing = None;
        if why.is_some() {
            self.commit.forgets_rows = true;
            self.close_gap(why);
        }
        self.take_in(found.differences)?;
        // The differences say all that is known of what was hidden.
        self.bridge.stored.gap = None;
        self.bridge.stored.known = found.known;
        self.commit.rows = found.rows;
        let until = self.now.saturating_add(SHOWN_MS);
        self.bridge.stored.shown = Some(ShownUntil { shown: found.shown, until });
        self.join_waiting();
        self.pace(true);
        Ok(())
    }
}

/// Compares. At most as many differences are told as the log keeps.
fn found(body: &[u8], before: Option<BTreeMap<String, Row>>, types: &Types) -> Result<Found, Incomparable> {
    let snapshot = Snapshot::read(body).map_err(|_| Incomparable::Unavailable)?;
    if snapshot.len() as u64 > MAX_KNOWN_ROWS {
        return Err(Incomparable::TooLarge);
    }
    let has_before = before.is_some();
    let mut before = before.unwrap_or_default();
    // Those that are the same still. Rows without a primary key may come twice.
    let mut same = BTreeSet::new();
    let (mut rows, mut changed) = (BTreeMap::new(), Vec::new());
    let (mut count, mut bytes) = (0, 0);
    for received in snapshot.rows() {
        let received = received.map_err(|_| Incomparable::Unavailable)?;
        let row = Row::of(&received.value, types);
        if same.contains(&received.key) || rows.get(&received.key).is_some_and(|known| *known == Some(row.clone())) {
            continue;
        }
        count += 1;
        bytes += row.bytes(&received.key);
        if bytes > MAX_KNOWN_BYTES || changed.len() as u64 > MAX_ROWS {
            return Err(Incomparable::TooLarge);
        }
        let operation = match before.remove(&received.key) {
            Some(known) if known == row => {
                same.insert(received.key);
                continue;
            }
            Some(_) => Operation::Update,
            None => Operation::Insert,
        };
        if rows.insert(received.key.clone(), Some(row)).is_some() {
            // One key, two rows: nobody knows which of them it is.
            return Err(Incomparable::Unavailable);
        }
        changed.extend(has_before.then(|| synthetic(operation, received)));
    }
    // Those that are gone come first: what was unique of them may be another row's by now.
    let mut differences: Vec<Received> = before.into_keys().map(gone).collect();
    rows.extend(differences.iter().map(|gone| (gone.key.clone(), None)));
    differences.extend(changed);
    if differences.len() as u64 > MAX_ROWS {
        return Err(Incomparable::TooLarge);
    }
    Ok(Found { shown: snapshot.shown, known: Known::Rows { count, bytes }, rows, differences })
}

fn gone(key: String) -> Received {
    let value = serde_json::Value::Object(<_>::default());
    let (operation, old_value, position, transactions) = (Operation::Delete, None, None, Vec::new());
    Received { key, operation, value, old_value, position, transactions, is_synthetic: true }
}

fn synthetic(operation: Operation, received: Received) -> Received {
    Received { operation, position: None, transactions: Vec::new(), is_synthetic: true, ..received }
}

/// What is remembered of rows, while changes come in.
pub(super) struct Remembering<'a, L> {
    log: &'a L,
    types: Types,
    known: Known,
    rows: BTreeMap<String, Option<Row>>,
}

impl<'a, L: Log> Remembering<'a, L> {
    pub(super) fn begin(stored: &Stored, log: &'a L) -> Self {
        let is_wanted = stored.source.options.on_gap == OnGap::Diff;
        let schema = stored.schema.as_deref().filter(|_| is_wanted);
        Self { log, types: Types::read(schema), known: stored.known, rows: BTreeMap::new() }
    }

    /// A change has come.
    pub(super) fn note(&mut self, change: &Received) -> Result<(), L::Error> {
        let Known::Rows { mut count, mut bytes } = self.known else { return Ok(()) };
        let before = match self.rows.get(&change.key) {
            Some(known) => known.clone(),
            None => self.log.row(&change.key)?,
        };
        if let Some(before) = &before {
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(before.bytes(&change.key));
        }
        let after = match change.operation {
            Operation::Insert => Some(Row::of(&change.value, &self.types)),
            Operation::Update => Some(before.unwrap_or_default().with(&change.value, &self.types)),
            Operation::Delete => None,
        };
        if let Some(after) = &after {
            count += 1;
            bytes += after.bytes(&change.key);
        }
        self.rows.insert(change.key.clone(), after);
        self.known = Known::Rows { count, bytes };
        if count > MAX_KNOWN_ROWS || bytes > MAX_KNOWN_BYTES {
            self.known = Known::TooLarge;
        }
        Ok(())
    }

    /// All have come.
    pub(super) fn end(self, known: &mut Known, commit: &mut Commit) {
        commit.forgets_rows |= *known != Known::TooLarge && self.known == Known::TooLarge;
        *known = self.known;
        if matches!(self.known, Known::Rows { .. }) {
            commit.rows = self.rows;
        }
    }
}
