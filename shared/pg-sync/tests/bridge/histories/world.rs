//! Everything around a bridge, played by chance.

use std::collections::BTreeSet;

use pg_sync::body::BlockedReason;
use pg_sync::bridge::{
    Action, Bridge, Connection, ConnectionFault, Context, Event, Mode, Outcome, ShownUntil, State, Stored, decide,
    next_alarm,
};
use pg_sync::change::Operation;
use pg_sync::options::{OnGap, Options};
use pg_sync::shape::{Ask, Cursor};
use pg_sync::wake::Wake;

use super::Rng;
use super::client::Client;
use super::service::Service;
use crate::rig::{START, Storage, options, source};

/// How much there was of what the histories are for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    told: u64,
    gaps: u64,
    deaths: u64,
    behind: u64,
    blocked: u64,
    idle: u64,
    joined: u64,
    not_joined: u64,
    late: u64,
    differences: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        self.told += other.told;
        self.gaps += other.gaps;
        self.deaths += other.deaths;
        self.behind += other.behind;
        self.blocked += other.blocked;
        self.idle += other.idle;
        self.joined += other.joined;
        self.not_joined += other.not_joined;
        self.late += other.late;
        self.differences += other.differences;
    }

    pub(crate) fn assert_rich(&self) {
        for count in [
            self.told,
            self.gaps,
            self.deaths,
            self.blocked,
            self.idle,
            self.joined,
            self.not_joined,
            self.late,
            self.differences,
        ] {
            assert!(count >= 100, "{self:?}");
        }
    }
}

/// What is under way outside.
enum Outside {
    Read { epoch: u64 },
    Ask { epoch: u64, ask: Ask },
    Send { id: String, key: String, body: String },
}

struct World {
    rng: Rng,
    /// Gaps are told as differences of rows where they can be.
    is_diffing: bool,
    now: i64,
    service: Service,
    connection: Connection,
    storage: Storage,
    bridge: Option<Bridge>,
    outside: Vec<Outside>,
    clients: Vec<Client>,
    /// Ranges of changes that nobody can know of: between the cursor that was lost and the next one.
    lost: Vec<(usize, usize)>,
    /// The place of the cursor, among all changes.
    place: Option<usize>,
    /// The same of the rows that were told last, and of those that were asked for last.
    rows_at: usize,
    asked_at: usize,
    shown: Option<ShownUntil>,
    /// No faults any more: everything has to arrive.
    is_calm: bool,
    seen: Seen,
    next_client: u64,
}

pub(crate) fn play(seed: u64) -> Seen {
    let mut rng = Rng(seed);
    let mode = if rng.percent(50) { Mode::Live } else { Mode::Interval(5_000) };
    let is_diffing = rng.percent(50);
    let mut world = World {
        is_diffing,
        now: START,
        service: Service::new(&mut rng),
        connection: Connection { revision: 1, mode },
        storage: Storage::default(),
        bridge: None,
        outside: Vec::new(),
        clients: Vec::new(),
        lost: Vec::new(),
        place: None,
        rows_at: 0,
        asked_at: 0,
        shown: None,
        is_calm: false,
        seen: Seen::default(),
        next_client: 0,
        rng,
    };
    for _ in 0..world.rng.below(5) {
        world.service.commit(&mut world.rng);
    }
    world.subscribe();
    for _ in 0..300 {
        world.step();
    }
    world.settle();
    world.seen
}

impl World {
    fn step(&mut self) {
        match self.rng.below(100) {
            0..15 => self.service.commit(&mut self.rng),
            15..17 => self.service.rotate(),
            17..19 => {
                self.connection.revision += 1;
                self.service.rotate();
                if self.rng.percent(50) {
                    self.happens(Event::ConnectionTouched);
                }
            }
            19..22 => self.subscribe(),
            22..24 => self.unsubscribe(),
            24..25 => self.happens(Event::Retry),
            25..29 => self.die(),
            29..40 => self.wait(),
            _ => self.outside_goes_on(),
        }
    }

    /// Somebody new, or the same again: a caller that was not answered asks again.
    fn subscribe(&mut self) {
        let waiting = self.clients.iter().find(|client| client.joined_at.is_none() && !client.has_ended);
        let (id, operation) = match waiting {
            Some(client) => (client.id.clone(), client.operation),
            None if self.clients.iter().filter(|client| !client.has_ended).count() >= 3 => return,
            None => {
                self.next_client += 1;
                let operation = if self.rng.percent(30) { Some("insert") } else { None };
                let id = format!("client-{}", self.next_client);
                self.clients.push(Client::new(id.clone(), operation, self.is_diffing));
                (id, operation)
            }
        };
        if self.bridge.is_none() {
            self.storage = Storage::default();
            self.now += 1;
            self.storage.bridge = serde_json::to_string(&Stored::new(source(self.options()), self.now)).unwrap();
            self.bridge = Some(self.storage.open());
            self.place = None;
            self.rows_at = 0;
            self.shown = None;
            // Whoever observed the bridge before has lost it.
            self.clients.retain(|client| client.id == id);
            self.lost.clear();
        }
        let wake = Wake {
            ops: operation.map(|_| BTreeSet::from([Operation::Insert])),
            debounce_ms: if id.ends_with(['2', '5', '8']) { 3_000 } else { 0 },
            ..Wake::default()
        };
        self.happens(Event::Subscribe { id, session: "s".into(), wake });
    }

