//! Random histories: messages, deaths of everybody anywhere, lost answers, outages, moves, old copies of disks. Whatever happens, every message ends
//! once, every word of an agent is heard at most once and in order, nothing that counts is lost, and nothing is stuck.

use std::collections::BTreeMap;

use sessions::mailbox::desk::{self, Released, Told};
use sessions::mailbox::{Offline, limits};

use crate::machine::Copy;
use crate::world::{Dies, HOUR, World};

/// A small generator (splitmix64): the same seed plays the same history.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn chance(&mut self, in_hundred: u64) -> bool {
        self.below(100) < in_hundred
    }

    fn dies(&mut self) -> Dies {
        match self.below(10) {
            0 => Dies::Before,
            1 => Dies::After,
            _ => Dies::No,
        }
    }
}

/// What a history may contain beside deaths and lost answers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rules {
    /// Disks come back as they were.
    restores: bool,
    /// The session moves, and runners are deleted.
    moves: bool,
}

struct History {
    world: World,
    random: Random,
    rules: Rules,
    backups: Vec<(usize, Option<Copy>)>,
    sent: Vec<String>,
    words: u64,
    lease: u64,
    work_seq: u64,
}

impl History {
    fn step(&mut self) {
        let machine = usize::try_from(self.random.below(2)).unwrap();
        let dies = self.random.dies();
        match self.random.below(26) {
            0..=2 => self.say(dies),
            3..=6 => self.world.machines[machine].is_attached.then_some(()).map_or((), |()| self.poll(machine, dies)),
            7..=10 => self.work(machine),
            11..=14 => self.send(machine, dies),
            15 => self.world.machines[machine].die(),
            16..=17 if !self.world.machines[machine].is_attached => {
                self.world.attach(machine, dies);
            }
            18 => {
                let ms = i64::try_from(self.random.below(120_000)).unwrap();
                self.world.now += ms;
                self.world.alarm(dies);
            }
            19 => self.world.alarm(dies),
            20 => self.interrupt(dies),
            21 => self.world.goes(machine, Offline::Timeout, dies),
            22 if self.random.chance(10) => self.world.wait(30 * HOUR),
            23 if self.rules.restores => self.disk(machine),
            24 if self.rules.moves => self.leave(machine, dies),
            _ => {}
        }
        self.check();
    }

    fn say(&mut self, dies: Dies) {
        let id = format!("m{}", self.sent.len());
        self.world.message(dies, &id);
        // Whoever hears an error repeats it.
        if dies == Dies::Before {
            self.world.message(Dies::No, &id);
        }
        self.sent.push(id);
    }

    fn poll(&mut self, machine: usize, dies: Dies) {
        for (given, body) in self.world.poll(machine, dies).unwrap_or_default() {
            // The runner dies between two commits.
            if self.random.chance(5) {
                self.world.machines[machine].die();
                return;
            }
            self.world.store(machine, &given, &body);
        }
    }

    fn work(&mut self, machine: usize) {
        self.words += 1;
        let ends = self.random.chance(30);
        self.world.machines[machine].work(self.words, ends);
    }

    fn send(&mut self, machine: usize, dies: Dies) {
        if !self.world.machines[machine].is_attached {
            return;
        }
        let Some(copy) = &self.world.machines[machine].copy else { return };
        let back = usize::try_from(self.random.below(3)).unwrap();
        let most = usize::try_from(self.random.below(5)).unwrap() + 1;
        let from = copy.delivered.saturating_sub(back);
        self.world.send(machine, from, most, dies);
    }

    fn interrupt(&mut self, dies: Dies) {
        let id = self.world.id();
        self.world.change(dies, |desk, decide| desk::interrupt(desk, decide, &id).ok());
    }

    /// A copy of the disk is made, or put back.
    fn disk(&mut self, machine: usize) {
        let known = self.backups.iter().rposition(|(of, _)| *of == machine);
        match known.filter(|_| self.random.chance(30)) {
            Some(at) => {
                let (_, copy) = self.backups.remove(at);
                self.world.machines[machine].copy = copy;
                // Whatever puts a disk back stops what runs: the next process attaches.
                self.world.machines[machine].die();
                self.world.machines[machine].is_stopped = true;
            }
            None => self.backups.push((machine, self.world.machines[machine].copy.clone())),
        }
    }

