//! From what an agent says to the events that come of it (agents.md 4.5).

use serde_json::{Value, json};

use super::id_text;
use super::permission::{PermissionRequest, Unreadable, rpc_id, usable};
use super::reply::{RpcFailure, stop_reason};
use super::turns::{Part, Turns};
use crate::event::{Draft, Kind};

/// One thing to do because of an envelope. The order in which they come is the order in which they are done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Append to the log and show to viewers.
    Store(Draft),
    /// Show to viewers only.
    Stream(Draft),
    /// A prompt was answered: the running turn is over, whatever the id of the answer (B16). Whoever keeps turns stores
    /// `turn.completed`, and leaves out a late answer to a turn that was stopped.
    TurnEnded {
        /// The id of the answer, if it has one.
        rpc_id: Option<Value>,
        /// The agent's session, as far as it is known.
        runtime_session_id: Option<String>,
        /// Why the agent stopped.
        stop_reason: String,
        /// The number of the message that the turn left; none if it said nothing.
        turn: Option<u64>,
    },
    /// A request of the control plane was answered otherwise. A failure under the id of a prompt ends its turn.
    Answered {
        /// The id of the answer, if it has one.
        rpc_id: Option<Value>,
        /// What went wrong, if something did.
        failure: Option<RpcFailure>,
    },
    /// The agent asks before it uses a tool.
    Permission {
        /// Under what the answer goes back.
        reply_to: Value,
        /// What it asks. What is unreadable is denied with a cancellation.
        request: Result<PermissionRequest, Unreadable>,
    },
    /// The agent takes back a request.
    Withdrawn {
        /// What it was made under.
        reply_to: Value,
    },
    /// The agent asks for something that the control plane does not do. It is answered, so that it does not wait for ever.
    Unsupported {
        /// Under what the answer goes back.
        reply_to: Value,
    },
    /// The process of the agent is gone.
    AgentExited {
        /// Whether it ended well.
        success: bool,
    },
    /// The task is done: note the snapshot, end the runtime.
    Completed,
    /// The runtime cancelled the session: end the runtime.
    Canceled,
}

/// What one envelope of the event stream brings about. `session_id` is the control plane's session, `now` is in
/// milliseconds since 1970. Each envelope gives at most five steps.
pub fn translate(turns: &mut Turns, session_id: &str, envelope: Value, now: i64) -> Vec<Step> {
    let reason = stop_reason(&envelope).map(str::to_owned);
    let method = envelope.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_update = method == "session/update";
    let runtime = runtime_session(&envelope, is_update).map(str::to_owned).or_else(|| turns.last().map(str::to_owned));

    if is_update {
        return update(turns, runtime.as_deref(), envelope, now);
    }
    if let Some(stop_reason) = reason {
        return ended(turns, runtime, stop_reason, envelope);
    }
    if let Some(done) = task_complete(&envelope) {
        return keep(turns, done);
    }
    if is_answer(&envelope) {
        return vec![Step::Answered { rpc_id: rpc_id(&envelope), failure: RpcFailure::of(&envelope) }];
    }

    let asked = asked(&method, &envelope);
    let exited = (method == "_adapter/agent_exited").then(|| exited(session_id, &envelope));
    let mut steps = keep(turns, Draft::new(Kind::of_runtime(envelope.get("type")), envelope));
    steps.extend(asked);
    steps.extend(exited.into_iter().flatten());
    steps
}

/// Stores or shows an event that a runtime made, and does what follows from its kind.
pub(crate) fn keep(turns: &mut Turns, draft: Draft) -> Vec<Step> {
    if draft.kind.is_transient() {
        return vec![Step::Stream(draft)];
    }
    let after = match draft.kind {
        Kind::SessionCompleted => Some(Step::Completed),
        Kind::SessionCanceled => Some(Step::Canceled),
        _ => None,
    };
    if after.is_some() {
        turns.clear();
    }
    [Step::Store(draft)].into_iter().chain(after).collect()
}