    fn options(&self) -> Options {
        let on_gap = if self.is_diffing { OnGap::Diff } else { OnGap::Event };
        Options { on_gap, ..options() }
    }

    fn unsubscribe(&mut self) {
        if let Some(client) = self.clients.pop() {
            self.happens(Event::Unsubscribe { id: client.id });
        }
    }

    /// Time passes until something is due.
    fn wait(&mut self) {
        let Some(bridge) = &self.bridge else { return };
        let due = next_alarm(bridge, self.now);
        // Blocked and idle bridges wait for hours: mostly something else happens before.
        let longest = if self.rng.percent(10) { i64::MAX } else { 60_000 };
        self.now = due.min(self.now.saturating_add(longest)).max(self.now);
        self.happens(Event::Due);
    }

    /// The process dies: what is under way is heard of by nobody.
    fn die(&mut self) {
        if self.bridge.is_some() {
            self.seen.deaths += 1;
            self.outside.clear();
            self.bridge = Some(self.storage.open());
            self.happens(Event::Due);
        }
    }

    fn happens(&mut self, event: Event) {
        let Some(bridge) = &mut self.bridge else { return };
        let dice = u32::try_from(self.rng.next() >> 32).unwrap();
        let context = Context { now: self.now, dice, max_wakes: 30 };
        let decision = decide(bridge, &self.storage, event, &context).unwrap();
        // It dies before anything is stored, or storing fails.
        if !self.is_calm && !decision.commit.is_empty() && self.rng.percent(3) {
            return self.die();
        }
        self.storage.store(bridge, &decision.commit);
        self.follow_cursor();
        for action in decision.actions {
            // It dies between two actions.
            if !self.is_calm && self.rng.percent(1) {
                return self.die();
            }
            self.act(action);
        }
    }

    /// What lies between a cursor that was dropped and the next one is lost, and no more than that.
    fn follow_cursor(&mut self) {
        let stored = self.bridge.as_ref().unwrap().stored();
        self.seen.blocked += u64::from(matches!(stored.state, State::Blocked { .. }));
        self.seen.idle += u64::from(matches!(stored.state, State::Idle { .. }));
        if stored.shown != self.shown {
            self.shown.clone_from(&stored.shown);
            if self.shown.is_some() {
                self.rows_at = self.asked_at;
            }
        }
        let Some(cursor) = &stored.cursor else { return };
        let Some(place) = self.index_of(cursor) else { return };
        let gaps = self.storage.gaps.len() - self.lost.len();
        assert!(gaps <= 1, "one gap at a time");
        self.lost.extend(self.place.filter(|_| gaps == 1).map(|before| (before, place)));
        self.place = Some(place);
    }

    /// How many changes are told by now, one by one or as differences.
    fn told_at(&self) -> usize {
        self.place.unwrap_or(0).max(self.rows_at)
    }

