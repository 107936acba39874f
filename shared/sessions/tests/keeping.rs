//! A turn is over and its conversation is kept (transcripts.md 4.7, 4.9): what follows, and what waits for it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::json;
use sessions::event::Draft;
use sessions::runtime::{Made, Runtime, RuntimeError, Stopped};
use sessions::session::decide::{self, Decide, Keep};
use sessions::session::transcript::Kept;
use sessions::session::{Effect, Job, Phase, State, Status, Times};
use sessions::settings::Settings;

fn times() -> Times {
    Times::of(
        &Settings::from_lookup(|name| (name == "DB_SYNC_AUTH_DRIVER").then(|| "none".to_owned())).unwrap().session,
    )
}

fn runtime(sandbox: &str, can_load: bool) -> Runtime {
    serde_json::from_value(
        json!({"provider": "e2b", "base-url": "https://a.test", "server-id": "s", "session-id": sandbox,
        "dialect": "acp", "directory": "/w", "sandbox-id": sandbox, "can-load": can_load}),
    )
    .unwrap()
}

struct World {
    state: State,
    now: i64,
    times: Times,
}

impl World {
    /// A session whose agent works on its first order.
    fn working(can_load: bool) -> Self {
        let mut world = Self { state: State::new("s", "ann", 0), now: 0, times: times() };
        world.message();
        let generation = world.state.provisioning.unwrap().lease.generation;
        let made = Made::Ready(Box::new(runtime("box1", can_load)));
        world.decide(|state, decide| decide::on_provisioned(state, decide, generation, Ok(made)));
        world.send();
        world
    }

    fn decide<R>(&mut self, happen: impl FnOnce(&mut State, &mut Decide<'_>) -> R) -> Vec<Effect> {
        let mut decide = Decide::new(self.now, &self.times);
        happen(&mut self.state, &mut decide);
        decide.effects
    }

    fn message(&mut self) -> Vec<Effect> {
        let seq = self.state.next_order;
        self.state.next_order += 1;
        self.decide(|state, decide| {
            decide::on_message(state, decide, "ann", seq, Draft::user_message("ann", None, "x"));
        })
    }

    /// The prompt goes out.
    fn send(&mut self) {
        let (number, runtime) = (self.state.turn.as_ref().unwrap().number, self.state.runtime.clone().unwrap());
        self.decide(|state, decide| decide::on_prepared(state, decide, number, runtime));
        self.decide(|state, decide| decide::on_sent(state, decide, number));
        assert_eq!(self.state.turn.as_ref().unwrap().phase, Phase::Running);
    }

    fn end(&mut self, reason: &str) -> Vec<Effect> {
        self.decide(|state, decide| decide::on_turn_ended(state, decide, None, reason, None, None))
    }

    fn alarm(&mut self) -> Option<i64> {
        let next = decide::next_alarm(&self.state, &Decide::new(self.now, &self.times));
        if let Some(next) = next {
            self.now = self.now.max(next);
            self.decide(decide::on_alarm);
        }
        next
    }
}

fn keeps(effects: &[Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start(Job::Keep { generation }) => Some(*generation),
        _ => None,
    })
}

fn prompts(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Start(Job::Prompt { .. })))
}

fn events(effects: &[Effect]) -> Vec<String> {
    let appended = effects.iter().filter_map(|effect| match effect {
        Effect::Append(draft) => Some(draft.kind.to_string()),
        _ => None,
    });
    appended.collect()
}

fn kept(run: u64) -> Keep {
    Keep::Kept(Kept {
        run,
        agent: "claude".into(),
        native_session_id: "n".into(),
        directory: "/w".into(),
        sha256: None,
    })
}

#[test]
fn the_next_order_waits_until_the_turn_is_kept() {
    let mut world = World::working(true);
    let generation = keeps(&world.end("end_turn")).unwrap();
    assert!(!prompts(&world.message()));
    let other = world.decide(|state, decide| decide::on_kept(state, decide, generation + 1, kept(1)));
    assert!(other.is_empty(), "what comes back late is dropped");
    assert!(prompts(&world.decide(|state, decide| decide::on_kept(state, decide, generation, kept(1)))));
    assert_eq!(world.state.transcript.kept.as_ref().unwrap().run, 1);
}

#[test]
fn only_what_the_agent_has_ended_well_is_kept() {
    for reason in ["end_turn", "max_tokens", "refusal"] {
        assert!(keeps(&World::working(true).end(reason)).is_some(), "{reason}");
    }
    assert!(keeps(&World::working(true).end("cancelled")).is_none());
    assert!(keeps(&World::working(false).end("end_turn")).is_none(), "an agent that can load nothing");
    let mut failed = World::working(true);
    let error = RuntimeError::Failed("no".into());
    assert!(keeps(&failed.decide(|state, decide| decide::on_prompt_failed(state, decide, 1, &error))).is_none());
    let mut lost = World::working(true);
    assert!(keeps(&lost.decide(|state, decide| decide::on_runtime_lost(state, decide, "gone"))).is_none());
    for world in [failed, lost] {
        assert!(world.state.transcript.takes(None, 1, 0), "whoever ran it may still store it");
    }
}