    fn leave(&mut self, machine: usize, dies: Dies) {
        let id = self.world.id();
        self.world.chosen = machine;
        let force = self.random.chance(50);
        match self.random.below(4) {
            0..=2 => {
                self.world.change(dies, |desk, decide| desk::close(desk, decide, &id, "moved", true, force).ok());
            }
            // It cannot be chosen again before it registers anew; here at once.
            _ => self.world.goes(machine, Offline::Revoked, dies),
        }
    }

    /// What holds at any moment.
    fn check(&mut self) {
        let desk = self.world.desk();
        assert!(desk.lease >= self.lease && desk.work_seq >= self.work_seq);
        (self.lease, self.work_seq) = (desk.lease, desk.work_seq);
        assert!(desk.items.len() <= limits::MAX_WAITING_ITEMS);
        let prompts = desk.items.iter().filter(|item| item.kind == desk::ItemKind::Prompt);
        assert!(prompts.count() <= 1);
        assert!(desk.items.windows(2).all(|pair| pair[0].work_seq < pair[1].work_seq));
        assert_eq!(desk.items.is_empty(), desk.ring.is_none(), "whatever waits is told of again");
    }

    fn finish(mut self, seed: u64) {
        self.world.calm();
        let world = &self.world;
        for id in &self.sent {
            assert_eq!(world.endings(id), 1, "seed {seed}: {id} of {:#?}", world.told);
        }
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (mailbox, word) in world.words() {
            let before = last.insert(mailbox, word);
            assert!(before.is_none_or(|before| before < word), "seed {seed}: once, and in order");
        }
        let mut is_away = false;
        for told in &world.told {
            match told {
                Told::Offline { .. } => {
                    assert!(!is_away, "seed {seed}: once an outage");
                    is_away = true;
                }
                Told::Online { .. } => {
                    assert!(is_away, "seed {seed}");
                    is_away = false;
                }
                Told::Released(_) => is_away = false,
                _ => {}
            }
        }
        if !self.rules.restores && !self.rules.moves {
            for (id, runs) in &world.machines[0].runs {
                assert_eq!(*runs, 1, "seed {seed}: {id} ran more than once");
            }
        }
        // Nothing that the last copy said is missing.
        for machine in &world.machines {
            if let Some(copy) = &machine.copy
                && desk_has(world, copy)
            {
                assert_eq!(copy.delivered, copy.out.len(), "seed {seed}");
                let said = copy.out.iter().filter(|(_, kind, _)| kind == "update").count();
                let heard = world.words().iter().filter(|(mailbox, _)| *mailbox == copy.mailbox_id).count();
                assert_eq!(said, heard, "seed {seed}");
            }
        }
        let canceled = |told: &Told| matches!(told, Told::Released(Released::Canceled));
        assert_eq!(world.count(canceled), 0, "nobody canceled");
    }
}

fn desk_has(world: &World, copy: &Copy) -> bool {
    let desk = world.desk();
    desk.lease == copy.lease && desk.holder.is_some_and(|holder| holder.mailbox.as_ref() == Some(&copy.mailbox_id))
}

pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

fn play(rules: Rules, first: u64) {
    let first = number("RUNNER_FIRST_SEED", first);
    for seed in first..first + number("RUNNER_SEEDS", 100) {
        let mut history = History {
            world: World::new(),
            random: Random::new(seed),
            rules,
            backups: Vec::new(),
            sent: Vec::new(),
            words: 0,
            lease: 0,
            work_seq: 0,
        };
        for _ in 0..200 {
            history.step();
        }
        history.finish(seed);
    }
}

#[test]
fn deaths_and_lost_answers_lose_nothing_and_repeat_nothing() {
    play(Rules { restores: false, moves: false }, 1);
}

#[test]
fn old_copies_of_disks_end_every_message_once() {
    play(Rules { restores: true, moves: false }, 10_001);
}

#[test]
fn sessions_that_move_end_every_message_once() {
    play(Rules { restores: false, moves: true }, 20_001);
}

#[test]
fn everything_at_once_ends_every_message_once() {
    play(Rules { restores: true, moves: true }, 30_001);
}
