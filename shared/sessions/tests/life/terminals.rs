//! Terminals of a session: who may open them, how many there are, and what ends them.

use serde_json::{Value, json};
use sessions::object::MAX_TERMINALS;
use sessions::runtime::TerminalSize;

use crate::agent::Fate;
use crate::settings;
use crate::world::World;

fn world() -> World {
    let world = World::new(settings(), "e2b");
    assert_eq!(world.create().0, 200);
    world
}

/// Events about terminals, without what is the same for all.
fn told(world: &World) -> Vec<(String, Value)> {
    let events = world.events().into_iter().filter_map(|event| {
        let name = event["type"].as_str()?.strip_prefix("session.terminal.")?.to_owned();
        Some((name, event["data"].clone()))
    });
    events.collect()
}

fn open(world: &World) -> usize {
    assert_eq!(world.ask_for_socket("terminal?cols=100&rows=30", "ann").0, 101);
    world.viewers.borrow().len() - 1
}

fn seen(world: &World, viewer: usize) -> Vec<String> {
    world.viewers.borrow()[viewer].screen.0.borrow().clone()
}

fn leave(world: &World, viewer: usize) {
    world.viewers.borrow()[viewer].inbox.gone();
    world.pass(100);
}

fn ended(world: &World) -> Vec<Option<i64>> {
    world.agent.borrow().terminals.values().map(|told| told.ended).collect()
}

