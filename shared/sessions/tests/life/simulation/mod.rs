//! Random histories of everything around a session at once: clients, the runtime and its agent, receivers of notifications, GitHub, and an
//! object that dies at any point at which it waits for others.
//!
//! Whatever happens: no event is lost or comes twice, no prompt is sent twice, no message that was accepted is lost without a word, no
//! sandbox is left behind, a limit is passed by one report at most, counts are the same after a death, the log explains the state,
//! a receiver gets each notification, and a remark about a pull request is acted upon once.
//!
//! `SESSION_SEEDS` is how many histories are played, `SESSION_FIRST_SEED` the first of them.

mod checks;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::registry::webhooks;
use sessions::request::NewWebhook;
use sessions::webhook::Topic;

use crate::agent::{Fate, commit};
use crate::receiver::Post;
use crate::world::World;
use crate::{database, settings_with};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const STEPS: usize = 50;
const DEFAULT_SEEDS: u64 = 1_000;
/// Orders from pull requests without a message of a person.
const MAX_ROUNDS: usize = 2;
/// What a limit of money allows, in dollars; each report is a quarter.
const MONEY: f64 = 1.0;
const QUARTER: f64 = 0.25;

/// A generator of small numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.roll(all.len() as u64)).unwrap()]
    }

    fn fate(&mut self) -> Fate {
        self.one_of(&[
            Fate::NotReached,
            Fate::Broken,
            Fate::Missing,
            Fate::Never,
            Fate::Well,
            Fate::Well,
            Fate::Well,
            Fate::Well,
        ])
    }

    fn post(&mut self) -> Post {
        let all = [
            Post::Status(500),
            Post::Status(204),
            Post::Late(9_000, 200),
            Post::Late(11_000, 200),
            Post::Lost,
            Post::Unreached,
            Post::Held,
            Post::Never,
        ];
        // Once in a while a receiver says that it is gone.
        if self.roll(40) == 0 { Post::Status(410) } else { self.one_of(&all) }
    }
}

/// What limits a session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    None,
    Turns(u64),
    Money,
}

/// Whoever reads the log page by page, from where they left off.
#[derive(Default)]
struct Reader {
    cursor: u64,
    events: Vec<String>,
}

/// One history.
struct History {
    dice: Dice,
    world: World,
    db: Rc<Sqlite>,
    limit: Limit,
    hooks: Vec<&'static str>,
    reader: Reader,
    /// Events that were seen, in their order.
    seen: Vec<String>,
    /// Messages that were accepted for certain, and those of which nobody knows.
    accepted: Vec<String>,
    unknown: Vec<String>,
    messages: usize,
    /// Names of GitHub's deliveries that were sent.
    remarks: usize,
    /// Prompts before a limit was used up that still is.
    held_at: Option<usize>,
    deleted: bool,
    /// After this time everything has come to rest.
    rested_at: i64,
}

impl History {
    fn begin(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        let provider = dice.one_of(&["e2b", "e2b", "local-dev"]);
        let limit = match dice.roll(4) {
            0 => Limit::Turns(dice.roll(4) + 1),
            1 => Limit::Money,
            _ => Limit::None,
        };
        let settings = settings_with(&[
            ("GITHUB_APP_ID", "42"),
            ("GITHUB_APP_PRIVATE_KEY", "MAMCAQA="),
            ("AGENT_PR_MAX_ROUNDS", "2"),
        ]);
        let db = database();
        let hooks: Vec<&str> = ["all", "some"].into_iter().take(usize::try_from(dice.roll(3)).unwrap()).collect();
        for id in &hooks {
            let topics =
                if *id == "all" { Topic::ALL.to_vec() } else { vec![Topic::TurnFinished, Topic::BudgetReached] };
            let wanted = NewWebhook { url: format!("https://receiver.example/{id}"), topics, graph_id: None };
            block_on(webhooks::add(&*db, &settings.seal(), "ann", id, &wanted, 1)).unwrap();
        }
        let world = World::beside(Some(Rc::clone(&db)), settings, provider);
        world.net.borrow_mut().has_github = true;
        let budget = match limit {
            Limit::None => None,
            Limit::Turns(turns) => Some(json!({"turns": turns})),
            Limit::Money => Some(json!({"cost": {"amount": MONEY, "currency": "USD"}})),
        };
        world.create_by(|init| {
            init["task"]["project"]["repo-url"] = json!("https://github.com/acme/app");
            init["task"]["capabilities"]["follow-up"] = json!(true);
            if let Some(budget) = budget {
                init["budget"] = budget;
            }
        });
        Self {
            dice,
            world,
            db,
            limit,
            hooks,
            reader: Reader::default(),
            seen: Vec::new(),
            accepted: Vec::new(),
            unknown: Vec::new(),
            messages: 0,
            remarks: 0,
            held_at: None,
            deleted: false,
            rested_at: i64::MAX,
        }
    }

