use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join;
use serde_json::{Value, json};
use web::{Call, Host as _};

use super::outbox::UNHEARD_BYTES;
use super::*;
use crate::connect;
use crate::legacy::Dialect;
use crate::object::Socket;
use crate::runtime::testing::{Clock, Piece, Script, World, settings};
use crate::runtime::{E2bProvider, ProviderKind, RuntimeSecrets};

/// What a viewer has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Bytes(Vec<u8>),
    Closed(u16),
}

#[derive(Clone, Default)]
struct Screen(Rc<RefCell<Vec<Seen>>>);

impl Socket for Screen {
    fn text(&self, text: &str) {
        self.0.borrow_mut().push(Seen::Text(text.to_owned()));
    }

    fn bytes(&self, bytes: &[u8]) {
        self.0.borrow_mut().push(Seen::Bytes(bytes.to_vec()));
    }

    fn close(&self, code: u16, reason: &str) {
        assert!(reason.len() <= 123);
        self.0.borrow_mut().push(Seen::Closed(code));
    }
}

impl Screen {
    fn seen(&self) -> Vec<Seen> {
        self.0.borrow().clone()
    }

    fn shown(&self) -> usize {
        let len = |seen: &Seen| if let Seen::Bytes(bytes) = seen { bytes.len() } else { 0 };
        self.0.borrow().iter().map(len).sum()
    }
}

fn text(value: &Value) -> Seen {
    Seen::Text(value.to_string())
}

fn ready() -> Seen {
    text(&json!({"type": "ready"}))
}

fn failed(message: &str) -> Seen {
    text(&json!({"type": "error", "message": message}))
}

fn runtime() -> Runtime {
    Runtime {
        provider: ProviderKind::E2b,
        base_url: String::new(),
        server_id: "s".to_owned(),
        session_id: "r1".to_owned(),
        dialect: Dialect::default(),
        directory: "/home/user/workspace/app".to_owned(),
        runner_id: None,
        sandbox_id: Some("sbx1".to_owned()),
        transport: crate::runtime::Transport::default(),
        sandbox_domain: Some("e2b.test".to_owned()),
        sandbox_port: None,
        template: None,
        snapshot_id: None,
        agent_sid: None,
        github_token_at: None,
        broker_at: None,
        egress: Vec::new(),
        server_ended: false,
        agent_exited: false,
        can_load: false,
        has_tools: false,
        secrets: RuntimeSecrets::default(),
    }
}

fn event(event: &Value) -> Piece {
    let mut bytes = Vec::new();
    connect::write_message(&mut bytes, &json!({"event": event})).unwrap();
    Piece::Bytes(bytes)
}

fn written(text: &str) -> Piece {
    event(&json!({"data": {"pty": STANDARD.encode(text)}}))
}

fn exited(code: i64) -> Piece {
    event(&json!({"end": {"exitCode": code, "exited": true}}))
}

/// What a terminal was told, as `method content`.
fn orders(world: &World) -> Vec<String> {
    let told = |call: &Call| {
        let method = call.url.rsplit('/').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        match method.as_str() {
            "SendInput" => {
                let bytes = STANDARD.decode(body["input"]["pty"].as_str().unwrap()).unwrap();
                Some(format!("input {}", String::from_utf8(bytes).unwrap()))
            }
            "Update" => Some(format!("resize {}x{}", body["pty"]["size"]["cols"], body["pty"]["size"]["rows"])),
            "SendSignal" => Some("kill".to_owned()),
            _ => None,
        }
    };
    world.calls().iter().filter_map(told).collect()
}

/// A terminal under test: what it writes, and how it answers orders.
struct Case {
    world: World,
    screen: Screen,
    inbox: Rc<Inbox>,
    stop: RefCell<Option<oneshot::Sender<()>>>,
    denied_at: Option<u32>,
    used: Rc<RefCell<Vec<i64>>>,
}

fn case(output: Vec<Piece>) -> Case {
    case_with(output, |_| Script::json(200, &json!({})))
}

fn case_with(output: Vec<Piece>, mut answer: impl FnMut(&Call) -> Script + 'static) -> Case {
    let world = World::new(move |call| match call.url.rsplit('/').next() {
        Some("connect") => Script::json(200, &json!({"sandboxID": "sbx1"})),
        Some("Start") => {
            let mut body = vec![event(&json!({"start": {"pid": 7}}))];
            body.extend(output.iter().cloned());
            Script::stream("application/connect+json", body)
        }
        _ => answer(call),
    });
    Case {
        world,
        screen: Screen::default(),
        inbox: Rc::default(),
        stop: RefCell::default(),
        denied_at: None,
        used: Rc::default(),
    }
}