#[test]
fn a_terminal_from_its_opening_to_its_end() {
    let world = world();
    let viewer = open(&world);
    world.viewers.borrow()[viewer].inbox.text("ls\n");
    world.pass(100);
    {
        let agent = world.agent.borrow();
        let terminal = agent.terminals.values().next().unwrap();
        assert_eq!(terminal.size, Some(TerminalSize { cols: 100, rows: 30 }));
        assert_eq!(terminal.typed, "ls\n");
    }
    let opened = ("opened".to_owned(), json!({"by": "ann", "cols": 100, "rows": 30}));
    assert_eq!(told(&world), std::slice::from_ref(&opened));
    world.agent.borrow_mut().exit_terminal(100, 3);
    world.pass(100);
    let closed = ("closed".to_owned(), json!({"by": "ann", "reason": "exited", "exit-code": 3}));
    assert_eq!(told(&world), [opened, closed]);
    assert_eq!(seen(&world, viewer), [r#"{"type":"ready"}"#, r#"{"code":3,"type":"exit"}"#, "closed 1000"]);
}

#[test]
fn a_viewer_that_goes_takes_its_process_along() {
    let world = world();
    let (first, second) = (open(&world), open(&world));
    leave(&world, first);
    assert_eq!(ended(&world), [Some(137), None]);
    assert_eq!(told(&world)[2], ("closed".to_owned(), json!({"by": "ann", "reason": "viewer-gone"})));
    leave(&world, second);
    assert_eq!(ended(&world), [Some(137), Some(137)]);
}

#[test]
fn there_are_few_at_a_time() {
    let world = world();
    let viewers: Vec<usize> = (0..MAX_TERMINALS).map(|_| open(&world)).collect();
    let refused = world.ask_for_socket("terminal", "ann");
    assert_eq!(refused, (429, json!({"error": "too many terminals"})));
    assert_eq!(told(&world).len(), MAX_TERMINALS, "a refusal for their number is no event");
    leave(&world, viewers[0]);
    open(&world);
}

#[test]
fn sizes_that_no_terminal_has_are_left_out() {
    let world = world();
    for query in ["cols=abc", "cols=0&rows=5000", "cols=-1", "cols=70000"] {
        assert_eq!(world.ask_for_socket(&format!("terminal?{query}"), "ann").0, 101);
        let agent = world.agent.borrow();
        let size = agent.terminals.values().last().unwrap().size;
        assert_eq!(size, Some(TerminalSize { cols: 120, rows: 40 }), "{query}");
    }
    assert!(told(&world).iter().all(|(_, data)| *data == json!({"by": "ann"})));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let unsupported = (409, json!({"error": "session runtime does not support browser terminal"}));
    let world = world();
    assert_eq!(world.ask("GET", "terminal?rows=5", None), unsupported);
    assert_eq!(
        told(&world),
        [("failed".to_owned(), json!({"by": "ann", "error": "a terminal needs a WebSocket", "rows": 5}))]
    );
    world.agent.borrow_mut().next_terminal = Fate::Missing;
    assert_eq!(world.ask_for_socket("terminal", "ann"), (500, json!({"error": "failed to open terminal"})));
    assert_eq!(told(&world)[1].0, "failed");
    open(&world);
    world.ask("POST", "cancel", None);
    world.pass(1_000);
    let (status, body) = world.ask_for_socket("terminal", "ann");
    assert_eq!((status, body), (409, json!({"error": "session is not writable"})));

    let runner = World::new(settings(), "local-dev");
    assert_eq!(runner.ask_for_socket("terminal", "ann").0, 404);
    runner.create();
    assert_eq!(runner.ask_for_socket("terminal", "ann"), unsupported);
    assert_eq!(told(&runner)[0].0, "failed");
}

#[test]
fn a_sandbox_that_does_not_answer_keeps_no_place() {
    let world = world();
    for _ in 0..MAX_TERMINALS {
        world.agent.borrow_mut().next_terminal = Fate::Never;
        assert_eq!(world.ask_for_socket("terminal", "ann").0, 0, "no answer yet");
    }
    assert_eq!(world.ask_for_socket("terminal", "ann").0, 429);
    world.pass(30_000);
    let failed = json!({"by": "ann", "error": "no answer in time"});
    assert_eq!(told(&world), vec![("failed".to_owned(), failed); MAX_TERMINALS]);
    open(&world);
}

#[test]
fn only_who_may_use_the_session_opens_one() {
    let mut strict = settings();
    strict.strict_access = true;
    let world = World::new(strict, "e2b");
    world.create();
    assert_eq!(world.ask_for_socket("terminal", "bob").0, 404);
    assert_eq!(world.ask_for_socket("terminal", "").0, 401);
    assert!(told(&world).is_empty() && world.agent.borrow().terminals.is_empty());
    open(&world);
}

#[test]
fn a_runtime_that_is_ended_ends_its_terminals_first() {
    let world = world();
    let viewer = open(&world);
    world.ask("POST", "cancel", None);
    world.pass(1_000);
    assert_eq!(ended(&world), [Some(137)]);
    assert_eq!(seen(&world, viewer).last().unwrap(), "closed 1001");
    assert_eq!(told(&world)[1].1["reason"], "runtime-ended");
}

#[test]
fn terminals_of_an_object_that_died_are_killed_by_the_next() {
    let mut world = world();
    open(&world);
    world.crash();
    assert_eq!(ended(&world), [None]);
    world.ask("GET", "status", None);
    world.pass(100);
    assert_eq!(ended(&world), [Some(137)]);
    assert_eq!(told(&world)[1], ("closed".to_owned(), json!({"by": "ann", "reason": "interrupted"})));
    world.crash();
    world.ask("GET", "status", None);
    world.pass(100);
    assert_eq!(told(&world).len(), 2, "it is told once");
    open(&world);
}

#[test]
fn typing_keeps_a_quiet_session_awake() {
    let world = world();
    let viewer = open(&world);
    let minute = || {
        world.pass(60_000);
        world.agent.borrow_mut().beat();
    };
    // Quarter of an hour without anything ends a runtime.
    for _ in 0..40 {
        world.viewers.borrow()[viewer].inbox.text("x");
        minute();
    }
    assert_eq!(ended(&world), [None]);
    (0..14).for_each(|_| minute());
    assert_eq!(ended(&world), [None]);
    (0..2).for_each(|_| minute());
    assert_eq!(ended(&world), [Some(137)]);
    assert_eq!(seen(&world, viewer).last().unwrap(), "closed 1001");
}