    /// The session has opened a pull request before anything goes wrong.
    fn open_pull_request(&mut self) {
        self.messages += 1;
        let text = format!("message {}", self.messages);
        assert_eq!(self.world.message(&text).0, 200);
        self.accepted.push(text);
        self.world.pass(100);
        self.world.agent.borrow_mut().finish("end_turn");
        self.world.pass(SECOND);
        self.world.ask("POST", "pr", Some(&json!({})));
        self.world.pass(SECOND);
    }

    /// The object dies, and counts must be the same after it.
    fn die(&mut self) {
        let before = (!self.world.is_dead()).then(|| self.counts());
        self.world.crash();
        if let Some(before) = before {
            assert_eq!(before, self.counts(), "counts after a death");
        }
    }

    /// What was counted, but for time, which goes on.
    fn counts(&self) -> Value {
        let (status, mut body) = self.world.ask("GET", "budget", None);
        assert_eq!(status, 200, "{body}");
        body["used"].as_object_mut().unwrap().remove("minutes");
        body["used"].take()
    }

    fn say(&mut self) {
        self.messages += 1;
        let text = format!("message {}", self.messages);
        let body = json!({"message": text, "kind": "user"});
        if self.dice.roll(2) == 0 {
            match self.world.ask("POST", "messages", Some(&body)).0 {
                200 => self.accepted.push(text),
                0 => self.unknown.push(text),
                _ => {}
            }
            return;
        }
        // Somebody who repeats a request until it is answered.
        let key = format!("key {}", self.messages);
        for _ in 0..3 {
            match self.world.keyed("POST", "messages", &body, &key).0 {
                200 => {
                    self.accepted.push(text);
                    return;
                }
                0 if self.world.is_dead() => self.world.crash(),
                _ => {}
            }
        }
        self.unknown.push(text);
    }

    fn hear(&mut self) {
        let pushes = self.world.agent.borrow().pushed.len();
        let repeat = self.remarks > 0 && self.dice.roll(4) == 0;
        if !repeat {
            self.remarks += 1;
        }
        let number = self.remarks;
        let is_check = number.is_multiple_of(3);
        let about = if is_check { json!({"commit": commit(pushes)}) } else { json!({"pull": 5}) };
        let text = sessions::follow_up::quoted("@rev comments:", &format!("remark {number}."));
        let news = if self.dice.roll(20) == 0 && !repeat {
            json!({"closed": {"by": "github:rev", "merged": true}})
        } else {
            json!({"said": {"by": "github:rev", "text": text}})
        };
        let told = json!({"delivery": format!("d{number}"), "repository": "github/acme/app", "number": 5, "about": about, "news": news});
        let status = self.world.hear(&told).0;
        assert!(matches!(status, 0 | 200), "{status}");
    }

