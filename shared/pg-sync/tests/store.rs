//! Bridges in tables: what is stored comes back, and the log has the rows that it should have (pg-sync.md 4.5).
#![expect(clippy::unwrap_used, reason = "a failed assumption ends the test")]

use std::rc::Rc;

use database::local::Sql;
use database::local_sqlite::Rusqlite;
use pg_sync::answer::{Answer, Success};
use pg_sync::bridge::{Action, Bridge, Commit, Connection, Context, Decision, Event, Mode, Source, Stored, decide};
use pg_sync::change::Change;
use pg_sync::options::{OnGap, Options, Replica};
use pg_sync::ring::{Log, MAX_ROWS};
use pg_sync::rows::{Row, Types};
use pg_sync::store::{Store, bridges, create_tables, renew};
use pg_sync::wake::Wake;
use serde_json::json;

const NOW: i64 = 1_760_000_000_000;

struct Rig {
    store: Store<Rc<Rusqlite>>,
    bridge: Bridge,
    epoch: u64,
    tx: u64,
}

fn source(id: &str) -> Source {
    let options = Options {
        table: "t".into(),
        columns: None,
        filter: None,
        params: None,
        replica: Replica::Full,
        on_gap: OnGap::Event,
    };
    Source { id: id.into(), owner: "u".into(), connection: "main".into(), options }
}

impl Rig {
    /// A bridge that follows, with an observer whose wakes nobody takes.
    fn new(sql: &Rc<Rusqlite>, number: u64) -> Self {
        let store = Store::new(Rc::clone(sql), number);
        store.create(&Stored::new(source(&format!("s{number}")), NOW)).unwrap();
        let bridge = store.open().unwrap().unwrap();
        let mut rig = Self { store, bridge, epoch: 0, tx: 1 };
        let wake = Wake { debounce_ms: 86_400_000, max_wait_ms: Some(86_400_000), ..Wake::default() };
        rig.happens(Event::Subscribe { id: "a".into(), session: "x".into(), wake });
        let connection = Connection { revision: 1, mode: Mode::Live };
        rig.happens(Event::Connection { epoch: 0, seen: Ok(connection) });
        rig.answer(&[]);
        rig
    }

    fn happens(&mut self, event: Event) -> Decision {
        let decision =
            decide(&mut self.bridge, &self.store, event, &Context { now: NOW, dice: 0, max_wakes: 30 }).unwrap();
        self.store.store(&self.bridge, &decision.commit).unwrap();
        let epoch = |action: &Action| if let Action::Ask { epoch, .. } = action { Some(*epoch) } else { None };
        self.epoch = decision.actions.iter().find_map(epoch).unwrap_or(self.epoch);
        decision
    }

    fn answer(&mut self, changes: &[serde_json::Value]) {
        self.tx += 1;
        let success = Success {
            handle: Some("h".into()),
            offset: Some(format!("{}_0", self.tx)),
            is_up_to_date: true,
            body: json!(changes).to_string().into_bytes(),
            ..Success::default()
        };
        self.happens(Event::Answered { epoch: self.epoch, answer: Answer::Success(success) });
    }

    fn insert(&mut self, count: u64, text: &str) {
        let tx = self.tx + 1;
        let change = |op| {
            json!({"key": format!("é{op}"), "value": {"text": text}, "old_value": {"n": null},
            "headers": {"operation": "update", "lsn": u64::MAX.to_string(), "op_position": tx * 100_000 + op}})
        };
        self.answer(&(0..count).map(change).collect::<Vec<_>>());
    }

    fn all(&self) -> Vec<Change> {
        self.store.changes(0, self.bridge.stored().ring.last_seq, usize::MAX).unwrap()
    }

    /// Memory and storage say the same.
    fn check(&self) {
        let opened = self.store.open().unwrap().unwrap();
        assert_eq!((opened.stored(), opened.observers()), (self.bridge.stored(), self.bridge.observers()));
        let (ring, rows) = (self.bridge.stored().ring, self.all());
        assert!(rows.is_sorted_by_key(|row| row.seq));
        assert_eq!(rows.first().map_or(ring.last_seq + 1, |row| row.seq), ring.first_seq);
        assert_eq!(rows.iter().map(Change::bytes).sum::<u64>(), ring.bytes);
        let kept = self.store.kept(0, ring.last_seq, usize::MAX).unwrap();
        assert_eq!(kept.iter().map(|row| row.bytes).sum::<u64>(), ring.bytes);
    }
}

fn database() -> Rc<Rusqlite> {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    create_tables(&sql).unwrap();
    create_tables(&sql).unwrap();
    sql
}

