//! Envelopes of a runtime and the events that come of them (agents.md 4.5, 4.6).

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use proptest::prelude::*;
use serde_json::{Value, json};
use sessions::acp::{MAX_ID_BYTES, MAX_SPEAKERS, MAX_TURN_BYTES, Step, Turns, translate};
use sessions::event::{Event, Kind, Place, Redactor};
use sessions::legacy::{self, Progress};

const SESSION: &str = "s1";

fn shown(steps: &[Step]) -> Vec<Value> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Store(draft) => Some((draft, true)),
            Step::Stream(draft) => Some((draft, false)),
            _ => None,
        })
        .map(|(draft, stored)| json!({"type": draft.kind.as_str(), "data": draft.data, "stored": stored}))
        .collect()
}

fn chunk(session: &str, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}}})
}

fn stop(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"stopReason": "end_turn"}})
}

/// What a runtime sent, what viewers of the reference then saw, and which of it the reference stored. A scenario goes on
/// with the turns that its earlier lines left.
const RECORDED: &str = include_str!("recorded/translated.jsonl");

#[test]
fn events_are_those_that_were_recorded() {
    let mut turns = Turns::default();
    let mut scenario = String::new();
    let mut frames = 0;
    for line in RECORDED.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["scenario"] != scenario.as_str() {
            turns = Turns::default();
            scenario = line["scenario"].as_str().unwrap().to_owned();
        }
        let mut seen = Vec::new();
        for frame in line["frames"].as_array().unwrap() {
            seen.extend(shown(&translate(&mut turns, SESSION, frame.clone(), 0)));
            frames += 1;
        }
        assert_eq!(Value::from(seen), line["shown"], "{scenario}, step {}", line["step"]);
    }
    assert_eq!(frames, 44);
}

#[test]
fn a_message_is_live_until_its_turn_ends() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", "  Hello"), 7);
    let thought = json!({"method": "session/update", "params": {"sessionId": "r1", "update": {"sessionUpdate": "agent_thought_chunk", "content": {"text": "Hm. "}}}});
    translate(&mut turns, SESSION, thought, 9);
    let live = turns.live();
    assert_eq!(live.len(), 1);
    assert_eq!((live[0].event_id.as_str(), live[0].ts), ("live-r1-turn-1", 9));
    assert_eq!(
        live[0].draft.data,
        json!({"item_id": "r1-turn-1", "item": {"item_id": "r1-turn-1", "kind": "message", "role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Hello"}]}})
    );
    translate(&mut turns, SESSION, stop(4), 10);
    assert_eq!(turns.live(), []);
}

#[test]
fn blanks_are_no_live_message() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", " \n "), 0);
    assert_eq!(turns.live(), []);
}

#[test]
fn the_end_of_a_turn_names_its_message() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", "x"), 0);
    let spoken = translate(&mut turns, SESSION, stop(4), 0);
    let silent = translate(&mut turns, SESSION, stop(5), 0);
    let ended = |id: u64, turn| Step::TurnEnded {
        rpc_id: Some(id.into()),
        runtime_session_id: Some("r1".to_owned()),
        stop_reason: "end_turn".to_owned(),
        turn,
    };
    assert_eq!(spoken.last(), Some(&ended(4, Some(1))));
    assert_eq!(silent.last(), Some(&ended(5, None)));
}

/// What is read of what is stored: the numbers in one row, the texts in pieces.
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
fn stored(turns: &Turns) -> Turns {
    let mut read: Turns = serde_json::from_str(&serde_json::to_string(turns).unwrap()).unwrap();
    for piece in turns.unstored() {
        assert_eq!(piece.at, 0, "nothing was stored before");
        read.restore(piece.slot, piece.text);
    }
    read
}

#[test]
fn numbers_of_turns_survive_storage() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", "one"), 0);
    translate(&mut turns, SESSION, stop(4), 0);
    translate(&mut turns, SESSION, chunk("r1", "tw"), 0);
    let mut turns = stored(&turns);
    translate(&mut turns, SESSION, chunk("r1", "o"), 0);
    let (number, message) = turns.finish("r1").unwrap();
    assert_eq!(number, 2);
    assert_eq!(message.data["item"]["content"][0]["text"], "two");
}

#[test]
fn answers_to_own_requests_are_not_events() {
    let mut turns = Turns::default();
    for (envelope, failure) in [
        (
            json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": 1, "agentCapabilities": {"promptCapabilities": {}}, "authMethods": []}}),
            None,
        ),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "r1"}}), None),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), None),
        (
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "timed out waiting for agent response"}}),
            Some((-32603, "timed out waiting for agent response")),
        ),
    ] {
        let steps = translate(&mut turns, SESSION, envelope, 0);
        let [Step::Answered { rpc_id, failure: found }] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(rpc_id, &Some(json!(1)));
        assert_eq!(found.as_ref().map(|found| (found.code, found.message.as_str())), failure);
    }
}

