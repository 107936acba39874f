//! Random histories of messages, processes and clocks (docs/spec/session-mailbox.md 6): no message is lost, none is tried more
//! than five times or sent more than 1 + `RETRY_SENT` times, nothing happens after an end, and no live process that makes
//! progress is killed. Seeds are fixed; `LIFE_LONG=1` plays ten times as many, `MAILBOX_FIRST_SEED` others.

use std::collections::BTreeMap;
use std::time::Duration;

use mailbox::due;
use mailbox::liveness::{Clocks, Limits, Sight, Watch};
use mailbox::message::{Ack, AckStatus, Message, Millis, Phase, RuntimeState, Status};
use mailbox::sweep::{self, Change, MAX_TRIES, Process, Rules, reasons};

/// A small generator: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

fn seeds(short: u64) -> impl Iterator<Item = u64> {
    let first = std::env::var("MAILBOX_FIRST_SEED").ok().map_or(1, |text| text.parse().unwrap());
    let count = if std::env::var_os("LIFE_LONG").is_some() { short * 10 } else { short };
    first..first + count
}

/// A process: what it has in its hands.
struct Shim {
    generation: i64,
    in_hand: Option<(String, i64)>,
    sent: bool,
}

struct World {
    random: Random,
    now: Millis,
    rules: Rules,
    messages: Vec<Message>,
    acks: BTreeMap<String, Ack>,
    generation: i64,
    settled: bool,
    shim: Option<Shim>,
    /// A process that was stopped, and goes on once a newer one is there, where locks do not hold.
    stale: Option<Shim>,
    sendings: BTreeMap<String, u32>,
    put_off: BTreeMap<String, u32>,
    ends: BTreeMap<String, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let rules = Rules { retry_sent: u32::try_from(random.below(3)).unwrap(), loadable: random.below(4) > 0 };
        Self {
            random,
            now: 1_000_000,
            rules,
            messages: Vec::new(),
            acks: BTreeMap::new(),
            generation: 0,
            settled: true,
            shim: None,
            stale: None,
            sendings: BTreeMap::new(),
            put_off: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn insert(&mut self) {
        let n = i64::try_from(self.messages.len()).unwrap();
        let expires_at = (self.random.below(8) == 0).then(|| self.now + 1_000_000);
        self.messages.push(Message { expires_at, ..Message::pending(format!("m{n}"), 2 * n + 2, self.now) });
    }

    fn say(&mut self, shim: &Shim, status: AckStatus, error: Option<&str>, until: Option<Millis>) {
        let Some((id, attempt)) = shim.in_hand.clone() else { return };
        let ack = Ack {
            message_id: id.clone(),
            generation: shim.generation,
            attempt,
            status,
            error: error.map(str::to_owned),
            until,
            result_seq: None,
        };
        // As `commit` does it: an older process does not overwrite what a newer one said.
        if self.acks.get(&id).is_none_or(|old| old.generation <= ack.generation) {
            self.acks.insert(id, ack);
        }
    }

    fn start(&mut self) {
        if self.shim.is_none() && self.settled {
            self.generation += 1;
            self.settled = false;
            self.shim = Some(Shim { generation: self.generation, in_hand: None, sent: false });
        }
    }

    /// One step of the process that runs.
    fn work(&mut self) {
        let Some(mut shim) = self.shim.take() else { return };
        if shim.in_hand.is_none() {
            let fresh: Vec<Message> =
                self.messages.iter().filter(|one| due::is_fresh(one, self.acks.get(&one.id))).cloned().collect();
            if let Some(next) = due::batch(&fresh, self.now, false).first() {
                shim.in_hand = Some((next.id.clone(), next.attempt()));
                shim.sent = false;
                self.say(&shim, AckStatus::Processing, None, None);
            }
        } else if !shim.sent {
            self.say(&shim, AckStatus::Sent, None, None);
            shim.sent = true;
            let id = &shim.in_hand.as_ref().unwrap().0;
            let message = self.messages.iter().find(|one| one.id == *id).unwrap();
            assert!(!message.status.is_final(), "{id} is sent after its end");
            *self.sendings.entry(id.clone()).or_default() += 1;
        } else {
            match self.random.below(8) {
                0 => self.say(&shim, AckStatus::Failed, Some("no credit"), None),
                1 => self.say(&shim, AckStatus::Deferred, Some(reasons::AGENT_DIED), None),
                2 => {
                    let until = self.now + i64::try_from(self.random.below(100_000)).unwrap();
                    *self.put_off.entry(shim.in_hand.as_ref().unwrap().0.clone()).or_default() += 1;
                    self.say(&shim, AckStatus::Deferred, None, Some(until));
                }
                _ => self.say(&shim, AckStatus::Completed, None, None),
            }
            shim.in_hand = None;
        }
        self.shim = Some(shim);
    }

    fn sweep(&mut self) {
        let process = if self.shim.is_none() { Process::Gone } else { Process::MayLive };
        for message in &mut self.messages {
            let was = message.status;
            let jitter = u16::try_from(self.random.below(1001)).unwrap();
            let ack = self.acks.get(&message.id);
            let Some(change) = sweep::decide(message, ack, self.generation, process, self.rules, self.now, jitter)
            else {
                continue;
            };
            assert!(!was.is_final());
            match change {
                Change::Complete => message.status = Status::Completed,
                Change::Fail(_) => message.status = Status::Failed,
                Change::Die => message.status = Status::Dead,
                Change::Cancel(_) => message.status = Status::Cancelled,
                Change::Defer(at) => (message.deferrals, message.process_after) = (message.deferrals + 1, Some(at)),
                Change::Retry(at) => (message.tries, message.process_after) = (message.tries + 1, Some(at)),
                Change::SendAgain => (message.sent_tries, message.process_after) = (message.sent_tries + 1, None),
            }
            if message.status.is_final() {
                *self.ends.entry(message.id.clone()).or_default() += 1;
            }
        }
        self.settled |= process == Process::Gone;
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 | 1 => self.insert(),
            2..=4 => self.start(),
            5..=11 => self.work(),
            12..=14 => self.sweep(),
            15 => self.shim = None,
            16 => {
                // Stopped, taken for gone (where that could be proven wrongly), and replaced.
                self.stale = self.shim.take();
            }
            17 => {
                if let Some(stale) = self.stale.take().filter(|stale| stale.generation < self.generation) {
                    self.say(&stale, AckStatus::Completed, None, None);
                    self.say(&stale, AckStatus::Sent, None, None);
                }
            }
            18 => self.now += i64::try_from(self.random.below(200_000)).unwrap(),
            _ => self.now -= i64::try_from(self.random.below(50_000)).unwrap(),
        }
        self.check();
    }

