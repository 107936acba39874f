//! A session's object around the desk, with a database that survives it, and runners that call it. Whoever acts may die at any point:
//! [`Dies`] says where.

use std::collections::VecDeque;

use database::local::Sql as _;
use database::local_sqlite::Rusqlite;
use serde_json::json;
use sessions::mailbox::desk::{self, Decide, Desk, Effect, Given, NewItem, Released, Times, Told, Verdict};
use sessions::mailbox::store::MailboxRows;
use sessions::mailbox::{Offline, Presence, limits};

use crate::machine::Machine;

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const TIMES: Times = Times { order_ttl_ms: 7 * 24 * HOUR, offline_turn_ms: 24 * HOUR };

/// Where the worker dies within one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// It does not.
    No,
    /// Before the transaction: nothing happened, and whoever asked hears an error.
    Before,
    /// After the transaction: it happened, and nobody hears of it. Rings are lost.
    After,
}

/// The object of a session, and everybody who talks to it.
pub(crate) struct World {
    pub(crate) sql: Rusqlite,
    pub(crate) now: i64,
    /// Messages that wait for the desk, oldest first: what the session itself stores.
    pub(crate) orders: VecDeque<String>,
    /// What the session heard, in order.
    pub(crate) told: Vec<Told>,
    /// The runner that gets the session when nobody has it.
    pub(crate) chosen: usize,
    pub(crate) machines: Vec<Machine>,
    /// Whether each runner is there, as its object knows.
    pub(crate) presence: Vec<Presence>,
    /// The runner's object knows of work.
    pub(crate) rung: bool,
    pub(crate) ids: u64,
    pub(crate) is_canceled: bool,
}

pub(crate) fn key(machine: usize) -> String {
    format!("key-{machine}")
}

impl World {
    pub(crate) fn new() -> Self {
        let sql = Rusqlite::in_memory().unwrap();
        MailboxRows(&sql).create().unwrap();
        let there = Presence { number: 1, offline: None, last_seen_at: 0 };
        Self {
            sql,
            now: 0,
            orders: VecDeque::new(),
            told: Vec::new(),
            chosen: 0,
            machines: vec![Machine::new("a"), Machine::new("b")],
            presence: vec![there, there],
            rung: false,
            ids: 0,
            is_canceled: false,
        }
    }

    pub(crate) fn id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    /// What is stored.
    pub(crate) fn desk(&self) -> Desk {
        MailboxRows(&self.sql).desk().unwrap().unwrap_or_default()
    }