#[test]
fn a_request_for_permission_is_kept_and_handed_on() {
    let envelope = json!({"jsonrpc": "2.0", "id": 0, "method": "session/request_permission", "params": {"sessionId": "r1", "toolCall": {"toolCallId": "t1"}, "options": [{"optionId": "o1", "name": "Allow", "kind": "allow_once"}]}});
    let steps = translate(&mut Turns::default(), SESSION, envelope.clone(), 0);
    assert_eq!(shown(&steps), [json!({"type": "agent.runtime", "data": envelope, "stored": true})]);
    let Some(Step::Permission { reply_to, request: Ok(request) }) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(reply_to, &json!(0));
    assert_eq!(request.runtime_session_id.as_deref(), Some("r1"));
    assert_eq!(request.call_id.as_deref(), Some("t1"));
    assert_eq!(request.options[0].option_id, "o1");
}

#[test]
fn what_cannot_be_decided_on_fails_closed() {
    let params = json!({"options": [{"optionId": "o", "kind": "allow_everything"}]});
    let envelope = json!({"jsonrpc": "2.0", "id": "q", "method": "session/request_permission", "params": params});
    let steps = translate(&mut Turns::default(), SESSION, envelope, 0);
    assert!(matches!(steps.last(), Some(Step::Permission { request: Err(_), .. })), "{steps:?}");
}

#[test]
fn requests_that_nobody_serves_are_answered() {
    let envelope = json!({"jsonrpc": "2.0", "id": 3, "method": "fs/read_text_file", "params": {}});
    let steps = translate(&mut Turns::default(), SESSION, envelope, 0);
    assert_eq!(steps.last(), Some(&Step::Unsupported { reply_to: json!(3) }));
}

#[test]
fn an_agent_may_withdraw_a_request() {
    let envelope = json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": 8}});
    let steps = translate(&mut Turns::default(), SESSION, envelope, 0);
    assert_eq!(steps.last(), Some(&Step::Withdrawn { reply_to: json!(8) }));
}

#[test]
fn an_agent_that_dies_is_an_error() {
    let exited = |params: Value| {
        translate(&mut Turns::default(), SESSION, json!({"method": "_adapter/agent_exited", "params": params}), 0)
    };
    let died = exited(json!({"success": false, "code": 7}));
    let Step::Store(error) = &died[1] else { panic!("{died:?}") };
    assert_eq!(error.kind, Kind::AgentRuntimeError);
    assert_eq!(error.data["message"], "agent process exited (code 7)");
    assert_eq!(error.data["session-id"], SESSION);
    assert_eq!(died[2], Step::AgentExited { success: false });
    let ended = exited(json!({"success": true, "code": 0}));
    assert_eq!(shown(&ended).len(), 1);
    assert_eq!(ended[1], Step::AgentExited { success: true });
}

#[test]
fn odd_payloads_are_kept_as_they_are() {
    for (envelope, kind, data) in [
        (json!("a string"), "agent.runtime", json!("a string")),
        (json!(5), "agent.runtime", json!(5)),
        (json!([1, 2]), "agent.runtime", json!([1, 2])),
        (json!({}), "agent.runtime", json!({})),
        (json!({"type": ""}), "agent.runtime", json!({"type": ""})),
        (json!({"type": 4}), "agent.runtime", json!({"type": 4})),
        (json!({"type": "note", "n": 1}), "note", json!({"type": "note", "n": 1})),
        (
            json!({"method": "session/update"}),
            "agent.runtime",
            json!({"method": "session/update", "session-id": null, "update": null}),
        ),
        (
            json!({"method": "session/update", "params": [1]}),
            "agent.runtime",
            json!({"method": "session/update", "session-id": null, "update": null}),
        ),
    ] {
        let steps = translate(&mut Turns::default(), SESSION, envelope, 0);
        assert_eq!(shown(&steps), [json!({"type": kind, "data": data, "stored": true})]);
    }
}

#[test]
fn an_agent_cannot_speak_as_the_service() {
    for name in [
        "audit.log",
        "session.created",
        "session.provisioned",
        "git.push.succeeded",
        "git.anything",
        "sandbox.checkpoint.succeeded",
        "agent.approval_granted",
        "agent.runtime.error",
        "turn.completed",
        "session.terminal.opened",
    ] {
        let envelope = json!({"type": name, "forged": true});
        let steps = translate(&mut Turns::default(), SESSION, envelope.clone(), 0);
        assert_eq!(shown(&steps), [json!({"type": "agent.runtime", "data": envelope, "stored": true})]);
    }
}

