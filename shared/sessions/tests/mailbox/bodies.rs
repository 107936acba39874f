//! Bodies of runners (session-mailbox.md 7.2–7.6): what is read, and what is refused.

use serde_json::{Value, json};
use sessions::error::Error;
use sessions::mailbox::desk::AckResult;
use sessions::mailbox::limits;
use sessions::mailbox::runner::Detach;
use sessions::request::mailbox::{Attach, Leases, Poll, RegisterMailbox, Report, acks, events};

const UUID: &str = "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f";

/// Reads the body, and the same with each of the changes, which are refused.
fn only<T: std::fmt::Debug>(read: impl Fn(&[u8]) -> Result<T, Error>, body: &Value, refused: &[(&str, Value)]) -> T {
    let good = read(body.to_string().as_bytes()).unwrap();
    for (pointer, value) in refused {
        let mut bad = body.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value.clone();
        let answer = read(bad.to_string().as_bytes());
        assert_eq!(answer.unwrap_err(), Error::InvalidBody, "{pointer} {value}");
    }
    for bad in ["[]", "1", "{", "{\"a\":"] {
        assert_eq!(read(bad.as_bytes()).unwrap_err(), Error::InvalidBody, "{bad}");
    }
    good
}

#[test]
fn which_kind_of_runner() {
    for (body, expected) in [
        (r#"{"runner-id":"r","base-url":"https://r.test"}"#, Ok(false)),
        (r#"{"transport":"tunnel"}"#, Ok(false)),
        (r#"{"transport":"mailbox"}"#, Ok(true)),
        (r#"{"transport":"pigeon"}"#, Err(Error::InvalidBody)),
        (r#"{"transport":null}"#, Err(Error::InvalidBody)),
        ("", Err(Error::MissingBody)),
        ("[]", Err(Error::InvalidBody)),
    ] {
        assert_eq!(RegisterMailbox::is_meant(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn registering() {
    let body = json!({"runner-id": "my.desk_1-a", "transport": "mailbox", "instance-id": UUID, "max-sessions": 3,
        "version": "1.2", "os": "linux", "drivers": ["plain"], "agents": [{"id": "codex", "version": "1", "ready": true}],
        "capabilities": ["push", "more"], "replace": true});
    let read = only(
        RegisterMailbox::read,
        &body,
        &[
            ("/base-url", json!("https://r.test")),
            ("/instance-id", json!("no uuid")),
            ("/instance-id", json!(UUID.replace('-', ""))),
            ("/instance-id", Value::Null),
            ("/max-sessions", json!("3")),
            ("/drivers", json!(["x".repeat(300)])),
            ("/drivers", json!("plain")),
            ("/agents", json!([{"version": "1"}])),
            ("/agents", json!([{"id": "codex", "ready": "yes"}])),
            ("/agents", json!(vec![json!({"id": "a"}); 65])),
            ("/capabilities", json!([1])),
            ("/replace", json!("yes")),
            ("/version", json!("v".repeat(300))),
        ],
    );
    let expected = RegisterMailbox {
        runner_id: "my.desk_1-a".into(),
        instance_id: UUID.into(),
        max_sessions: 3,
        version: Some("1.2".into()),
        replace: true,
        can_push: true,
    };
    assert_eq!(read, expected);
    for id in ["", "a b", "a/b", "ä", " a", &"a".repeat(65)] {
        let body = json!({"runner-id": id, "instance-id": UUID}).to_string();
        assert_eq!(RegisterMailbox::read(body.as_bytes()), Err(Error::InvalidRunnerId), "{id:?}");
    }
    let least = json!({"runner-id": "r", "instance-id": UUID.to_uppercase()}).to_string();
    let least = RegisterMailbox::read(least.as_bytes()).unwrap();
    assert_eq!((least.max_sessions, least.replace, least.can_push), (1, false, false));
    assert_eq!(least.instance_id, UUID, "one form");
}

#[test]
fn attaching() {
    let session = json!({"session-id": "s", "mailbox-id": "m", "lease": 1, "work-seq": 2, "out-seq": 3, "generation": 4,
        "turn": {"message-id": "t", "attempt": 5}});
    let body = json!({"instance-id": UUID, "process-id": UUID, "protocol": 1, "version": "1", "max-sessions": 0,
        "sessions": [session.clone()]});
    let read = only(
        Attach::read,
        &body,
        &[
            ("/process-id", json!("p")),
            ("/protocol", json!(-1)),
            ("/protocol", json!(1.5)),
            ("/sessions", json!(vec![session.clone(); 2])),
            ("/sessions", json!("s")),
            ("/sessions/0/session-id", json!("")),
            ("/sessions/0/session-id", json!("s".repeat(513))),
            ("/sessions/0/mailbox-id", json!("")),
            ("/sessions/0/lease", json!(-1)),
            ("/sessions/0/out-seq", Value::Null),
            ("/sessions/0/turn", json!("t")),
            ("/sessions/0/turn/attempt", json!("5")),
        ],
    );
    let claim = &read.sessions[0];
    assert_eq!((read.max_sessions, read.protocol, claim.session_id.as_str()), (1, 1, "s"));
    assert_eq!((claim.claim.lease, claim.claim.work_seq, claim.claim.out_seq, claim.claim.generation), (1, 2, 3, 4));
    assert_eq!(claim.turn, Some(("t".into(), 5)));
    let many: Vec<Value> = (0..=limits::MAX_ATTACH_SESSIONS)
        .map(|number| {
            let mut session = session.clone();
            session["session-id"] = json!(number.to_string());
            session["turn"] = Value::Null;
            session
        })
        .collect();
    let with = |sessions: &[Value]| {
        let body = json!({"instance-id": UUID, "process-id": UUID, "protocol": 1, "sessions": sessions}).to_string();
        Attach::read(body.as_bytes()).map(|attach| attach.sessions.len())
    };
    assert_eq!(with(&many[1..]), Ok(limits::MAX_ATTACH_SESSIONS));
    assert_eq!(with(&many), Err(Error::InvalidBody));
}

#[test]
fn going() {
    let read = |reason: &str| Detach::read(json!({"reason": reason}).to_string().as_bytes());
    assert_eq!((read("stop"), read("upgrade")), (Ok(Detach::Stop), Ok(Detach::Upgrade)));
    assert_eq!(read("lunch"), Err(Error::InvalidBody));
    assert_eq!(Detach::read(b""), Err(Error::MissingBody));
}

#[test]
fn asking_for_work() {
    let ack = json!({"session-id": "s", "item-id": UUID, "work-seq": 4, "result": "refused", "error": "disk_full"});
    let body = json!({"acks": [ack.clone()], "wait-ms": 5, "max-items": 7, "active-sessions": 2});
    let refused = [
        ("/wait-ms", json!(-1)),
        ("/wait-ms", json!(limits::MAX_WAIT_MS + 1)),
        ("/max-items", json!(0)),
        ("/max-items", json!(limits::MAX_ITEMS + 1)),
        ("/acks", json!({})),
        ("/acks", json!([1])),
        ("/acks", json!(vec![ack; 1_001])),
        ("/acks/0/result", json!("lost")),
        ("/acks/0/item-id", Value::Null),
        ("/acks/0/work-seq", json!(-4)),
        ("/acks/0/error", json!("x".repeat(257))),
    ];
    let read = only(Poll::read, &body, &refused);
    assert_eq!((read.wait_ms, read.max_items, read.active_sessions), (5, 7, Some(2)));
    assert_eq!(read.acks[0].ack.result, AckResult::Refused("disk_full".into()));
    let least = Poll::read(b"").unwrap();
    assert_eq!((least.wait_ms, least.max_items, least.acks.len()), (45_000, 50, 0));
    assert_eq!(acks(body.to_string().as_bytes()), Ok(read.acks));
    assert_eq!(acks(b"{}"), Ok(Vec::new()));
    assert_eq!(acks(b""), Err(Error::MissingBody));
}

#[test]
fn renewing() {
    let body = json!({"sessions": [{"session-id": "s", "lease": 3, "run": 9, "attempt": 2, "want-run-token": true}]});
    let read = only(
        Leases::read,
        &body,
        &[("/sessions/0/lease", Value::Null), ("/sessions/0/run", json!(-1)), ("/sessions/0/want-run-token", json!(1))],
    );
    assert_eq!((read.sessions[0].lease, read.sessions[0].token_for), (3, Some((9, 2))));
    let body = json!({"sessions": [{"session-id": "s", "lease": 3, "run": 9}]}).to_string();
    assert_eq!(Leases::read(body.as_bytes()).unwrap().sessions[0].token_for, None, "only where it is wanted");
}

#[test]
fn events_are_read_one_by_one_later() {
    let event = json!({"seq": 3, "prev": 1, "id": UUID, "ts": 5, "generation": 1, "attempt": 1, "in-reply-to": "m",
        "kind": "nonsense", "data": [1]});
    let body = json!({"mailbox-id": "x", "lease": 2, "events": [event.clone()]});
    let read = only(
        events,
        &body,
        &[
            ("/mailbox-id", json!("")),
            ("/lease", json!("2")),
            ("/events", json!(vec![event; limits::MAX_EVENTS + 1])),
            ("/events/0/seq", json!(0)),
            ("/events/0/prev", json!(3)),
            ("/events/0/id", json!("no uuid")),
            ("/events/0/generation", Value::Null),
            ("/events/0/kind", json!(1)),
            ("/events/0/ts", json!("now")),
        ],
    );
    assert_eq!((read.lease, read.events[0].kind.as_str(), read.events[0].bytes), (2, "nonsense", 3));
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(limits::MAX_BATCH_BYTES));
    assert_eq!(events(large.as_bytes()), Err(Error::RequestTooLarge));
}

#[test]
fn reports() {
    let body =
        json!({"id": "n", "code": "closed", "message": "ä".repeat(2_000), "lease": 4, "data": {"transcript": null}});
    let refused = [
        ("/message", json!("ä".repeat(2_001))),
        ("/id", json!("")),
        ("/code", json!("c".repeat(257))),
        ("/lease", json!(-1)),
    ];
    let read = only(Report::read, &body, &refused);
    assert_eq!((read.id.as_str(), read.notice.code.as_str(), read.notice.lease), ("n", "closed", Some(4)));
}
