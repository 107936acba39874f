//! A bridge with its storage in memory, for the tests of this crate.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use pg_sync::answer::Answer;
use pg_sync::bridge::{
    Action, Bridge, Commit, Connection, Context, Decision, Event, Gap, Mode, Observer, Outcome, Source, Stored, decide,
    next_alarm,
};
use pg_sync::change::Change;
use pg_sync::options::{OnGap, Options, Replica};
use pg_sync::ring::{Kept, Log, slot};
use pg_sync::rows::Row;
use pg_sync::shape::Ask;
use pg_sync::wake::Wake;
use serde_json::{Value as Json, json};

pub(crate) const START: i64 = 1_760_000_000_000;

/// What is stored. Rows lie in their slots, as they do in a database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    pub(crate) bridge: String,
    pub(crate) observers: BTreeMap<String, String>,
    pub(crate) rows: BTreeMap<u64, Change>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) known: BTreeMap<String, Row>,
    pub(crate) writes: u64,
}

impl Storage {
    pub(crate) fn store(&mut self, bridge: &Bridge, commit: &Commit) {
        for change in &commit.changes {
            self.rows.insert(slot(change.seq), change.clone());
        }
        if let Some((first, last)) = commit.delete {
            self.rows.retain(|_, change| change.seq < first || change.seq > last);
        }
        if commit.bridge {
            self.bridge = serde_json::to_string(bridge.stored()).unwrap();
        }
        for id in &commit.observers {
            let observer = bridge.observers().get(id).expect("an observer that is stored is there");
            self.observers.insert(id.clone(), serde_json::to_string(observer).unwrap());
        }
        for id in &commit.gone {
            self.observers.remove(id);
        }
        self.gaps.extend(commit.gap);
        if commit.forgets_rows {
            self.known.clear();
        }
        for (key, row) in &commit.rows {
            match row {
                Some(row) => drop(self.known.insert(key.clone(), row.clone())),
                None => drop(self.known.remove(key)),
            }
        }
        self.writes += u64::from(!commit.is_empty());
    }

    pub(crate) fn open(&self) -> Bridge {
        let stored: Stored = serde_json::from_str(&self.bridge).unwrap();
        let observers = self.observers.values().map(|text| serde_json::from_str::<Observer>(text).unwrap());
        Bridge::open(stored, observers)
    }

    fn sorted(&self, after: u64, to: u64) -> Vec<&Change> {
        let mut rows: Vec<_> = self.rows.values().filter(|row| row.seq > after && row.seq <= to).collect();
        rows.sort_by_key(|row| row.seq);
        rows
    }
}

impl Log for Storage {
    type Error = Infallible;

    fn changes(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Change>, Infallible> {
        Ok(self.sorted(after, to).into_iter().take(limit).cloned().collect())
    }

    fn kept(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Kept>, Infallible> {
        let kept = |row: &Change| Kept { seq: row.seq, bytes: row.bytes(), at: row.at };
        Ok(self.sorted(after, to).into_iter().take(limit).map(kept).collect())
    }

    fn row(&self, key: &str) -> Result<Option<Row>, Infallible> {
        Ok(self.known.get(key).cloned())
    }

    fn rows(&self) -> Result<BTreeMap<String, Row>, Infallible> {
        Ok(self.known.clone())
    }
}

pub(crate) fn options() -> Options {
    Options {
        table: "orders".into(),
        columns: None,
        filter: None,
        params: None,
        replica: Replica::Full,
        on_gap: OnGap::Event,
    }
}

pub(crate) fn source(options: Options) -> Source {
    Source { id: "s".into(), owner: "u".into(), connection: "main".into(), options }
}

/// A bridge whose world is the test itself: what it wants to do waits in `actions`.
pub(crate) struct Rig {
    pub(crate) bridge: Bridge,
    pub(crate) storage: Storage,
    pub(crate) now: i64,
    pub(crate) dice: u32,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) connection: Connection,
}

impl Rig {
    pub(crate) fn new(options: Options, mode: Mode) -> Self {
        let stored = Stored::new(source(options), START);
        let storage = Storage { bridge: serde_json::to_string(&stored).unwrap(), ..Storage::default() };
        let connection = Connection { revision: 1, mode };
        let bridge = storage.open();
        // In the middle: pauses are what they are without chance.
        Self { bridge, storage, now: START, dice: 500, actions: VecDeque::new(), connection }
    }

    /// A bridge that follows a log, with one observer `a` that has joined.
    pub(crate) fn live(options: Options, mode: Mode, wake: Wake) -> Self {
        let mut rig = Self::new(options, mode);
        rig.subscribe("a", wake);
        rig.connect();
        assert!(matches!(rig.ask(), Ask::Now(_)));
        rig.answer(200, "h1", "0_inf", "[]");
        assert_eq!(rig.joined(), ["a"]);
        rig.connect();
        rig
    }

    pub(crate) fn decide(&mut self, event: Event) -> Decision {
        let context = Context { now: self.now, dice: self.dice, max_wakes: 30 };
        decide(&mut self.bridge, &self.storage, event, &context).unwrap()
    }

    pub(crate) fn happens(&mut self, event: Event) {
        let decision = self.decide(event);
        self.storage.store(&self.bridge, &decision.commit);
        self.actions.extend(decision.actions);
        // What is stored is what is known, but for memory.
        if !self.actions.contains(&Action::Remove) {
            let reopened = self.storage.open();
            assert_eq!(reopened.stored(), self.bridge.stored());
            assert_eq!(reopened.observers(), self.bridge.observers());
        }
    }