#[test]
fn a_done_task_drops_what_was_half_said() {
    for (name, step) in [("session.completed", Step::Completed), ("session.canceled", Step::Canceled)] {
        let mut turns = Turns::default();
        translate(&mut turns, SESSION, chunk("r1", "half"), 0);
        let steps = translate(&mut turns, SESSION, json!({"type": name}), 0);
        assert_eq!(steps.last(), Some(&step));
        assert_eq!(turns.live(), []);
    }
}

#[test]
fn the_text_of_a_turn_is_bounded() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", &"é".repeat(MAX_TURN_BYTES / 2)), 0);
    assert!(!turns.live()[0].draft.clipped, "at the limit");
    translate(&mut turns, SESSION, chunk("r1", "z"), 0);
    translate(&mut turns, SESSION, chunk("r1", ""), 0);
    let thought = json!({"method": "session/update", "params": {"sessionId": "r1", "update": {"sessionUpdate": "agent_thought_chunk", "content": {"text": "still heard"}}}});
    translate(&mut turns, SESSION, thought, 0);
    let (_, message) = turns.finish("r1").unwrap();
    assert!(message.clipped, "one beyond it");
    let parts = &message.data["item"]["content"];
    assert_eq!(parts[0]["text"], "still heard");
    assert_eq!(parts[1]["text"].as_str().unwrap().len(), MAX_TURN_BYTES);
    let place = Place { cursor: Some(1), event_id: "e", session_id: SESSION, ts: 0 };
    let event = Event::seal(message, &place, &Redactor::default(), 4 * MAX_TURN_BYTES);
    assert!(event.cut.is_some_and(|cut| cut.truncated));
}

#[test]
fn nothing_follows_a_gap() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk("r1", &"a".repeat(MAX_TURN_BYTES - 1)), 0);
    // The first does not fit, the second would.
    translate(&mut turns, SESSION, chunk("r1", "é"), 0);
    translate(&mut turns, SESSION, chunk("r1", "b"), 0);
    let (_, message) = turns.finish("r1").unwrap();
    assert!(message.data["item"]["content"][0]["text"].as_str().unwrap().bytes().all(|byte| byte == b'a'));
}

#[test]
fn speakers_are_bounded_and_item_ids_never_repeat() {
    let mut turns = Turns::default();
    let mut ids = std::collections::HashSet::new();
    let mut now = 0;
    for round in 0..5 {
        for speaker in 0..MAX_SPEAKERS * 3 {
            now += 1;
            let session = format!("r{speaker}");
            translate(&mut turns, SESSION, chunk(&session, "x"), now);
            assert!(turns.live().len() <= MAX_SPEAKERS);
            let (_, message) = turns.finish(&session).unwrap();
            assert!(ids.insert(message.data["item_id"].clone()), "round {round}");
        }
    }
}

#[test]
fn a_session_id_beyond_the_limit_names_nobody() {
    let mut turns = Turns::default();
    translate(&mut turns, SESSION, chunk(&"r".repeat(MAX_ID_BYTES + 1), "x"), 0);
    assert_eq!((turns.last(), turns.live().len()), (None, 0));
    translate(&mut turns, SESSION, chunk(&"r".repeat(MAX_ID_BYTES), "x"), 0);
    assert_eq!(turns.live().len(), 1);
}

#[test]
fn text_is_written_down_now_and_then() {
    let mut turns = Turns::default();
    turns.saved(1000);
    assert!(!turns.is_due(9999), "nothing was said");
    translate(&mut turns, SESSION, chunk("r1", "x"), 1001);
    assert!(!turns.is_due(1499));
    assert!(turns.is_due(1500));
    turns.saved(1500);
    translate(&mut turns, SESSION, chunk("r1", &"x".repeat(4096)), 1501);
    assert!(turns.is_due(1501));
}

fn universal(sequence: u64, kind: &str, data: &Value) -> Value {
    json!({"event_id": format!("e{sequence}"), "sequence": sequence, "time": "2026-03-01T00:00:00.000Z", "session_id": SESSION, "native_session_id": null, "source": "agent", "synthetic": false, "type": kind, "data": data})
}

/// The turn of the recorded scenario `legacy-agent`.
#[test]
fn a_turn_of_the_older_dialect() {
    let item = |status: &str, content: Value| json!({"item": {"item_id": "i1", "kind": "message", "role": "assistant", "content": content, "status": status}});
    let frames = [
        universal(1, "item.started", &item("in_progress", json!([]))),
        universal(2, "item.delta", &json!({"item_id": "i1", "delta": "echo: hello"})),
        universal(3, "item.completed", &item("completed", json!([{"type": "text", "text": "echo: hello"}]))),
    ];
    let (mut progress, mut turns) = (Progress::default(), Turns::default());
    let steps: Vec<Step> =
        frames.iter().flat_map(|frame| legacy::translate(&mut progress, &mut turns, frame.clone(), false)).collect();
    let expected = [("item.started", false), ("item.delta", false), ("item.completed", true)];
    let expected: Vec<Value> = expected
        .iter()
        .zip(&frames)
        .map(|((kind, stored), frame)| json!({"type": kind, "data": frame, "stored": stored}))
        .collect();
    assert_eq!(shown(&steps), expected);
    assert!(matches!(steps.last(), Some(Step::TurnEnded { stop_reason, .. }) if stop_reason == "end_turn"));
    assert_eq!(progress.sequence, 3);
    assert_eq!(legacy::translate(&mut progress, &mut turns, frames[2].clone(), false), [], "taken in once");
}