    fn index_of(&self, cursor: &Cursor) -> Option<usize> {
        self.service.index(cursor)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ReadConnection { epoch } => self.outside.push(Outside::Read { epoch }),
            Action::Ask { epoch, ask, .. } => self.outside.push(Outside::Ask { epoch, ask }),
            Action::Abort => {
                // The answer may have been on its way already.
                let keeps = self.rng.percent(50);
                self.outside.retain(|outside| keeps || !matches!(outside, Outside::Ask { .. }));
            }
            Action::Send { id, key, body, .. } => self.outside.push(Outside::Send { id, key, body }),
            Action::Joined { id } => {
                let (committed, told_at) = (self.service.rows.len(), self.told_at());
                if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
                    self.seen.joined += 1;
                    client.joined_at.get_or_insert(committed);
                    client.read_at.get_or_insert(told_at);
                }
            }
            Action::NotJoined { id, .. } => {
                self.seen.not_joined += 1;
                self.clients.retain(|client| client.id != id);
            }
            Action::Remove => {
                self.bridge = None;
                self.outside.clear();
                self.clients.clear();
            }
        }
    }

    /// Something that was begun comes to an end, in any order.
    fn outside_goes_on(&mut self) {
        if self.outside.is_empty() {
            return;
        }
        let at = usize::try_from(self.rng.below(self.outside.len() as u64)).unwrap();
        match self.outside.swap_remove(at) {
            Outside::Read { epoch } => {
                let seen = match self.rng.below(40) {
                    _ if self.is_calm => Ok(self.connection),
                    0 => Err(ConnectionFault::Unavailable),
                    1 => Err(ConnectionFault::Unusable(BlockedReason::ConnectionMissing)),
                    _ => Ok(self.connection),
                };
                self.happens(Event::Connection { epoch, seen });
            }
            Outside::Ask { epoch, ask } => self.answer(epoch, &ask),
            Outside::Send { id, key, body } => self.deliver(id, key, &body),
        }
    }

    fn answer(&mut self, epoch: u64, ask: &Ask) {
        // Silence.
        if !self.is_calm && self.rng.percent(3) {
            self.seen.late += 1;
            return;
        }
        // A long poll ends after its time.
        let has_all = |cursor| self.service.index(cursor) == Some(self.service.rows.len());
        if self.is_calm && matches!(ask, Ask::Live(cursor, _) if has_all(cursor)) {
            self.now += 20_000;
        }
        if self.rng.percent(30) {
            self.service.hears();
        }
        if matches!(ask, Ask::Rows(_)) {
            self.asked_at = self.service.rows.len();
        }
        let answer = self.service.answer(ask, &mut self.rng);
        self.happens(Event::Answered { epoch, answer });
    }

    fn deliver(&mut self, id: String, key: String, body: &str) {
        let told_at = self.told_at();
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
            return self.happens(Event::Sent { id, key, outcome: Outcome::Gone });
        };
        let outcome = match self.rng.below(10) {
            // It never arrives.
            0 if !self.is_calm => Outcome::Failed,
            // It arrives, and the answer is lost.
            1 if !self.is_calm => {
                client.take(&key, body, &self.storage, told_at);
                Outcome::Failed
            }
            _ => client.take(&key, body, &self.storage, told_at),
        };
        self.seen.behind += u64::from(matches!(outcome, Outcome::Behind(_)));
        if self.is_calm || !self.rng.percent(5) {
            self.happens(Event::Sent { id, key, outcome });
        }
    }

    /// All is well from here on: everything arrives, in a time that has an end.
    fn settle(&mut self) {
        self.is_calm = true;
        self.service.is_moody = false;
        self.service.hears();
        self.happens(Event::ConnectionTouched);
        self.subscribe();
        let calm_at = self.now;
        for step in 0.. {
            assert!(step < 20_000, "it is stuck after {} s: {:?}", (self.now - calm_at) / 1_000, self.bridge);
            let is_told = !self.outside.iter().any(|outside| matches!(outside, Outside::Send { .. }));
            if is_told && self.now > calm_at + 3 * 3_600_000 {
                break;
            }
            if self.outside.is_empty() {
                self.wait_calmly();
            } else {
                self.outside_goes_on();
            }
        }
        self.check();
    }

    fn wait_calmly(&mut self) {
        let Some(bridge) = &self.bridge else {
            self.now += 3_600_000;
            return;
        };
        self.now = next_alarm(bridge, self.now).max(self.now);
        self.happens(Event::Due);
    }

    fn check(&mut self) {
        let Some(bridge) = &self.bridge else { return };
        let is_idle = matches!(bridge.stored().state, State::Idle { .. });
        assert!(is_idle || bridge.stored().state == State::Live, "{:?}", bridge.stored());
        for client in &self.clients {
            let Some(joined_at) = client.joined_at else { continue };
            assert!(client.told.is_sorted_by(|a, b| a < b), "once, and in order");
            self.seen.told += client.told.len() as u64;
            self.seen.gaps += client.gaps;
            self.seen.differences += client.differences;
            if self.is_diffing {
                check_rows(client, &self.service);
                continue;
            }
            assert_eq!(client.differences, 0);
            let is_lost = |at: usize| self.lost.iter().any(|(from, to)| (*from..*to).contains(&at));
            let wanted = |operation: &str| client.operation.is_none_or(|wanted| wanted == operation);
            let expected: Vec<_> = (0_usize..)
                .zip(&self.service.rows)
                .skip(joined_at)
                .filter(|(at, row)| !is_lost(*at) && wanted(row.operation))
                .map(|(_, row)| row.place)
                .collect();
            // It may hear of changes that are a little older than its joining.
            let older = client.told.len().checked_sub(expected.len());
            let told = older.and_then(|older| client.told.get(older..));
            assert_eq!(
                told,
                Some(&expected[..]),
                "{}: joined at {joined_at}, lost {:?}, has {}",
                client.id,
                self.lost,
                client.has_seq()
            );
        }
    }
}

/// Where gaps are told as differences, whoever had the table as it was told once, and hears of changes since then, has the table as it is.
fn check_rows(client: &Client, service: &Service) {
    if client.operation.is_some() {
        return;
    }
    let mut has = service.table(client.read_at.unwrap());
    for (key, place) in &client.rows {
        match place {
            Some(place) => drop(has.insert(*key, *place)),
            None => drop(has.remove(key)),
        }
    }
    let is = service.table(service.rows.len());
    assert_eq!(has, is, "{}: {} gaps, {} differences", client.id, client.gaps, client.differences);
}