    fn decide(&self) {
        let (_, body) = self.world.ask("GET", "approvals", None);
        if let Some(id) = body["approvals"][0]["request-id"].as_str() {
            let decision = json!({"decision": "granted"});
            self.world.ask("POST", &format!("approvals/{id}"), Some(&decision));
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.dice.roll(4) == 0 {
            self.world.clock.fuse.set(Some(self.dice.roll(12)));
        }
        let heeds = self.dice.roll(2) == 0;
        self.world.agent.borrow_mut().heeds_cancel = heeds;
        let verb = |world: &World, verb: &str| drop(world.ask("POST", verb, None));
        match self.dice.roll(28) {
            0..=4 => self.say(),
            5 => verb(&self.world, "pause"),
            6 | 7 => verb(&self.world, "resume"),
            8 => verb(&self.world, "interrupt"),
            9 if self.dice.roll(4) == 0 => verb(&self.world, "cancel"),
            10 => self.die(),
            11 => {
                let next = self.dice.fate();
                self.world.agent.borrow_mut().next_prompt = next;
            }
            12 if self.dice.roll(2) == 0 => {
                let next = self.dice.one_of(&[Fate::Broken, Fate::Never]);
                self.world.agent.borrow_mut().next_provision = next;
            }
            13 => self.world.agent.borrow_mut().speak("text "),
            14 => self.world.agent.borrow_mut().use_tool(),
            15 | 16 => {
                if !self.world.agent.borrow().working.is_empty() {
                    self.world.agent.borrow_mut().spend();
                }
            }
            17 | 18 => self.world.agent.borrow_mut().finish("end_turn"),
            19 if self.dice.roll(4) == 0 => self.world.agent.borrow_mut().exit(),
            19 => self.world.agent.borrow_mut().ask(),
            20 => self.decide(),
            21 => {
                let posts: Vec<Post> = (0..self.dice.roll(4)).map(|_| self.dice.post()).collect();
                self.world.net.borrow_mut().next.extend(posts);
            }
            22 => drop(self.world.ask("POST", "pr", Some(&json!({})))),
            23 | 24 => self.hear(),
            25 if self.dice.roll(3) == 0 => verb(&self.world, "archive"),
            25 => {
                let next = self.dice.one_of(&[Fate::Broken, Fate::Never, Fate::Well]);
                self.world.agent.borrow_mut().next_push = next;
            }
            26 => self.replay(),
            _ => self.world.pass(self.dice.one_of(&[10, SECOND, 70 * SECOND, 20 * MINUTE])),
        }
        if self.world.is_dead() {
            self.world.crash();
        }
        self.world.clock.fuse.set(None);
        self.check();
    }

    /// Somebody wants a notification once more.
    fn replay(&mut self) {
        let known: Vec<String> = self.deliveries().into_keys().collect();
        if known.is_empty() {
            return;
        }
        let id = &known[usize::try_from(self.dice.roll(known.len() as u64)).unwrap()];
        let status = self.world.replay(id).0;
        assert!(matches!(status, 0 | 200 | 404), "{status}");
    }

    /// Deliveries as their users see them: the state of each.
    fn deliveries(&self) -> BTreeMap<String, String> {
        let rows = block_on(self.db.query(ReadFrom::Primary, "SELECT delivery_id, state FROM webhook_deliveries", &[]));
        rows.unwrap().iter().map(|row| (row.string(0).unwrap(), row.string(1).unwrap())).collect()
    }

    /// Everybody is well again, and time passes.
    fn rest(&mut self) {
        {
            let mut agent = self.world.agent.borrow_mut();
            (agent.next_prompt, agent.next_provision, agent.next_push) = (Fate::Well, Fate::Well, Fate::Well);
        }
        {
            let mut net = self.world.net.borrow_mut();
            net.next.clear();
            net.then = None;
        }
        if self.dice.roll(2) == 0 {
            self.die();
        }
        if self.dice.roll(4) == 0 {
            self.world.delete();
            self.deleted = true;
        }
        self.world.session.load().unwrap();
        self.world.pass(24 * HOUR);
        self.rested_at = self.world.clock.now.get() - 1;
    }
}

fn play(seed: u64) {
    let mut history = History::begin(seed);
    if history.dice.roll(2) == 0 {
        history.open_pull_request();
    }
    for _ in 0..STEPS {
        history.step();
    }
    history.rest();
    history.end();
    // What became of notifications is known for a week; then nothing waits any more.
    history.world.pass(8 * 24 * HOUR);
    assert_eq!(history.world.alarm(), None, "it does not come to rest");
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn every_history_ends_well() {
    let first = setting("SESSION_FIRST_SEED").unwrap_or(1);
    let seeds = setting("SESSION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    for seed in first..first.saturating_add(seeds) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            eprintln!("SESSION_FIRST_SEED={seed} SESSION_SEEDS=1 plays it again");
            resume_unwind(failure);
        }
    }
}
