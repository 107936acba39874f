//! What is said over sockets (sync.md 7).

use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use graph::sockets::{Close, Effect, Frame, Message};
use graph::{Graph, Options};
use protocol::PresenceUser;
use serde_json::{Value as Json, json};

use super::support::{NOW, TestGraph, new_graph, pull_rest, pull_text};

fn user(id: &str) -> PresenceUser {
    PresenceUser { email: Some(format!("{id}@example.org")), ..PresenceUser::new(id) }
}

fn reply(graph: &mut TestGraph, frame: Frame<'_>) -> String {
    match graph.react(Some(&user("u")), Message::parse(frame)).effect {
        Effect::Reply(reply) => reply,
        Effect::Pull(pull) => pull_rest(graph, pull).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn greetings() {
    let (mut graph, _) = new_graph();
    assert_eq!(reply(&mut graph, Frame::Text("ping")), "pong");
    assert_eq!(reply(&mut graph, Frame::Text(r#"{"type":"ping"}"#)), r#"{"type":"pong"}"#);
    assert_eq!(reply(&mut graph, Frame::Text(r#"{"type":"hello","client":"c"}"#)), r#"{"type":"hello","t":0}"#);
    assert_eq!(reply(&mut graph, Frame::Text(r#"{"type":"pull"}"#)), r#"{"type":"pull/ok","t":0,"txs":[]}"#);
    let error = |message: &str| format!(r#"{{"type":"error","message":"{message}"}}"#);
    assert_eq!(reply(&mut graph, Frame::Text(r#"{"type":"pull","since":-1}"#)), error("invalid since"));
    for text in ["", "null", "[]", "{}", r#"{"type":"nope"}"#, r#"{"type":"hello"}"#, r#"{"type":"tx/batch"}"#] {
        assert_eq!(reply(&mut graph, Frame::Text(text)), error("invalid request"), "{text}");
    }
    assert_eq!(reply(&mut graph, Frame::Binary(br#"{"type":"ping"}"#)), error("invalid request"));
}

#[test]
fn long_messages_end_the_socket() {
    let (mut graph, _) = new_graph();
    let text = " ".repeat((32 << 20) + 1);
    for frame in [Frame::Text(&text), Frame::Binary(text.as_bytes())] {
        let effect = graph.react(None, Message::parse(frame)).effect;
        assert!(matches!(effect, Effect::Close(Close { code: 1009, .. })), "{effect:?}");
    }
}

#[test]
fn a_pull_is_a_message_of_bounded_length() {
    use super::client::{apply, entry, page, title};
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let whole = {
        let mut graph = Graph::new(Rc::clone(&sql), || NOW, Options::default());
        apply(&mut graph, &[entry("create-page", None, &page(1))]);
        for n in 0..3 {
            let items = [title(1, &format!("{n}{}", "x".repeat(400_000)))];
            apply(&mut graph, &[entry("save-block", None, &items)]);
        }
        pull_text(&mut graph, 0).unwrap()
    };
    for (limit, fits) in [(whole.len(), true), (whole.len() - 1, false), (10, false)] {
        let options = Options { pull_message_bytes: limit, ..Options::default() };
        let mut graph = Graph::new(Rc::clone(&sql), || NOW, options);
        let message = Message::parse(Frame::Text(r#"{"type":"pull","since":0}"#));
        let Effect::Pull(pull) = graph.react(None, message).effect else { panic!() };
        match pull_rest(&mut graph, pull) {
            Ok(text) => assert!(fits && text == whole, "{limit}"),
            Err(error) => assert!(!fits && matches!(error, graph::Error::PullTooLong), "{limit}: {error}"),
        }
        assert_eq!(pull_text(&mut graph, 0).unwrap(), whole, "others are of any length");
    }
}

#[test]
fn presence_goes_to_the_others() {
    let (mut graph, _) = new_graph();
    let mut say = |user: Option<&PresenceUser>, editing: Json| {
        let text = json!({ "type": "presence", "editing-block-uuid": editing }).to_string();
        graph.react(user, Message::parse(Frame::Text(&text))).effect
    };
    let Effect::KeepAndTell { user: kept, others } = say(Some(&user("a")), json!("block")) else { panic!() };
    assert_eq!(kept.editing_block_uuid.as_deref(), Some("block"));
    let others: Json = serde_json::from_str(&others).unwrap();
    assert_eq!(others, json!({ "type": "presence", "user-id": "a", "editing-block-uuid": "block" }));
    // Blank texts are passed on and not kept.
    let Effect::KeepAndTell { user: kept, others } = say(Some(&kept), json!("  ")) else { panic!() };
    assert_eq!(kept.editing_block_uuid, None);
    assert!(others.contains(r#""  ""#));
    let Effect::KeepAndTell { others, .. } = say(Some(&kept), Json::Null) else { panic!() };
    assert!(others.contains("null"));
    // D-17: a socket without a user has no presence.
    assert!(matches!(say(None, json!("block")), Effect::None));
}

#[test]
fn users_are_listed_once() {
    let (a, b) = (user("a"), user("b"));
    let mut editing = a.clone();
    editing.set_editing_block(Some("block"));
    let list: Json = serde_json::from_str(&graph::sockets::online_users([&a, &b, &a, &editing])).unwrap();
    assert_eq!(list["type"], "online-users");
    let ids: Vec<&str> =
        list["online-users"].as_array().unwrap().iter().filter_map(|user| user["user-id"].as_str()).collect();
    assert_eq!(ids, ["a", "b", "a"]);
}

#[test]
fn close_codes_that_may_be_sent() {
    for (received, sent) in
        [(1000, 1000), (1001, 1001), (1005, 1000), (1006, 1000), (1015, 1000), (3001, 3001), (0, 1000)]
    {
        assert_eq!(graph::sockets::close_code(received), sent);
    }
}

#[test]
fn membership_counts_where_something_is_read_or_written() {
    let needs = |text: &str| Message::parse(Frame::Text(text)).needs_membership();
    assert!(needs(r#"{"type":"tx/batch","t-before":0,"txs":[]}"#));
    assert!(needs(r#"{"type":"entity/pull","since":0}"#));
    assert!(needs(r#"{"type":"pull"}"#) && needs(r#"{"type":"hello","client":"c"}"#));
    for text in [r#"{"type":"ping"}"#, r#"{"type":"presence"}"#, "ping", "nonsense", r#"{"type":"pull","since":-1}"#] {
        assert!(!needs(text), "{text}");
    }
}