#[test]
fn ends_of_turns_in_the_older_dialect() {
    let message = json!({"item": {"kind": "message", "role": "assistant"}});
    let status = |label: &str| json!({"item": {"kind": "status", "content": [{"type": "status", "label": label}]}});
    for (kind, data, codex, ends) in [
        ("item.completed", message.clone(), false, true),
        ("item.completed", message, true, false),
        ("item.completed", json!({"item": {"kind": "message", "role": "user"}}), false, false),
        ("item.completed", status("turn.completed"), true, true),
        ("item.completed", status("session.idle"), true, true),
        ("item.completed", status("thinking"), true, false),
        ("error", json!({}), false, true),
        ("agent.unparsed", json!({}), false, true),
        ("session.ended", json!({"reason": "terminated"}), false, true),
        ("turn.started", json!({}), false, false),
        ("permission.requested", json!({"permission_id": "p"}), false, false),
    ] {
        let envelope = universal(1, kind, &data);
        let steps = legacy::translate(&mut Progress::default(), &mut Turns::default(), envelope, codex);
        let ended = steps.iter().any(|step| matches!(step, Step::TurnEnded { .. }));
        assert_eq!(ended, ends, "{kind} {data}");
    }
}

#[test]
fn the_end_of_a_session_in_the_older_dialect() {
    for (reason, kind, completes) in [
        ("completed", Kind::SessionCompleted, true),
        ("error", Kind::SessionFailed, false),
        ("terminated", Kind::Other("session.ended".into()), false),
    ] {
        let envelope = universal(1, "session.ended", &json!({"reason": reason}));
        let steps = legacy::translate(&mut Progress::default(), &mut Turns::default(), envelope, false);
        let Step::Store(draft) = &steps[0] else { panic!("{steps:?}") };
        assert_eq!(draft.kind, kind);
        assert!(matches!(steps[1], Step::TurnEnded { .. }));
        assert_eq!(steps.get(2), completes.then_some(&Step::Completed));
    }
}

#[test]
fn permissions_and_questions_of_the_older_dialect() {
    let data = json!({"permission_id": "p1", "action": "bash", "status": "requested"});
    let steps = legacy::translate(
        &mut Progress::default(),
        &mut Turns::default(),
        universal(1, "permission.requested", &data),
        false,
    );
    let Some(Step::Permission { reply_to, request: Ok(request) }) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(reply_to, "p1");
    let answered: Vec<_> =
        request.options.iter().map(|option| legacy::request::Reply::of_option(&option.option_id)).collect();
    assert!(answered.iter().all(Option::is_some), "{answered:?}");
    let question = universal(2, "question.requested", &json!({"question_id": "q1"}));
    let steps = legacy::translate(&mut Progress::default(), &mut Turns::default(), question, false);
    assert_eq!(steps.last(), Some(&Step::Unsupported { reply_to: json!("q1") }));
}

const WORDS: [&str; 14] = [
    "session/update",
    "session/request_permission",
    "$/cancel_request",
    "_adapter/agent_exited",
    "agent_message_chunk",
    "session.completed",
    "session.ended",
    "permission.requested",
    "item.completed",
    "event_msg",
    "task_complete",
    "r1",
    "",
    "é",
];

const KEYS: [&str; 20] = [
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "type",
    "payload",
    "data",
    "update",
    "sessionId",
    "sessionUpdate",
    "content",
    "text",
    "stopReason",
    "options",
    "toolCall",
    "requestId",
    "sequence",
    "item",
];

/// Envelopes whose members have the right names and any values.
fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => prop::sample::select(&WORDS[..]).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_runtime_says_is_bounded(envelopes in prop::collection::vec(hostile(), 1..12), codex in any::<bool>()) {
        let (mut turns, mut old, mut progress) = (Turns::default(), Turns::default(), Progress::default());
        for envelope in envelopes {
            prop_assert!(translate(&mut turns, SESSION, envelope.clone(), 0).len() <= 5);
            prop_assert!(legacy::translate(&mut progress, &mut old, envelope, codex).len() <= 5);
            prop_assert!(turns.live().len() <= MAX_SPEAKERS);
        }
    }
}
