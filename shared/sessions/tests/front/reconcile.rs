//! Which sandboxes are ended (agents.md 6.7).

use std::cell::RefCell;

use pollster::block_on;
use sessions::front::{self, GRACE_MS, Listed, MAX_KILLS, MAX_PAGES, MAX_SANDBOXES, SandboxPage, Sandboxes};
use sessions::registry::intents::{self, IntentState};

use crate::world::{NOW, World};

const ENVIRONMENT: (&str, &str) = ("AGENT_ENVIRONMENT", "test");
const DAY_MS: i64 = 86_400_000;
/// What an object answers of its sandbox: that it was used lately, and that it was not.
const IN_USE: u16 = 200;
const UNUSED: u16 = 202;

/// Sandboxes in pages; the last is followed by none, or by itself for ever.
#[derive(Default)]
struct Provider {
    pages: Vec<Vec<Listed>>,
    is_endless: bool,
    fails_after: Option<usize>,
    asked: RefCell<usize>,
    killed: RefCell<Vec<String>>,
}

impl Sandboxes for Provider {
    async fn page(&self, next: Option<&str>) -> Result<SandboxPage, String> {
        *self.asked.borrow_mut() += 1;
        let number: usize = next.map_or(0, |next| next.parse().unwrap());
        if self.fails_after == Some(number) {
            return Err("down".to_owned());
        }
        let sandboxes = self.pages.get(number).cloned().unwrap_or_default();
        let has_next = self.is_endless || number + 1 < self.pages.len();
        Ok(SandboxPage { sandboxes, next: has_next.then(|| (number + 1).to_string()) })
    }

    async fn kill(&self, id: &str) -> Result<(), String> {
        self.killed.borrow_mut().push(id.to_owned());
        Ok(())
    }
}

fn listed(id: &str) -> Listed {
    Listed {
        id: id.to_owned(),
        session_id: Some("s".to_owned()),
        intent_id: Some(format!("i-{id}")),
        started_at: Some(NOW - GRACE_MS - 1),
        is_paused: false,
    }
}

fn one(sandbox: Listed) -> Provider {
    Provider { pages: vec![vec![sandbox]], ..Provider::default() }
}

fn run(world: &World, pages: &Provider) -> usize {
    block_on(front::reconcile(world, &world.service, pages));
    pages.killed.borrow().len()
}

