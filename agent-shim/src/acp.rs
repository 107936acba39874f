//! The Agent Client Protocol, as far as the one that drives an agent speaks it: JSON-RPC, one message a line
//! (docs/spec/agents.md 4.2 to 4.4). Pure.

use mailbox::tools::Tools;
use serde_json::{Value, json};

use crate::outputs::{MAX_TEXT, clip};

/// The longest line of an agent that is read, in bytes.
pub(crate) const MAX_LINE: usize = 8 << 20;
/// The method by which an agent asks for permission.
pub(crate) const PERMISSION: &str = "session/request_permission";
/// The version that is spoken.
const PROTOCOL_VERSION: u16 = 1;
/// JSON-RPC: there is no such method.
const METHOD_NOT_FOUND: i64 = -32601;
/// What a refusal says that says nothing.
const NO_REASON: &str = "the agent gave no reason";

/// What a line of the agent's says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    /// An answer to a request of ours.
    Answer {
        /// Its id.
        id: u64,
        /// What it says.
        outcome: Result<Value, Refusal>,
        /// The whole message.
        envelope: Value,
    },
    /// `session/update`, or another notification.
    Told(Value),
    /// `session/request_permission`.
    Permission {
        /// The agent's id of it, as JSON.
        rpc_id: Value,
        /// What it asks.
        params: Value,
    },
    /// `$/cancel_request`: nobody has to answer this any more.
    Withdrawn(Value),
    /// A request that is not done here.
    Unsupported(Value),
    /// No message of the protocol.
    Nothing,
}

/// The `error` member of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// JSON-RPC's code.
    pub(crate) code: i64,
    /// What the agent says: something, of bounded length.
    pub(crate) message: String,
    /// More of it.
    pub(crate) data: Value,
}

/// Reads a line.
pub(crate) fn read(line: &[u8]) -> Incoming {
    // Depth is bounded by the parser, length by whoever read the line.
    let Ok(envelope) = serde_json::from_slice::<Value>(line) else { return Incoming::Nothing };
    let method = envelope.get("method").and_then(Value::as_str);
    let id = envelope.get("id").filter(|id| id.is_string() || id.is_number()).cloned();
    let params = || envelope.get("params").cloned().unwrap_or_default();
    match (method, id) {
        (Some(PERMISSION), Some(rpc_id)) => Incoming::Permission { rpc_id, params: params() },
        (Some(_), Some(rpc_id)) => Incoming::Unsupported(rpc_id),
        (Some("$/cancel_request"), None) => Incoming::Withdrawn(params().get("requestId").cloned().unwrap_or_default()),
        (Some(_), None) => Incoming::Told(envelope),
        (None, Some(id)) => match id.as_u64() {
            Some(id) => Incoming::Answer { id, outcome: outcome(&envelope), envelope },
            None => Incoming::Nothing,
        },
        (None, None) => Incoming::Nothing,
    }
}

fn outcome(envelope: &Value) -> Result<Value, Refusal> {
    match envelope.get("error").filter(|error| !error.is_null()) {
        None => Ok(envelope.get("result").cloned().unwrap_or_default()),
        Some(error) => {
            let said = error.get("message").and_then(Value::as_str).filter(|said| !said.is_empty());
            Err(Refusal {
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                message: clip(said.unwrap_or(NO_REASON), MAX_TEXT).to_owned(),
                data: error.get("data").cloned().unwrap_or_default(),
            })
        }
    }
}

fn call(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// The first request.
pub(crate) fn initialize(id: u64) -> Value {
    let info = json!({"name": "logseq-runner", "version": env!("CARGO_PKG_VERSION")});
    call(id, "initialize", &json!({"protocolVersion": PROTOCOL_VERSION, "clientCapabilities": {}, "clientInfo": info}))
}

/// Whether an agent says, in what it tells of itself, that it can use tools behind HTTP.
pub(crate) fn takes_tools(told: &Value) -> bool {
    told.pointer("/agentCapabilities/mcpCapabilities/http").and_then(Value::as_bool) == Some(true)
}

/// The tools that the worker offers, as an agent is told of them (docs/spec/pg-sync.md 4.12).
pub(crate) fn tool_server(tools: &Tools) -> Value {
    let authorization = json!({"name": "Authorization", "value": format!("Bearer {}", tools.token)});
    json!({"type": "http", "name": "logseq", "url": tools.url, "headers": [authorization]})
}

/// A new session of the agent, with servers of tools.
pub(crate) fn new_session(id: u64, cwd: &str, servers: &[Value]) -> Value {
    call(id, "session/new", &json!({"cwd": cwd, "mcpServers": servers}))
}

/// A session that the agent has kept, with servers of tools.
pub(crate) fn load_session(id: u64, session: &str, cwd: &str, servers: &[Value]) -> Value {
    call(id, "session/load", &json!({"sessionId": session, "cwd": cwd, "mcpServers": servers}))
}

/// What the agent may do without asking.
pub(crate) fn set_mode(id: u64, session: &str, mode: &str) -> Value {
    call(id, "session/set_mode", &json!({"sessionId": session, "modeId": mode}))
}

/// A prompt.
pub(crate) fn prompt(id: u64, session: &str, blocks: &[Value]) -> Value {
    call(id, "session/prompt", &json!({"sessionId": session, "prompt": blocks}))
}

/// The end of a turn, asked for.
pub(crate) fn cancel(session: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})
}

/// The answer to a question.
pub(crate) fn answer(rpc_id: &Value, outcome: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": rpc_id, "result": {"outcome": outcome}})
}

/// The answer to a question that nobody answers.
pub(crate) fn answer_cancelled(rpc_id: &Value) -> Value {
    answer(rpc_id, &json!({"outcome": "cancelled"}))
}

/// The answer to a request that is not done here.
pub(crate) fn unsupported(rpc_id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": rpc_id, "error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert!(matches!(
            read(br#"{"id":4,"result":{"stopReason":"end_turn"}}"#),
            Incoming::Answer { id: 4, outcome: Ok(_), .. }
        ));
        let refused = read(br#"{"id":4,"error":{"code":-5,"message":"no"}}"#);
        assert!(matches!(refused, Incoming::Answer { outcome: Err(Refusal { code: -5, .. }), .. }));
        assert!(matches!(read(br#"{"method":"session/update","params":{}}"#), Incoming::Told(_)));
        let asked = read(br#"{"id":"a","method":"session/request_permission","params":{"x":1}}"#);
        assert_eq!(asked, Incoming::Permission { rpc_id: "a".into(), params: json!({"x": 1}) });
        assert_eq!(
            read(br#"{"method":"$/cancel_request","params":{"requestId":"a"}}"#),
            Incoming::Withdrawn("a".into())
        );
        assert_eq!(read(br#"{"id":1,"method":"fs/read_text_file"}"#), Incoming::Unsupported(1.into()));
        for bad in ["", "{", "[]", "5", "{}", r#"{"id":null}"#, r#"{"id":[1],"result":1}"#, r#"{"id":-1,"result":1}"#] {
            assert_eq!(read(bad.as_bytes()), Incoming::Nothing, "{bad}");
        }
        assert_eq!(read("[".repeat(10_000).as_bytes()), Incoming::Nothing);
    }
}
