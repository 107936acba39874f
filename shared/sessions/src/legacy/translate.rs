//! Events of the older dialect (agents.md 4.6).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::acp::{OptionKind, PermissionOption, PermissionRequest, Step, Turns, Unreadable, id_text, keep};
use crate::event::{Draft, Kind};

/// How far the events of a runtime's session have been taken in. Stored, so that nothing is taken in twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The greatest number seen: where to go on after a broken stream.
    pub sequence: u64,
}

/// What one event brings about, in the steps of the newer dialect. `codex` tells whether the agent is Codex, whose messages
/// do not end a turn. An event that was taken in before brings about nothing.
pub fn translate(progress: &mut Progress, turns: &mut Turns, envelope: Value, codex: bool) -> Vec<Step> {
    if let Some(sequence) = envelope.get("sequence").and_then(Value::as_u64) {
        if sequence <= progress.sequence {
            return Vec::new();
        }
        progress.sequence = sequence;
    }
    let name = envelope.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let data = envelope.get("data").unwrap_or(&Value::Null);
    let after = asked(&name, data).into_iter().chain(ended(&name, data, &envelope, codex)).collect::<Vec<_>>();
    let kind = match (name.as_str(), data.get("reason").and_then(Value::as_str)) {
        ("session.ended", Some("completed")) => Kind::SessionCompleted,
        ("session.ended", Some("error")) => Kind::SessionFailed,
        _ => Kind::of_runtime(envelope.get("type")),
    };
    let mut steps = keep(turns, Draft::new(kind, envelope));
    // The turn ends before the session does.
    let first = steps.len().min(1);
    steps.splice(first..first, after);
    steps
}

/// What the agent waits for. Permissions become requests of the newer dialect: the ids of their options are the words of
/// [`super::request::Reply`].
fn asked(name: &str, data: &Value) -> Option<Step> {
    match name {
        "permission.requested" => {
            let id = id_text(data.get("permission_id"))?;
            Some(Step::Permission { reply_to: id.into(), request: permission(id, data) })
        }
        "permission.resolved" => Some(Step::Withdrawn { reply_to: id_text(data.get("permission_id"))?.into() }),
        "question.requested" => Some(Step::Unsupported { reply_to: id_text(data.get("question_id"))?.into() }),
        _ => None,
    }
}

fn permission(id: &str, data: &Value) -> Result<PermissionRequest, Unreadable> {
    let action = id_text(data.get("action")).ok_or(Unreadable)?;
    let option = |option_id: &str, name: &str, kind| PermissionOption {
        option_id: option_id.to_owned(),
        name: name.to_owned(),
        kind,
    };
    Ok(PermissionRequest {
        runtime_session_id: None,
        call_id: Some(id.to_owned()),
        tool: Some(action.to_owned()),
        title: Some(action.to_owned()),
        options: vec![
            option("once", "Allow", OptionKind::AllowOnce),
            option("always", "Always allow", OptionKind::AllowAlways),
            option("reject", "Reject", OptionKind::RejectOnce),
        ],
    })
}

/// Whether the stream of a turn ends with this event. A turn that waits for a decision is not over, although its stream is.
fn ended(name: &str, data: &Value, envelope: &Value, codex: bool) -> Option<Step> {
    let item = data.get("item");
    let of_item = |key: &str| item.and_then(|item| item.get(key)).and_then(Value::as_str);
    let stop_reason = match name {
        "session.ended" | "error" | "agent.unparsed" => name,
        "item.completed" if of_item("kind") == Some("message") && of_item("role") == Some("assistant") && !codex => {
            "end_turn"
        }
        "item.completed" if of_item("kind") == Some("status") && item.is_some_and(is_end) => "end_turn",
        _ => return None,
    };
    Some(Step::TurnEnded {
        rpc_id: None,
        runtime_session_id: id_text(envelope.get("native_session_id")).map(str::to_owned),
        stop_reason: stop_reason.to_owned(),
        turn: None,
    })
}

fn is_end(status: &Value) -> bool {
    let labels = ["turn.completed", "session.idle"].map(|label| json!(label));
    status
        .get("content")
        .and_then(Value::as_array)
        .is_some_and(|parts| parts.iter().any(|part| part.get("label").is_some_and(|label| labels.contains(label))))
}
