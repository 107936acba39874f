//! What the control plane sends to an agent server (agents.md 4.3, 4.4): bodies of POSTs, as JSON-RPC.

use serde_json::{Value, json};

use super::Answer;

/// The version of the protocol that the control plane speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// JSON-RPC: there is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;

/// A file or page that the prompt refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLink<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Where it is.
    pub uri: &'a str,
}

impl<'a> ResourceLink<'a> {
    /// The link for an attachment of a session, which has an address and no name: the last part of the path names it.
    pub fn of_attachment(uri: &'a str) -> Self {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(uri);
        Self { name, uri }
    }
}

fn call(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// The first request to a server. It starts the agent, which may have to be installed.
pub fn initialize(id: u64) -> Value {
    call(
        id,
        "initialize",
        &json!({
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {},
            "clientInfo": {"name": "logseq-workers", "version": "v1"},
        }),
    )
}

/// Opens a session of the agent in a folder of the runtime, with servers of tools.
pub fn new_session(id: u64, cwd: &str, servers: &[Value]) -> Value {
    call(id, "session/new", &json!({"cwd": cwd, "mcpServers": servers}))
}

/// Goes on with a session that the agent has kept in its files, with servers of tools.
pub fn load_session(id: u64, session: &str, cwd: &str, servers: &[Value]) -> Value {
    call(id, "session/load", &json!({"sessionId": session, "cwd": cwd, "mcpServers": servers}))
}

/// Sets what the agent may do without asking.
pub fn set_mode(id: u64, session: &str, mode: &str) -> Value {
    call(id, "session/set_mode", &json!({"sessionId": session, "modeId": mode}))
}

/// Sends a message of a person. Links follow the text.
pub fn prompt(id: u64, session: &str, text: &str, links: &[ResourceLink<'_>]) -> Value {
    call(id, "session/prompt", &json!({"sessionId": session, "prompt": blocks(text, links)}))
}

/// What a message of a person consists of. Links follow the text.
pub fn blocks(text: &str, links: &[ResourceLink<'_>]) -> Vec<Value> {
    let mut blocks = vec![json!({"type": "text", "text": text})];
    blocks.extend(links.iter().map(|link| json!({"type": "resource_link", "name": link.name, "uri": link.uri})));
    blocks
}

/// Tells the agent to end its turn. A notification: nothing answers it, the turn ends with `cancelled`.
pub fn cancel(session: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})
}

/// Answers a `session/request_permission` under the id that the agent gave it.
pub fn permission_answer(rpc_id: &Value, answer: Answer<'_>) -> Value {
    let outcome = match answer {
        Answer::Selected(option) => json!({"outcome": "selected", "optionId": option}),
        Answer::Cancelled => json!({"outcome": "cancelled"}),
    };
    json!({"jsonrpc": "2.0", "id": rpc_id, "result": {"outcome": outcome}})
}

/// Answers a request of the agent that the control plane does not know, so that the agent does not wait for ever.
pub fn method_not_found(rpc_id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": rpc_id, "error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}})
}