    pub(crate) fn subscribe(&mut self, id: &str, wake: Wake) {
        self.happens(Event::Subscribe { id: id.into(), session: format!("session-{id}"), wake });
    }

    /// The process dies and another one begins.
    pub(crate) fn restart(&mut self) {
        self.actions.clear();
        self.bridge = self.storage.open();
        self.happens(Event::Due);
    }

    /// Time passes, with everything that is due meanwhile.
    pub(crate) fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        for _ in 0..10_000 {
            let next = next_alarm(&self.bridge, self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            let before = self.actions.len();
            self.happens(Event::Due);
            assert!(
                next_alarm(&self.bridge, self.now) > self.now || self.actions.len() > before,
                "nothing comes of what is due"
            );
            self.connect();
        }
        panic!("there is always something due");
    }

    /// Reads the connection, if that is wanted.
    pub(crate) fn connect(&mut self) {
        if let Some(at) = self.actions.iter().position(|action| matches!(action, Action::ReadConnection { .. })) {
            let Some(Action::ReadConnection { epoch }) = self.actions.remove(at) else { unreachable!() };
            self.happens(Event::Connection { epoch, seen: Ok(self.connection) });
        }
    }

    fn last_ask(&self) -> Option<(u64, Ask)> {
        let ask = |action: &Action| {
            if let Action::Ask { epoch, ask, .. } = action { Some((*epoch, ask.clone())) } else { None }
        };
        self.actions.iter().rev().find_map(ask)
    }

    /// What is asked of the service now.
    pub(crate) fn ask(&self) -> Ask {
        self.last_ask()
            .unwrap_or_else(|| panic!("nothing is asked: {:?} {:?}", self.bridge.stored().state, self.actions))
            .1
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.last_ask().is_some()
    }

    pub(crate) fn answered(&mut self, answer: Answer) {
        let (epoch, _) = self.last_ask().expect("something is asked");
        self.actions.retain(|action| !matches!(action, Action::Ask { .. }));
        self.happens(Event::Answered { epoch, answer });
        self.connect();
    }

    /// An answer of the service that says it is up to date, unless the status is an error.
    pub(crate) fn answer(&mut self, status: u16, handle: &str, offset: &str, body: &str) {
        self.answered(answer(status, handle, offset, body, true));
    }

    fn take<T>(&mut self, mut part: impl FnMut(&Action) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        self.actions.retain(|action| part(action).map(|part| taken.push(part)).is_none());
        taken
    }

    /// Who has joined since this was asked.
    pub(crate) fn joined(&mut self) -> Vec<String> {
        self.take(|action| if let Action::Joined { id } = action { Some(id.clone()) } else { None })
    }

    /// Who has not.
    pub(crate) fn not_joined(&mut self) -> Vec<(String, pg_sync::bridge::NotJoined)> {
        self.take(
            |action| if let Action::NotJoined { id, why } = action { Some((id.clone(), why.clone())) } else { None },
        )
    }

    /// What was sent since this was asked, unanswered: name, key and body.
    pub(crate) fn sends(&mut self) -> Vec<(String, String, Json)> {
        self.take(|action| match action {
            Action::Send { id, key, body, .. } => Some((id.clone(), key.clone(), serde_json::from_str(body).unwrap())),
            _ => None,
        })
    }

    /// What was sent, all of it taken, until nothing more comes.
    pub(crate) fn told(&mut self) -> Vec<Json> {
        let mut told = Vec::new();
        loop {
            let sends = self.sends();
            if sends.is_empty() {
                return told;
            }
            for (id, key, body) in sends {
                told.push(body);
                self.happens(Event::Sent { id, key, outcome: Outcome::Taken });
            }
        }
    }

    /// The types of what was sent, all of it taken.
    pub(crate) fn told_types(&mut self) -> Vec<String> {
        self.told().iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn answer(status: u16, handle: &str, offset: &str, body: &str, is_up_to_date: bool) -> Answer {
    let header = |name: &str| match name {
        "electric-handle" => Some(handle),
        "electric-offset" => Some(offset),
        "electric-up-to-date" if is_up_to_date => Some(""),
        "electric-cursor" => Some("7"),
        _ => None,
    };
    Answer::of(status, header, body.as_bytes().to_vec(), Some("hunter2"))
}

/// A message as the service sends it.
pub(crate) fn message(operation: &str, key: &str, tx: u64, op: u64, value: &Json) -> Json {
    json!({"key": key, "value": value, "headers": {"operation": operation, "lsn": tx.to_string(), "op_position": op, "txids": [7],
        "relation": ["public", "orders"]}})
}

/// A body of inserts, each its own row, at these places.
pub(crate) fn inserts(places: &[(u64, u64)]) -> String {
    let message = |(tx, op): &(u64, u64)| {
        let key = format!("\"public\".\"orders\"/\"{tx}-{op}\"");
        message("insert", &key, *tx, *op, &json!({"id": format!("{tx}-{op}"), "status": "new"}))
    };
    Json::Array(places.iter().map(message).collect()).to_string()
}

/// The keys in a wake.
pub(crate) fn keys(wake: &Json) -> Vec<String> {
    wake["changes"].as_array().unwrap().iter().map(|change| change["key"].as_str().unwrap().to_owned()).collect()
}

/// Places in a wake.
pub(crate) fn places(wake: &Json) -> Vec<(u64, u64)> {
    let place = |change: &Json| (change["tx"].as_str().unwrap().parse().unwrap(), change["op"].as_u64().unwrap());
    wake["changes"].as_array().unwrap().iter().map(place).collect()
}