    /// Something happens to the session. None when nobody heard what came of it.
    pub(crate) fn change<R>(&mut self, dies: Dies, happens: impl FnOnce(&mut Desk, &mut Decide<'_>) -> R) -> Option<R> {
        let mut desk = self.desk();
        let mut decide = Decide::new(self.now, &TIMES);
        let result = happens(&mut desk, &mut decide);
        let (mut orders, mut told) = (self.orders.clone(), Vec::new());
        let mut heard = 0;
        // What the session does in turn may make it hear of more.
        loop {
            let new: Vec<Told> = decide.effects.iter().filter_map(tell).skip(heard).cloned().collect();
            heard += new.len();
            for what in &new {
                match what {
                    Told::OpenNeeded => {
                        let item = NewItem::new(&self.id(), json!({"task": "t"}).to_string());
                        desk::open(&mut desk, &mut decide, item).unwrap();
                    }
                    Told::MessageReturned { message_id } => orders.push_front(message_id.clone()),
                    _ => {}
                }
            }
            told.extend(new);
            let is_moved = told.iter().any(|told| matches!(told, Told::Released(Released::Canceled)));
            if desk.holder.is_none() && !self.is_canceled && !is_moved && !orders.is_empty() {
                let (runner, presence) = (self.chosen, self.presence[self.chosen]);
                desk::bind(&mut desk, &mut decide, &key(runner), &format!("runner-{runner}"), presence).unwrap();
            }
            let may = desk.prompt.is_none() && desk.holder.is_some() && desk.closing.is_none();
            if let Some(order) = orders.front().filter(|_| may).cloned() {
                let body = json!({"content": order}).to_string();
                if desk::prompt(&mut desk, &mut decide, NewItem::new(&order, body), 1, 1).is_ok() {
                    orders.pop_front();
                }
            }
            if decide.effects.iter().filter_map(tell).count() == heard {
                break;
            }
        }
        if dies == Dies::Before {
            return None;
        }
        let rows = MailboxRows(&self.sql);
        self.sql.transaction(&mut || rows.put_desk(&desk, &decide.effects)).unwrap();
        assert_eq!(self.desk(), desk, "what is stored is what was decided");
        self.orders = orders;
        self.is_canceled |= told.iter().any(|told| matches!(told, Told::Released(Released::Canceled)));
        self.told.extend(told);
        if dies == Dies::After {
            return None;
        }
        self.rung |= decide.effects.contains(&Effect::Ring);
        Some(result)
    }

    /// A person says something.
    pub(crate) fn message(&mut self, dies: Dies, id: &str) {
        self.orders.push_back(id.to_owned());
        if self.change(dies, |_, _| ()).is_none() && dies == Dies::Before {
            self.orders.pop_back();
        }
    }

    /// Time passes; the alarm goes off if it is due.
    pub(crate) fn wait(&mut self, ms: i64) {
        self.now += ms;
        self.alarm(Dies::No);
    }

    pub(crate) fn alarm(&mut self, dies: Dies) {
        let due = desk::next_alarm(&self.desk(), &Decide::new(self.now, &TIMES));
        if due.is_some_and(|at| at <= self.now) {
            self.change(dies, desk::on_alarm);
        }
    }

    /// The runner's process sends what it has acknowledged and asks for work.
    pub(crate) fn poll(&mut self, machine: usize, dies: Dies) -> Option<Vec<(Given, String)>> {
        self.seen(machine);
        let acks = self.machines[machine].acks.clone();
        self.change(dies, |desk, decide| {
            for ack in &acks {
                desk::on_ack(desk, decide, &key(machine), ack);
            }
        })?;
        self.machines[machine].acks.clear();
        let given = self.change(dies, |desk, decide| {
            desk::fetch(desk, decide, &key(machine), limits::DEFAULT_ITEMS, limits::MAX_ANSWER_BYTES)
        })?;
        let rows = MailboxRows(&self.sql);
        let with_body = |given: Given| {
            let body = rows.body(&given.item.id).unwrap().unwrap_or_else(|| panic!("no body of {given:?}"));
            (given, body)
        };
        Some(given.unwrap_or_default().into_iter().map(with_body).collect())
    }

    /// The same, and the runner stores what it got.
    pub(crate) fn serve(&mut self, machine: usize) {
        for (given, body) in self.poll(machine, Dies::No).unwrap_or_default() {
            self.store(machine, &given, &body);
        }
    }

    pub(crate) fn store(&mut self, machine: usize, given: &Given, body: &str) {
        let (item, body) = (&given.item, serde_json::from_str(body).unwrap());
        self.machines[machine].store(given.lease, &item.id, item.work_seq, item.kind, body);
    }

    /// The runner sends at most so many events, from the one at `from` on.
    pub(crate) fn send(&mut self, machine: usize, from: usize, most: usize, dies: Dies) {
        let Some(copy) = &self.machines[machine].copy else { return };
        let batch = copy.batch(from, most);
        if batch.events.is_empty() {
            return;
        }
        self.seen(machine);
        let to = batch.events.last().unwrap().seq;
        let known = MailboxRows(&self.sql).fingerprints(0, to).unwrap();
        let answer = self.change(dies, |desk, decide| desk::on_batch(desk, decide, &key(machine), batch, &known));
        let machine = &mut self.machines[machine];
        match answer {
            None => {}
            Some(Ok(answer)) => match answer.stop {
                None | Some(desk::Stop::Gap) => machine.copy.as_mut().unwrap().accepted(answer.accepted_seq),
                // An old copy that did not attach: it is put aside.
                Some(desk::Stop::Conflict(_)) => machine.copy = None,
                Some(desk::Stop::Rejected(seq, why)) => panic!("{seq} is refused: {why}"),
            },
            Some(Err(_)) => machine.copy = None,
        }
    }

    /// Everything that the worker does not have yet.
    pub(crate) fn deliver(&mut self, machine: usize) {
        while let Some(copy) = &self.machines[machine].copy {
            let (from, count) = (copy.delivered, copy.out.len());
            if from >= count {
                break;
            }
            self.send(machine, from, 100, Dies::No);
            let after = self.machines[machine].copy.as_ref().map(|copy| copy.delivered);
            assert_ne!(after, Some(from), "nothing was taken in");
        }
    }

    /// A process of the runner attaches.
    pub(crate) fn attach(&mut self, machine: usize, dies: Dies) -> Option<Verdict> {
        self.seen(machine);
        let claim = self.machines[machine].copy.as_ref().map(super::machine::Copy::claim);
        let change =
            |desk: &mut Desk, decide: &mut Decide<'_>| desk::on_attach(desk, decide, &key(machine), claim.as_ref());
        let verdict = self.change(dies, change)?;
        let machine = &mut self.machines[machine];
        machine.is_attached = true;
        machine.is_stopped = false;
        match (verdict.verdict, &mut machine.copy) {
            (Verdict::Keep, Some(copy)) => copy.accepted(verdict.accepted_seq),
            (_, copy) => *copy = None,
        }
        Some(verdict.verdict)
    }

    /// A request of the runner was authenticated.
    pub(crate) fn seen(&mut self, machine: usize) {
        let presence = &mut self.presence[machine];
        presence.last_seen_at = self.now;
        if presence.offline.is_some() {
            presence.number += 1;
            presence.offline = None;
        }
        let presence = *presence;
        self.change(Dies::No, |desk, decide| desk::on_presence(desk, decide, &key(machine), presence));
    }

    /// The runner's object says that the runner is not there.
    pub(crate) fn goes(&mut self, machine: usize, why: Offline, dies: Dies) {
        let presence = &mut self.presence[machine];
        if presence.offline.is_none() {
            presence.number += 1;
            presence.offline = Some(why);
        }
        let presence = *presence;
        self.change(dies, |desk, decide| desk::on_presence(desk, decide, &key(machine), presence));
    }

    /// Nothing fails any more, and everything goes on until nothing is left to do.
    pub(crate) fn calm(&mut self) {
        for round in 0_u64.. {
            assert!(round < 200, "stuck: {:?} {:?} {:?}", self.desk(), self.machines, self.orders);
            for machine in 0..self.machines.len() {
                if !self.machines[machine].is_attached {
                    self.attach(machine, Dies::No);
                }
                self.serve(machine);
                self.machines[machine].work(1_000_000 + round, round % 2 == 1);
                self.deliver(machine);
            }
            let desk = self.desk();
            let is_done = |machine: &Machine| machine.acks.is_empty();
            let is_over = self.orders.is_empty() || self.is_canceled;
            if is_over
                && desk.prompt.is_none()
                && desk.items.is_empty()
                && desk.closing.is_none()
                && self.machines.iter().all(is_done)
            {
                assert_eq!(desk.ring, None);
                break;
            }
            self.wait(1_000);
        }
    }

    /// How often the session heard that a message is finished.
    pub(crate) fn endings(&self, id: &str) -> usize {
        let ends = |told: &&Told| match told {
            Told::TurnEnded { message_id, .. } | Told::MessageFailed { message_id, .. } => message_id == id,
            _ => false,
        };
        self.told.iter().filter(ends).count()
    }

    /// How the message ended.
    pub(crate) fn ending(&self, id: &str) -> &str {
        self.told
            .iter()
            .find_map(|told| match told {
                Told::TurnEnded { message_id, stop_reason, .. } if message_id == id => Some(stop_reason.as_str()),
                Told::MessageFailed { message_id, reason } if message_id == id => Some(reason.as_str()),
                _ => None,
            })
            .unwrap_or("unfinished")
    }

    /// The agent's words, in the order in which the session heard them.
    pub(crate) fn words(&self) -> Vec<(String, u64)> {
        let word = |told: &Told| match told {
            Told::Update(envelope) => {
                Some((envelope["mailbox"].as_str().unwrap().to_owned(), envelope["word"].as_u64().unwrap()))
            }
            _ => None,
        };
        self.told.iter().filter_map(word).collect()
    }

    pub(crate) fn count(&self, is: impl Fn(&Told) -> bool) -> usize {
        self.told.iter().filter(|told| is(told)).count()
    }
}

fn tell(effect: &Effect) -> Option<&Told> {
    match effect {
        Effect::Tell(told) => Some(told),
        _ => None,
    }
}
