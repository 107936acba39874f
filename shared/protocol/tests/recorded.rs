//! The recorded conversations with the reference server: what it refused we refuse, with the same words, and what it
//! took we take.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use protocol::bodies::graphs::CreateGraph;
use protocol::bodies::keys::{GrantAccess, SetGraphKey, UserKeys};
use protocol::bodies::members::{AddMember, ChangeRole};
use protocol::{BodyError, ClientMessage, TxBatch};
use serde_json::{Value, json};
use std::fs;

/// The conversations that are not compressed, by name.
fn scenarios() -> Vec<(String, Vec<Value>)> {
    let files = fs::read_dir(golden_support::dir().join("server")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let plain = names.filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned()));
    plain.map(|name| (name.clone(), golden_support::lines(&format!("server/{name}.jsonl")))).collect()
}

/// What the port must answer to a step.
fn answer(step: &Value) -> &Value {
    let port = &step["port"]["response"];
    if port.is_null() { &step["response"] } else { port }
}

#[test]
fn messages_are_taken_and_refused_as_recorded() {
    let mut checked = 0;
    for (scenario, steps) in scenarios() {
        for step in steps.iter().filter(|step| step["transport"] == "ws") {
            let request = &step["request"];
            let text = match (&request["send"], &request["sendText"]) {
                (Value::Null, Value::String(text)) if text != protocol::client::RAW_PING => text.clone(),
                (Value::Null, _) => continue,
                (message, _) => message.to_string(),
            };
            let to_sender = &answer(step)["events"][step["socket"].as_str().unwrap()];
            let recorded = to_sender.as_array().and_then(|events| events.iter().find(|event| event["type"] == "error"));
            let recorded = recorded.map(|event| event["message"].as_str().unwrap().to_owned());
            if recorded.as_deref() == Some("server error") {
                continue;
            }
            let ours = ClientMessage::parse(&text).err().map(|error| error.to_string());
            assert_eq!(ours, recorded, "{scenario} {}", step["step"]);
            checked += 1;
        }
    }
    assert!(checked > 0, "no messages in the recordings");
}

#[test]
fn bodies_are_taken_and_refused_as_recorded() {
    let mut checked = 0;
    for (scenario, steps) in scenarios() {
        for step in steps.iter().filter(|step| step["transport"] == "http") {
            let request = &step["request"];
            let (Some(method), Some(path)) = (request["method"].as_str(), request["path"].as_str()) else { continue };
            let body = match (request.get("body"), &request["bodyText"]) {
                (Some(body), _) => body.to_string(),
                (None, Value::String(text)) => text.clone(),
                (None, _) => continue,
            };
            let Some(refusal) = refusal(method, path, &body) else { continue };
            let status = &answer(step)["status"];
            let error = answer(step)["body"]["error"].as_str().unwrap_or_default();
            let shape = ["missing body", "invalid body", "invalid tx"].contains(&error);
            // Who may not ask is refused before the body is looked at.
            if *status == json!(401) || (*status == json!(403) && refusal.is_err()) {
                continue;
            }
            assert_eq!(
                refusal.err().map(|e| e.to_string()),
                shape.then(|| error.to_owned()),
                "{scenario} {}",
                step["step"]
            );
            checked += 1;
        }
    }
    assert!(checked > 0, "no bodies in the recordings");
}

/// What our parser of that route makes of a body; none for routes without one.
fn refusal(method: &str, path: &str, body: &str) -> Option<Result<(), BodyError>> {
    let segments: Vec<&str> = path.split('?').next()?.trim_start_matches('/').split('/').collect();
    Some(match (method, segments.as_slice()) {
        ("POST", ["graphs"]) => CreateGraph::parse(body).map(drop),
        ("POST", ["graphs", _, "members"]) => AddMember::parse(body).map(drop),
        ("PUT", ["graphs", _, "members", _]) => ChangeRole::parse(body).map(drop),
        ("POST", ["e2ee", "user-keys"]) => UserKeys::parse(body).map(drop),
        ("POST", ["e2ee", "graphs", _, "aes-key"]) => SetGraphKey::parse(body).map(drop),
        ("POST", ["e2ee", "graphs", _, "grant-access"]) => GrantAccess::parse(body).map(drop),
        ("POST", ["sync", _, "tx", "batch"]) => TxBatch::parse(body).map(drop),
        _ => return None,
    })
}