/// A state that waits has a deadline, and something that settles it.
#[test]
fn keeping_that_never_ends_is_given_up() {
    let mut world = World::working(true);
    world.end("end_turn");
    world.message();
    assert_eq!(world.alarm(), Some(world.times.keeping()));
    assert!(world.state.transcript.keeping.is_none() && world.state.turn.is_some());
    let mut told = World::working(true);
    let generation = keeps(&told.end("end_turn")).unwrap();
    let failed = told.decide(|state, decide| decide::on_kept(state, decide, generation, Keep::Failed("no".into())));
    assert_eq!(events(&failed), ["transcript.failed"]);
    let mut half = World::working(true);
    let generation = keeps(&half.end("end_turn")).unwrap();
    let incomplete =
        half.decide(|state, decide| decide::on_kept(state, decide, generation, Keep::Incomplete("half".into())));
    assert_eq!(events(&incomplete), ["transcript.incomplete"]);
    assert!(half.state.transcript.kept.is_none());
}

#[test]
fn a_sandbox_is_ended_after_its_conversation_is_kept() {
    let ends = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Start(Job::End { .. })));
    let mut world = World::working(true);
    let generation = keeps(&world.end("end_turn")).unwrap();
    let cancelled = world.decide(|state, decide| decide::cancel(state, decide, "ann"));
    assert!(!ends(&cancelled) && cancelled.iter().any(|effect| matches!(effect, Effect::Start(Job::Checkpoint(_)))));
    let again = world.decide(|state, decide| decide::cancel(state, decide, "ann"));
    assert!(!ends(&again));
    assert!(ends(&world.decide(|state, decide| decide::on_kept(state, decide, generation, kept(1)))));
    let mut late = World::working(true);
    late.end("end_turn");
    late.decide(|state, decide| decide::cancel(state, decide, "ann"));
    let until = late.times.keeping();
    assert_eq!(late.alarm(), Some(until));
    assert!(late.state.transcript.keeping.is_none() && !late.state.ending.unwrap().waiting);
}

#[test]
fn the_last_run_counts_whatever_comes_last() {
    let mut state = State::new("s", "ann", 0);
    for (run, expected) in [(3, 3), (2, 3), (4, 4)] {
        let Keep::Kept(kept) = kept(run) else { unreachable!() };
        decide::on_stored(&mut state, kept);
        assert_eq!(state.transcript.kept.as_ref().unwrap().run, expected);
    }
}

#[test]
fn a_reset_forgets_and_lets_the_agent_forget() {
    let mut world = World::working(true);
    let generation = keeps(&world.end("end_turn")).unwrap();
    world.decide(|state, decide| decide::on_kept(state, decide, generation, kept(1)));
    let reset = world.decide(|state, decide| decide::on_reset(state, decide, 1, Some("ann"), None));
    assert_eq!(events(&reset), ["transcript.reset"]);
    assert!(world.state.transcript.kept.is_none() && world.state.runtime.as_ref().unwrap().server_ended);
    let mut live = World::working(true);
    live.decide(|state, decide| decide::on_reset(state, decide, 1, None, Some(1)));
    assert!(!live.state.runtime.as_ref().unwrap().server_ended, "a turn that goes on is not cut off");
    live.decide(|state, decide| decide::on_reset(state, decide, 2, None, Some(1)));
    for (epoch, run, is_of) in [(2, 1, true), (1, 1, true), (0, 1, true), (1, 2, false)] {
        assert_eq!(live.state.transcript.is_of(epoch, Some(run)), is_of, "{epoch} {run}");
    }
}

/// Facts 29 and 30 of transcripts.md 3, as the lease of 4.9.
#[test]
fn another_sandbox_waits_while_the_first_may_still_run() {
    let mut world = World::working(true);
    let lease = world.state.transcript.lease.clone().unwrap();
    assert_eq!((lease.holder.as_str(), lease.run, lease.attempt), ("box1", 1, 1));
    // The agent does not stop, and nothing proves that it was killed.
    world.decide(|state, decide| decide::interrupt(state, decide, "ann")).clear();
    world.now = 30_000;
    world.decide(decide::on_alarm);
    world.decide(|state, decide| decide::on_killed(state, decide, 1, Stopped::Unproven));
    world.decide(|state, decide| decide::resume(state, decide, "ann")).clear();
    // Another sandbox takes its place.
    world.state.runtime = Some(runtime("box2", true));
    assert!(!prompts(&world.message()), "the order waits, and is not lost");
    assert_eq!(world.state.orders.len(), 1);
    let expires = world.state.transcript.lease.as_ref().unwrap().expires;
    assert_eq!(decide::next_alarm(&world.state, &Decide::new(world.now, &world.times)), Some(expires));
    world.now = expires;
    assert!(prompts(&world.decide(decide::on_alarm)));
    world.send();
    assert_eq!(world.state.transcript.lease.as_ref().unwrap().generation, lease.generation + 1);
}

#[test]
fn proof_and_release_let_another_sandbox_go_on_at_once() {
    type Ends = fn(&mut World);
    let ends: [Ends; 3] = [
        |world| drop(world.end("end_turn")),
        |world| {
            world.decide(|state, decide| decide::interrupt(state, decide, "ann"));
            world.now = 30_000;
            world.decide(decide::on_alarm);
            world.decide(|state, decide| decide::on_killed(state, decide, 1, Stopped::Killed));
            world.decide(|state, decide| decide::resume(state, decide, "ann"));
        },
        |world| drop(world.decide(|state, decide| decide::on_runtime_lost(state, decide, "gone"))),
    ];
    for end in ends {
        let mut world = World::working(false);
        end(&mut world);
        assert_eq!(world.state.transcript.lease, None);
        world.state.runtime = Some(runtime("box2", false));
        assert!(prompts(&world.message()), "{:?}", world.state.status);
        assert_eq!(world.state.status, Status::Running);
    }
}