#[test]
fn what_is_stored_comes_back() {
    let sql = database();
    let (mut one, mut other) = (Rig::new(&sql, 0), Rig::new(&sql, 7));
    one.insert(3, "ü");
    other.insert(2, "x");
    one.check();
    other.check();
    let rows = one.all();
    assert_eq!((rows.len(), &*rows[0].key, rows[0].position.unwrap().tx), (3, "é0", u64::MAX));
    assert_eq!(one.store.changes(1, 2, 10).unwrap(), rows[1..2]);
    assert_eq!(one.store.changes(0, 3, 2).unwrap(), rows[..2]);
    assert_eq!(bridges(&sql).unwrap(), [(0, "s0".to_owned()), (7, "s7".to_owned())]);
    // The answer with another handle: a gap.
    let rotated = one.happens(Event::Answered { epoch: one.epoch, answer: Answer::Rotated });
    assert!(rotated.commit.gap.is_some());
    one.check();
    one.store.remove().unwrap();
    assert!(one.store.open().unwrap().is_none() && one.all().is_empty());
    assert_eq!(bridges(&sql).unwrap(), [(7, "s7".to_owned())]);
    other.check();
    let mut left = 0;
    sql.query("SELECT count(*) FROM pg_gaps", &[], &mut |row| {
        left = row.int(0)?.unwrap();
        Ok(std::ops::ControlFlow::Break(()))
    })
    .unwrap();
    assert_eq!(left, 0);
}

/// The ring is written over and over; rows that leave by size are deleted on both sides of its seam.
#[test]
fn the_log_is_a_ring() {
    let sql = database();
    let mut rig = Rig::new(&sql, 3);
    for _ in 0..5 {
        rig.insert(2_900, "x");
        rig.check();
    }
    assert_eq!(rig.all().len() as u64, MAX_ROWS);
    for _ in 0..8 {
        rig.insert(40, &"y".repeat(50_000));
        rig.check();
    }
    rig.insert(400, &"z".repeat(50_000));
    rig.check();
    rig.insert(12_000, "w");
    rig.check();
    assert_eq!((rig.all().len() as u64, rig.bridge.stored().overrun), (MAX_ROWS, 2_000));
}

/// A copy that takes the place of a newer file gives numbers again: its bridges count as new ones.
#[test]
fn bridges_of_a_copy_are_new_ones() {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    create_tables(&sql).unwrap();
    let rigs = [0, 3].map(|number| Rig::new(&sql, number));
    let incarnations = |now| {
        renew(&sql, now).unwrap();
        rigs.each_ref().map(|rig| rig.store.open().unwrap().unwrap().stored().incarnation)
    };
    assert_eq!(incarnations(NOW + 5), [NOW + 5; 2]);
    assert_eq!(incarnations(NOW), [NOW + 6; 2], "also where the clock goes back");
}

/// What is remembered of rows comes back, one bridge beside the other.
#[test]
fn rows_are_remembered() {
    let sql = database();
    let stores = [Store::new(Rc::clone(&sql), 0), Store::new(Rc::clone(&sql), 1)];
    let row = |n: &str| Row::of(&json!({"n": n, "text": null}), &Types::default());
    let bridge = |number: usize| {
        let stored = Stored::new(source(&format!("s{number}")), NOW);
        stores[number].create(&stored).unwrap();
        stores[number].open().unwrap().unwrap()
    };
    let bridges = [bridge(0), bridge(1)];
    let store = |number: usize, forgets_rows: bool, rows: &[(&str, Option<Row>)]| {
        let rows = rows.iter().map(|(key, row)| ((*key).to_owned(), row.clone())).collect();
        let commit = Commit { forgets_rows, rows, ..Commit::default() };
        stores[number].store(&bridges[number], &commit).unwrap();
    };
    store(0, false, &[("a", Some(row("1"))), ("é", Some(row("2")))]);
    store(1, false, &[("a", Some(row("3")))]);
    assert_eq!(stores[0].rows().unwrap(), [("a".to_owned(), row("1")), ("é".to_owned(), row("2"))].into());
    assert_eq!(stores[1].row("a").unwrap(), Some(row("3")));
    assert_eq!(stores[1].row("é").unwrap(), None);
    store(0, false, &[("a", None), ("é", Some(row("4")))]);
    assert_eq!(stores[0].rows().unwrap(), [("é".to_owned(), row("4"))].into());
    store(0, true, &[("b", Some(row("5")))]);
    assert_eq!(stores[0].rows().unwrap(), [("b".to_owned(), row("5"))].into());
    assert_eq!(stores[1].rows().unwrap().len(), 1);
    stores[1].remove().unwrap();
    assert_eq!(stores[1].rows().unwrap().len(), 0);
    assert_eq!(stores[0].rows().unwrap().len(), 1);
}