/// The agent's session that an envelope names.
fn runtime_session(envelope: &Value, is_update: bool) -> Option<&str> {
    let own = if is_update { None } else { id_text(envelope.get("session-id")) };
    own.or_else(|| id_text(envelope.get("params").and_then(|params| params.get("sessionId"))))
}

fn update(turns: &mut Turns, runtime: Option<&str>, mut envelope: Value, now: i64) -> Vec<Step> {
    let params = envelope.get_mut("params");
    let (session, update) = params.map_or((Value::Null, Value::Null), |params| {
        let mut take = |key: &str| params.get_mut(key).map(Value::take).unwrap_or_default();
        (take("sessionId"), take("update"))
    });
    let part = match update.get("sessionUpdate").and_then(Value::as_str) {
        Some("agent_message_chunk") => Some(Part::Text),
        Some("agent_thought_chunk") => Some(Part::Reasoning),
        _ => None,
    };
    let piece = update.get("content").and_then(|content| content.get("text")).and_then(Value::as_str);
    if let (Some(_), Some(runtime)) = (part, runtime) {
        turns.remember(runtime);
    }
    if let (Some(part), Some(runtime), Some(piece)) = (part, runtime, piece) {
        turns.say(runtime, part, piece, now);
    }
    let data = json!({"method": "session/update", "session-id": session, "update": update});
    let draft = Draft::new(Kind::AgentRuntime, data);
    vec![if part.is_some() { Step::Stream(draft) } else { Step::Store(draft) }]
}

fn ended(turns: &mut Turns, runtime: Option<String>, stop_reason: String, envelope: Value) -> Vec<Step> {
    let rpc_id = rpc_id(&envelope);
    let mut steps = vec![Step::Stream(Draft::new(Kind::AgentRuntime, envelope))];
    let said = runtime.as_deref().and_then(|runtime| turns.finish(runtime));
    let turn = said.as_ref().map(|(turn, _)| *turn);
    steps.extend(said.map(|(_, message)| Step::Store(message)));
    steps.push(Step::TurnEnded { rpc_id, runtime_session_id: runtime, stop_reason, turn });
    steps
}

fn task_complete(envelope: &Value) -> Option<Draft> {
    let payload = envelope.get("payload")?;
    let is = |value: &Value, kind: &str| value.get("type").and_then(Value::as_str) == Some(kind);
    (is(envelope, "event_msg") && is(payload, "task_complete")).then(|| {
        Draft::new(
            Kind::SessionCompleted,
            json!({
                "turn-id": payload.get("turn_id"),
                "last-agent-message": payload.get("last_agent_message"),
                "source": "task_complete",
            }),
        )
    })
}

/// Whether an envelope answers a request: all of those are the control plane's own. An answer with a blank reason to stop
/// is no answer to anything, and is kept.
fn is_answer(envelope: &Value) -> bool {
    let is = |key: &str| envelope.get(key).is_some();
    is("jsonrpc")
        && !is("method")
        && (is("error") || is("result"))
        && envelope.get("result").and_then(|result| result.get("stopReason")).is_none()
}

fn asked(method: &str, envelope: &Value) -> Option<Step> {
    let params = envelope.get("params").unwrap_or(&Value::Null);
    if method == "$/cancel_request" {
        return params.get("requestId").and_then(usable).map(|reply_to| Step::Withdrawn { reply_to });
    }
    let reply_to = rpc_id(envelope).filter(|_| !method.is_empty())?;
    Some(match method {
        "session/request_permission" => Step::Permission { reply_to, request: PermissionRequest::read(params) },
        _ => Step::Unsupported { reply_to },
    })
}

fn exited(session_id: &str, envelope: &Value) -> Vec<Step> {
    let member = |key: &str| envelope.get("params").and_then(|params| params.get(key));
    let success = member("success").and_then(Value::as_bool).unwrap_or(false);
    let code = member("code").and_then(Value::as_i64).map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    let told = (!success).then(|| {
        let message = format!("agent process exited (code {code})");
        Step::Store(Draft::runtime_error(session_id, &message, Some("agent-exited")))
    });
    told.into_iter().chain([Step::AgentExited { success }]).collect()
}