impl Case {
    /// Runs the terminal to its end, and the viewer beside it.
    fn run(&self, viewer: impl AsyncFnOnce(&Clock)) -> End {
        let clock = &self.world.clock;
        let provider = Rc::new(E2bProvider::new(Rc::new(settings()), self.world.clone(), clock.clone()));
        let mut runtime = runtime();
        let opened = clock.run(provider.open_terminal(&mut runtime, frames::USUAL)).unwrap();
        let (sender, stop) = oneshot::channel();
        *self.stop.borrow_mut() = Some(sender);
        let terminal = Terminal {
            provider,
            runtime,
            pid: opened.pid,
            socket: self.screen.clone(),
            inbox: Rc::clone(&self.inbox),
            host: clock,
        };
        let denied = async {
            match self.denied_at {
                Some(ms) => clock.sleep_ms(ms).await,
                None => std::future::pending().await,
            }
        };
        let used = || self.used.borrow_mut().push(clock.now_ms());
        clock.run(join(viewer(clock), terminal.run(opened.output, stop, denied, used))).1
    }
}

async fn nobody(_: &Clock) {}

#[test]
fn a_shell_that_exits_is_told_with_its_code() {
    for code in [0, 3] {
        let case = case(vec![written("a"), written("b"), Piece::Pause(50), written("c"), exited(code)]);
        assert_eq!(case.run(nobody).reason(), "exited");
        assert_eq!(
            case.screen.seen(),
            [
                ready(),
                Seen::Bytes(b"ab".to_vec()),
                Seen::Bytes(b"c".to_vec()),
                text(&json!({"type": "exit", "code": code})),
                Seen::Closed(1000)
            ]
        );
        assert!(orders(&case.world).is_empty(), "what has ended is not killed");
    }
}

