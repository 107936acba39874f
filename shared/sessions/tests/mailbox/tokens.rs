//! Random lives of one runner (session-mailbox.md 7.2, 7.3, 7.8): whatever answers are lost, it is never locked out, at most one of its processes
//! counts, and sessions are told of each outage.

use sessions::mailbox::runner::{self, Attachment, AuthError, Decide, Detach, Effect, Registration, Runner, Times};
use sessions::mailbox::{Token, TokenHash, limits};

use crate::histories::{Random, number};

const TIMES: Times = Times { ttl_ms: 60_000 };

/// A runner on a machine, and its object.
struct World {
    random: Random,
    now: i64,
    object: Option<Runner>,
    /// The token on the machine's disk, and one that was received and is not stored yet.
    token: Option<Token>,
    tokens: u8,
    /// The attach id of the machine's process; none when it has none.
    process: Option<String>,
    processes: u64,
    /// What the one session heard last.
    told: u64,
    alarm_at: Option<i64>,
}

impl World {
    /// Something happens to the object; then it says when it wants to be woken.
    fn change<R>(&mut self, happens: impl FnOnce(&mut Option<Runner>, &mut Decide<'_>) -> R) -> R {
        let mut decide = Decide::new(self.now, &TIMES);
        let result = happens(&mut self.object, &mut decide);
        self.alarm_at =
            self.object.as_ref().and_then(|runner| runner::next_alarm(runner, &Decide::new(self.now, &TIMES)));
        let tells = decide.effects.contains(&Effect::TellSessions);
        if tells && !self.random.chance(30) {
            self.tell();
        }
        result
    }

    fn tell(&mut self) {
        let Some(runner) = &mut self.object else { return };
        let number = runner.presence.number;
        assert!(number >= self.told);
        self.told = number;
        runner::on_told(runner, "s", number);
    }

    fn new_token(&mut self) -> (Token, TokenHash) {
        self.tokens = self.tokens.wrapping_add(1);
        let token = Token::new(&[1; 16], &[self.tokens; 32]);
        let hash = token.hash();
        (token, hash)
    }

    fn register(&mut self, is_lost: bool) {
        let (token, hash) = self.new_token();
        let registration =
            Registration { user_id: "ann".into(), runner_id: "r".into(), instance_id: "one".into(), replace: false };
        self.change(|known, decide| runner::register(known, decide, token.key(), &registration, hash)).unwrap();
        self.process = None;
        if !is_lost {
            self.token = Some(token);
        }
    }

    /// A request with the token that the machine has.
    fn shows(&mut self) -> Result<(), AuthError> {
        let Some(token) = self.token.clone() else { return Err(AuthError::Unknown) };
        self.change(|known, decide| {
            known.as_mut().map_or(Err(AuthError::Unknown), |runner| runner::authenticate(runner, decide, &token.hash()))
        })
    }

    fn rotate(&mut self, is_lost: bool) {
        if self.shows().is_err() {
            return;
        }
        let (token, hash) = self.new_token();
        self.change(|known, decide| runner::rotate(known.as_mut().unwrap(), decide, hash));
        // The machine may die before it has stored the new one: the one before counts on.
        if !is_lost {
            self.token = Some(token);
        }
    }

    fn attach(&mut self, is_lost: bool) {
        if self.shows().is_err() {
            return;
        }
        self.processes += 1;
        let attachment = Attachment { id: format!("a{}", self.processes), process_id: format!("p{}", self.processes) };
        let id = attachment.id.clone();
        self.change(|known, decide| runner::attach(known.as_mut().unwrap(), decide, "one", 1, attachment)).unwrap();
        self.process = (!is_lost).then_some(id);
    }

    fn step(&mut self) {
        let is_lost = self.random.chance(25);
        match self.random.below(10) {
            0 if self.random.chance(20) => self.register(is_lost),
            1 => self.rotate(is_lost),
            2 if self.process.is_none() => self.attach(is_lost),
            3 => {
                let _ = self.shows();
            }
            4 => self.process = None,
            5 if self.process.is_some() => {
                let how = if is_lost { Detach::Stop } else { Detach::Upgrade };
                self.change(|known, decide| runner::detach(known.as_mut().unwrap(), decide, how));
                self.process = None;
            }
            6 => self.now += i64::try_from(self.random.below(200_000)).unwrap(),
            _ => self.wake(),
        }
        self.check();
    }

    fn wake(&mut self) {
        if self.alarm_at.is_some_and(|at| at <= self.now) {
            self.change(|known, decide| known.as_mut().map_or((), |runner| runner::on_alarm(runner, decide)));
        }
    }

    fn check(&self) {
        let Some(runner) = &self.object else { return };
        // A process that the machine believes in is the one that counts.
        if let Some(id) = &self.process {
            assert_eq!(runner::check_attach(runner, Some(id)), Ok(()));
        }
        let older = format!("a{}", self.processes.saturating_sub(1));
        assert!(runner::check_attach(runner, Some(&older)).is_err(), "one process at a time");
        assert!(runner.presence.offline.is_some() || self.alarm_at.is_some(), "silence has an end");
        assert_eq!(runner.untold().count() > 0, self.told < runner.presence.number);
    }
}

#[test]
fn a_runner_is_never_locked_out_and_its_sessions_know_of_each_outage() {
    let first = number("RUNNER_FIRST_SEED", 40_001);
    for seed in first..first + number("RUNNER_SEEDS", 100) {
        let mut world = World {
            random: Random::new(seed),
            now: 0,
            object: None,
            token: None,
            tokens: 0,
            process: None,
            processes: 0,
            told: 0,
            alarm_at: None,
        };
        world.register(false);
        runner::bind(world.object.as_mut().unwrap(), "s");
        world.told = world.object.as_ref().unwrap().presence.number;
        for _ in 0..200 {
            world.step();
        }
        // A machine whose token does not count registers again, as the specification has it, and is in.
        if world.shows().is_err() {
            world.register(false);
        }
        world.attach(false);
        world.check();
        assert_eq!(world.object.as_ref().unwrap().presence.offline, None, "seed {seed}");
        // Sessions that do not answer are told again and again; this one does.
        world.tell();
        world.now += TIMES.ttl_ms + limits::OFFLINE_SLACK_MS;
        world.wake();
        assert!(world.object.as_ref().unwrap().presence.offline.is_some(), "seed {seed}: silent for long");
    }
}
