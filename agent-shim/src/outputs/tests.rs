//! What an agent says goes through the builders here, and then through the worker's own readers.

use mailbox::message::MAX_OUTPUT_BYTES;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sessions::mailbox::desk::Said;
use sessions::request::mailbox::events;

use super::*;
use crate::acp::{self, Incoming};
use crate::chunks::{self, Chunks};

const UUID: &str = "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f";

/// The worker takes it: as the data of an event, and the request that it stands in.
fn assert_taken(kind: &str, data: &Value) {
    let shown = || clip(&data.to_string(), 300).to_owned();
    assert!(data.to_string().len() <= MAX_OUTPUT_BYTES, "{kind} is too long: {}", shown());
    let event =
        json!({"seq": 1, "prev": 0, "id": UUID, "ts": 0, "generation": 1, "attempt": 1, "kind": kind, "data": data});
    let body = json!({"mailbox-id": "m", "lease": 1, "events": [event]}).to_string();
    assert!(events(body.as_bytes()).is_ok(), "{kind} in a request: {}", shown());
    assert!(Said::read(kind, data.clone()).is_ok(), "{kind}: {}", shown());
}

/// Everything that a line of an agent's can become.
fn take_in(line: &[u8]) {
    let mut chunks = Chunks::default();
    let mut updates = Vec::new();
    match acp::read(line) {
        Incoming::Told(envelope) => {
            updates.extend(chunks.push(envelope));
            updates.extend(chunks.flush());
        }
        Incoming::Answer { outcome, envelope, .. } => {
            updates.push(envelope);
            let about = ("m", &json!(1), 1);
            match outcome {
                Ok(result) => {
                    assert_taken("turn.ended", &turn_ended(about, &stop_reason(&result), None, None));
                    let id = result.get("sessionId").and_then(Value::as_str).filter(|id| is_id(id));
                    if let Some(id) = id {
                        assert_taken("opened", &opened(id, true, "/work", false));
                    }
                }
                Err(refusal) => {
                    assert!(!refusal.message.is_empty(), "nobody is told nothing");
                    assert_taken("turn.ended", &turn_ended(about, "error", Some("agent"), Some(&refusal.message)));
                }
            }
        }
        Incoming::Permission { params, .. } if is_question(&params) => {
            assert_taken("permission", &permission("1.1", &params));
        }
        Incoming::Permission { .. } | Incoming::Withdrawn(_) | Incoming::Unsupported(_) | Incoming::Nothing => {}
    }
    for update in updates {
        let (envelope, cut) = chunks::fit(update);
        assert_taken("update", &json!({"envelope": envelope}));
        for text in cut {
            assert_taken("file", &json!({"name": "output.txt", "sha256": "a".repeat(64), "size": text.len()}));
        }
    }
}

/// Texts of every length that counts, with letters of one to four bytes and those that JSON writes longer.
fn text() -> impl Strategy<Value = String> {
    let letter = prop::sample::select(vec!["a", "é", "…", "𝄞", "\"", "\u{1}", "\0"]);
    let length = prop_oneof![
        0_usize..4,
        80_usize..300,
        1_000_usize..1_400,
        3_900_usize..4_200,
        60_000_usize..70_000,
        Just(300_000)
    ];
    (letter, length).prop_map(|(letter, length)| letter.repeat(length))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from),
        // As deep as can be read, and a little less.
        (40_usize..122).prop_map(|depth| (0..depth).fold(Value::Null, |inner, _| json!([inner]))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text().prop_map(|key| clip(&key, 40).to_owned()), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A message as agents write it, with anything in its places.
fn message() -> impl Strategy<Value = Value> {
    (0_usize..9, value(), value(), text()).prop_map(|(form, one, two, words)| match form {
        0 => json!({"id": 4, "result": {"stopReason": words, "usage": one}}),
        1 => json!({"id": 4, "result": {"stopReason": one}}),
        2 => json!({"id": 4, "result": one}),
        3 => json!({"id": 4, "error": {"code": one, "message": words, "data": two}}),
        4 => json!({"id": 4, "error": one}),
        5 => json!({"id": 4, "result": {"sessionId": words}}),
        6 => json!({"id": one, "method": "session/request_permission", "params": two}),
        7 => json!({"method": "session/update", "params": {"sessionId": one, "update": {
            "sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": words}, "more": two}}}),
        _ => json!({"method": words, "params": {"update": one, "more": two}}),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn whatever_an_agent_says_the_worker_takes_what_is_told_of_it(message in message()) {
        take_in(message.to_string().as_bytes());
    }
}

#[test]
fn the_ends_of_turns_that_the_worker_would_refuse_are_told_in_words_that_it_takes() {
    let of = |reason: Value| stop_reason(&json!({"stopReason": reason}));
    assert_eq!(
        [of("".into()), of(Value::Null), of(7.into()), of("refusal".into())],
        ["end_turn", "end_turn", "end_turn", "refusal"]
    );
    assert_eq!(of("é".repeat(300).into()), "é".repeat(128));
    for reason in ["", &"x".repeat(257)] {
        let told = turn_ended(("m", &json!(1), 1), reason, None, Some(&"…".repeat(2_000)));
        assert_taken("turn.ended", &told);
    }
}

#[test]
fn names_of_sessions_are_as_long_as_the_worker_takes_them() {
    assert!(is_id(&"x".repeat(256)) && !is_id(&"x".repeat(257)) && !is_id(""));
    assert_taken("opened", &opened(&"x".repeat(256), false, "/", true));
}

#[test]
fn a_message_nested_as_deep_as_can_be_read_reaches_the_worker_as_one_that_was_cut() {
    let deep = |depth: usize| {
        format!("{{\"method\":\"session/update\",\"params\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
    };
    for depth in [60, 62, 63, 64, 100, 123, 126] {
        take_in(deep(depth).as_bytes());
        let Incoming::Told(envelope) = acp::read(deep(depth).as_bytes()) else { panic!("{depth}") };
        let (_, cut) = chunks::fit(envelope.clone());
        assert_eq!(cut.is_empty(), depth < MAX_DEPTH, "{depth}");
        if let Some(kept) = cut.first() {
            assert_eq!(*kept, envelope.to_string());
        }
    }
}

#[test]
fn a_question_that_the_worker_would_refuse_is_none() {
    for bad in [Value::Null, json!([]), json!("x"), json!({"long": "x".repeat(210_000)})] {
        assert!(!is_question(&bad));
    }
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    assert!(!is_question(&json!({ "deep": deep })) && is_question(&json!({})));
}

#[test]
fn many_ids_are_told_in_outputs_that_the_worker_takes() {
    let ids: Vec<String> = (0..250).map(|number| format!("1.{number}")).collect();
    let told = permission_void(&ids, "agent-gone");
    assert_eq!(told.len(), 3);
    for one in &told {
        assert_taken("permission.void", one);
    }
    assert!(permission_void(&[], "agent-gone").is_empty());
}