#[test]
fn what_is_said_arrives_in_its_order() {
    let case = case(vec![Piece::Silence]);
    let inbox = Rc::clone(&case.inbox);
    let end = case.run(async |clock: &Clock| {
        inbox.text(r#"{"type":"input","data":"l"}"#);
        clock.sleep_ms(5).await;
        inbox.text("s");
        clock.sleep_ms(100).await;
        inbox.bytes(b"x");
        inbox.text(r#"{"type":"resize","cols":80,"rows":25}"#);
        inbox.text("y");
        clock.sleep_ms(100).await;
        inbox.text(r#"{"type":"resize","cols":0,"rows":25}"#);
        inbox.text(r#"{"type":"input"}"#);
        clock.sleep_ms(100).await;
        inbox.gone();
    });
    assert_eq!(end, End::Gone);
    assert_eq!(orders(&case.world), ["input ls", "input x", "resize 80x25", "input y", "kill"]);
    assert_eq!(case.screen.seen(), [ready(), Seen::Closed(1000)]);
}

#[test]
fn orders_wait_for_each_other() {
    // The first order takes two seconds; what is said meanwhile is one order.
    let mut first = true;
    let case = case_with(vec![Piece::Silence], move |_| {
        let pause = if std::mem::take(&mut first) { 2_000 } else { 0 };
        Script::stream("application/json", vec![Piece::Pause(pause), Piece::Bytes(b"{}".to_vec())])
    });
    let inbox = Rc::clone(&case.inbox);
    case.run(async |clock: &Clock| {
        for letter in ["a", "b", "c", "d"] {
            inbox.bytes(letter.as_bytes());
            clock.sleep_ms(200).await;
        }
        clock.sleep_ms(5_000).await;
        inbox.gone();
    });
    assert_eq!(orders(&case.world), ["input a", "input bcd", "kill"]);
}

#[test]
fn whoever_ends_it_the_process_is_killed_and_the_viewer_told() {
    let flooded = case(vec![Piece::Silence]);
    let inbox = Rc::clone(&flooded.inbox);
    assert_eq!(flooded.run(async |_: &Clock| inbox.bytes(&vec![0; MAX_FRAME_BYTES + 1])), End::Flooded);
    assert_eq!(flooded.screen.seen()[1..], [failed("too much input"), Seen::Closed(1009)]);
    assert_eq!(orders(&flooded.world), ["kill"]);

    let stopped = case(vec![Piece::Silence]);
    let end = stopped.run(async |clock: &Clock| {
        clock.sleep_ms(1_000).await;
        stopped.stop.take().unwrap().send(()).unwrap();
    });
    assert_eq!(end, End::RuntimeEnded);
    assert_eq!(stopped.screen.seen()[1..], [failed("the session's runtime was ended"), Seen::Closed(1001)]);
    assert_eq!(orders(&stopped.world), ["kill"]);

    let denied = Case { denied_at: Some(1_000), ..case(vec![Piece::Silence]) };
    assert_eq!(denied.run(nobody), End::Denied);
    assert_eq!(denied.screen.seen()[1..], [failed("forbidden"), Seen::Closed(1008)]);
    assert_eq!(orders(&denied.world), ["kill"]);
}

#[test]
fn a_sandbox_that_gives_no_sign_of_life_is_lost() {
    let life = event(&json!({"keepalive": {}}));
    let case = case(vec![Piece::Pause(50_000), life.clone(), Piece::Pause(149_000), life, Piece::Silence]);
    let end = case.run(nobody);
    assert_eq!(end.reason(), "connection-lost");
    // The end waits for more output, as all output does.
    assert_eq!(case.world.clock.elapsed(), 50_000 + 149_000 + 150_000 + 10);
    assert_eq!(case.screen.seen()[1..], [failed("the terminal's connection is lost"), Seen::Closed(1011)]);
    assert_eq!(orders(&case.world), ["kill"]);
}

#[test]
fn a_connection_that_breaks_is_told_after_what_was_written() {
    let case = case(vec![written("half"), Piece::Break]);
    assert_eq!(case.run(nobody).reason(), "connection-lost");
    assert_eq!(
        case.screen.seen(),
        [ready(), Seen::Bytes(b"half".to_vec()), failed("the terminal's connection is lost"), Seen::Closed(1011)]
    );
}

#[test]
fn output_without_end_stops_where_nobody_says_a_word() {
    let mut flood = Vec::new();
    let line = json!({"event": {"data": {"pty": STANDARD.encode(vec![b'y'; 16 << 10])}}});
    connect::write_message(&mut flood, &line).unwrap();
    let quiet = case(vec![Piece::Endless(flood.clone())]);
    assert_eq!(quiet.run(nobody), End::Unread);
    assert_eq!(quiet.screen.shown(), UNHEARD_BYTES);
    assert_eq!(quiet.screen.seen().last(), Some(&Seen::Closed(1008)));
    assert_eq!(orders(&quiet.world), ["kill"]);
    // A word lets as much come again, as fast as any viewer may be sent it.
    let lively = case(vec![Piece::Endless(flood)]);
    let inbox = Rc::clone(&lively.inbox);
    lively.run(async |clock: &Clock| {
        clock.sleep_ms(60_000).await;
        assert_eq!(lively.screen.shown(), UNHEARD_BYTES);
        inbox.text(r#"{"type":"input"}"#);
        clock.sleep_ms(60_000).await;
        assert_eq!(lively.screen.shown(), 2 * UNHEARD_BYTES);
        inbox.gone();
    });
}

#[test]
fn a_word_that_is_lost_is_ignored_and_many_are_told() {
    let mut calls = 0;
    let once = case_with(vec![Piece::Silence], move |_| {
        calls += 1;
        if calls == 1 { Script::json(500, &json!({})) } else { Script::json(200, &json!({})) }
    });
    let inbox = Rc::clone(&once.inbox);
    let end = once.run(async |clock: &Clock| {
        for _ in 0..3 {
            inbox.bytes(b"x");
            clock.sleep_ms(100).await;
        }
        inbox.gone();
    });
    assert_eq!(end, End::Gone);

    let never = case_with(vec![Piece::Silence], |_| Script::json(404, &json!({"code": "not_found"})));
    let inbox = Rc::clone(&never.inbox);
    let end = never.run(async |clock: &Clock| {
        for _ in 0..20 {
            inbox.bytes(b"x");
            clock.sleep_ms(100).await;
        }
    });
    assert_eq!(end.reason(), "connection-lost");
    assert_eq!(orders(&never.world).len(), 11, "ten words, and the kill");
}

#[test]
fn a_sandbox_that_does_not_answer_holds_nobody() {
    let case = case_with(vec![Piece::Silence], |_| Script::Hang);
    let inbox = Rc::clone(&case.inbox);
    let end = case.run(async |clock: &Clock| {
        inbox.bytes(b"x");
        clock.sleep_ms(1_000).await;
        inbox.gone();
    });
    assert_eq!(end, End::Gone);
    assert_eq!(case.world.clock.elapsed(), 1_000 + 2 * 10_000, "two tries to kill");
}

#[test]
fn typing_counts_as_use_once_a_minute() {
    let case = case(vec![Piece::Silence]);
    let inbox = Rc::clone(&case.inbox);
    case.run(async |clock: &Clock| {
        inbox.text(r#"{"type":"resize","cols":80,"rows":25}"#);
        clock.sleep_ms(1_000).await;
        for _ in 0..12 {
            inbox.bytes(b"x");
            clock.sleep_ms(10_000).await;
        }
        inbox.gone();
    });
    assert_eq!(*case.used.borrow(), [1_000, 61_000]);
}