#[expect(clippy::unnecessary_wraps, reason = "an object that is away answers none")]
fn bound(status: u16) -> Option<(u16, Vec<(&'static str, String)>)> {
    Some((status, Vec::new()))
}

#[expect(clippy::unnecessary_wraps, reason = "an object that is away answers none")]
fn unbound() -> Option<(u16, Vec<(&'static str, String)>)> {
    Some((410, Vec::new()))
}

#[test]
fn only_a_clear_answer_ends_a_sandbox() {
    for (answer, kills) in [
        (unbound(), 1),
        (Some((404, Vec::new())), 1),
        (bound(IN_USE), 0),
        (bound(UNUSED), 0),
        (Some((204, Vec::new())), 0),
        (Some((500, Vec::new())), 0),
        (None, 0),
    ] {
        let world = World::new(&[ENVIRONMENT]);
        let told = format!("{answer:?}");
        *world.answers.borrow_mut() = Box::new(move |_| answer.clone());
        assert_eq!(run(&world, &one(listed("a/b"))), kills, "{told}");
        let sent = world.sent.borrow();
        assert_eq!(sent[0].line, "POST https://session/__session__/disown/a%2Fb");
        assert_eq!((sent[0].name.as_str(), sent[0].header("x-caller")), ("s", Some("service")));
        let since = (NOW - 30 * DAY_MS).to_string();
        assert_eq!(sent[0].header("x-unused-since"), Some(since.as_str()));
    }
}

#[test]
fn young_and_nameless_ones_stay() {
    for (sandbox, kills) in [
        (listed("a"), 1),
        (Listed { started_at: Some(NOW - GRACE_MS), ..listed("a") }, 0),
        (Listed { started_at: None, ..listed("a") }, 0),
        (Listed { session_id: None, ..listed("a") }, 0),
    ] {
        let world = World::new(&[ENVIRONMENT]);
        *world.answers.borrow_mut() = Box::new(|_| unbound());
        assert_eq!(run(&world, &one(sandbox.clone())), kills, "{sandbox:?}");
    }
    let nameless = World::new(&[]);
    *nameless.answers.borrow_mut() = Box::new(|_| unbound());
    let pages = one(listed("a"));
    assert_eq!((run(&nameless, &pages), *pages.asked.borrow()), (0, 0), "without an environment nothing is asked");
}

#[test]
fn one_in_the_making_stays_until_its_deadline() {
    for (age, kills) in [(GRACE_MS - 1, 0), (GRACE_MS, 1)] {
        let world = World::new(&[ENVIRONMENT]);
        *world.answers.borrow_mut() = Box::new(|_| unbound());
        block_on(intents::begin(world.database(), "i-a", "s", "u", "test", NOW - age)).unwrap();
        assert_eq!(run(&world, &one(listed("a"))), kills, "{age}");
    }
}

#[test]
fn paused_ones_expire_when_their_session_gives_them_up() {
    let old = NOW - 30 * DAY_MS - 1;
    for (used, gives_up, is_paused, kills) in
        [(UNUSED, true, true, 1), (UNUSED, false, true, 0), (IN_USE, true, true, 0), (UNUSED, true, false, 0)]
    {
        let world = World::new(&[ENVIRONMENT]);
        let db = world.database();
        block_on(intents::begin(db, "i-a", "s", "u", "test", old)).unwrap();
        block_on(intents::bind(db, "i-a", "a", old)).unwrap();
        let expired = std::cell::Cell::new(false);
        *world.answers.borrow_mut() = Box::new(move |sent| {
            expired.set(expired.get() || sent.line.contains("/expire/"));
            if expired.get() && gives_up { unbound() } else { bound(used) }
        });
        assert_eq!(run(&world, &one(Listed { is_paused, ..listed("a") })), kills, "{used} {gives_up} {is_paused}");
        let state = block_on(intents::get(db, "i-a", "test")).unwrap().unwrap().state;
        assert_eq!(state == IntentState::Ended, kills == 1);
    }
}

#[test]
fn rows_end_only_after_a_whole_list() {
    let empty = || Provider { pages: vec![Vec::new()], ..Provider::default() };
    let listed_one = || one(listed("a"));
    let broken = || Provider { pages: vec![Vec::new(), Vec::new()], fails_after: Some(1), ..Provider::default() };
    let endless = || Provider { is_endless: true, ..Provider::default() };
    let cases: [(Provider, IntentState); 4] = [
        (empty(), IntentState::Ended),
        (listed_one(), IntentState::Bound),
        (broken(), IntentState::Bound),
        (endless(), IntentState::Bound),
    ];
    for (pages, expected) in cases {
        let world = World::new(&[ENVIRONMENT]);
        let db = world.database();
        block_on(intents::begin(db, "i-a", "s", "u", "test", NOW - DAY_MS)).unwrap();
        block_on(intents::bind(db, "i-a", "a", NOW - DAY_MS)).unwrap();
        run(&world, &pages);
        assert_eq!(block_on(intents::get(db, "i-a", "test")).unwrap().unwrap().state, expected);
        assert!(*pages.asked.borrow() <= MAX_PAGES);
        assert_eq!(world.events.borrow().len(), usize::from(pages.fails_after.is_some()));
    }
}

#[test]
fn one_run_has_bounds() {
    let many = |count: usize| (0..count).map(|number| listed(&number.to_string())).collect::<Vec<_>>();
    for (count, kills) in [(MAX_KILLS, MAX_KILLS), (MAX_KILLS + 1, MAX_KILLS)] {
        let world = World::new(&[ENVIRONMENT]);
        *world.answers.borrow_mut() = Box::new(|_| unbound());
        assert_eq!(run(&world, &Provider { pages: vec![many(count)], ..Provider::default() }), kills);
    }
    let world = World::new(&[ENVIRONMENT]);
    *world.answers.borrow_mut() = Box::new(|_| bound(IN_USE));
    run(&world, &Provider { pages: vec![many(MAX_SANDBOXES + 1)], ..Provider::default() });
    assert_eq!(world.sent.borrow().len(), MAX_SANDBOXES);
}