    fn check(&self) {
        for message in &self.messages {
            assert!(message.tries <= MAX_TRIES, "{message:?}");
            assert!(message.sent_tries <= self.rules.retry_sent, "{message:?}");
            let sendings = self.sendings.get(&message.id).copied().unwrap_or_default();
            let put_off = self.put_off.get(&message.id).copied().unwrap_or_default();
            assert!(sendings <= 1 + self.rules.retry_sent + put_off, "{sendings} sendings of {message:?}");
        }
        assert!(self.ends.values().all(|count| *count == 1));
    }

    /// From here on nothing dies: everything comes to an end.
    fn drain(&mut self) {
        self.stale = None;
        for _ in 0..100_000 {
            if self.messages.iter().all(|one| one.status.is_final()) {
                return;
            }
            self.sweep();
            self.start();
            self.work();
            self.check();
            self.now += 10_000;
        }
        panic!("lost: {:?}", self.messages.iter().filter(|one| !one.status.is_final()).collect::<Vec<_>>());
    }
}

#[test]
fn no_message_is_lost_or_done_too_often_whatever_dies() {
    for seed in seeds(3_000) {
        let mut world = World::new(seed);
        let steps = 20 + world.random.below(300);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..steps).for_each(|_| world.step());
            world.drain();
        }));
        assert!(played.is_ok(), "seed {seed}");
        assert!(world.messages.iter().all(|one| world.ends[&one.id] == 1), "seed {seed}");
    }
}

/// An agent that lives and makes progress, on a machine that sleeps, whose clock jumps, and whose runner is started again.
#[test]
fn no_live_process_that_makes_progress_is_killed() {
    for seed in seeds(150) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut clocks = Clocks { monotonic: Duration::from_secs(500), boot: Duration::from_secs(905) };
        let mut wall: Millis = 1_000_000_000;
        let mut watch = Watch::new(1, clocks);
        let (mut heartbeat, mut beat, mut told, mut changed) = (0_i128, 0_u64, 0_u64, 0_u64);
        let mut state = RuntimeState::starting(1);
        for second in 1..20_000_u64 {
            clocks.monotonic += Duration::from_secs(1);
            clocks.boot += Duration::from_secs(1);
            wall += 1_000;
            if second >= beat {
                heartbeat += 1;
                beat = second + 1 + random.below(25);
            }
            // A turn goes on for hours; the agent speaks every half hour at least, or a tool says how long it takes.
            if second >= told {
                state.progress_at = Some(i64::try_from(random.below(u64::MAX / 2)).unwrap());
                told = second + 1 + random.below(1_790);
            }
            // Its own clock is the same one: what it waits for has come when the clock jumps over it.
            if state.until.is_some_and(|until| until <= wall) {
                changed = changed.min(second + 1 + random.below(30));
                state.until = None;
                state.phase = Phase::Running;
            }
            if second >= changed {
                state.phase = [Phase::Running, Phase::WaitingUser, Phase::Running, Phase::Idle, Phase::RateLimited]
                    [usize::try_from(random.below(5)).unwrap()];
                state.until = (state.phase == Phase::RateLimited).then_some(wall + 3_600_000);
                changed = second + 1 + random.below(3_000);
            }
            match random.below(4_000) {
                0 => clocks.boot += Duration::from_secs(random.below(100_000)),
                1 => {
                    // Everything was stopped: this process too.
                    let gap = Duration::from_secs(random.below(100_000));
                    (clocks.monotonic, clocks.boot) = (clocks.monotonic + gap, clocks.boot + gap);
                }
                2 => wall += i64::try_from(random.below(1_000_000_000)).unwrap() - 500_000_000,
                3 => watch = Watch::new(1, clocks),
                _ => {}
            }
            let claims = if state.phase == Phase::Idle { vec![] } else { vec![("m", 1)] };
            let sight =
                Sight { generation: 1, heartbeat: Some(heartbeat), state: Some(&state), claims: &claims, now: wall };
            let decision = watch.look(&sight, clocks, Limits::default());
            assert_eq!(decision, None, "seed {seed}, second {second}, {state:?}");
        }
    }
}
