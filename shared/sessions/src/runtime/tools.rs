//! The tools that an agent is offered when its session is opened (pg-sync.md 4.12).

use std::fmt;

use serde_json::{Value, json};

/// What agents call the server of our tools.
const NAME: &str = "logseq";

/// Where the tools of one session are, and what opens them.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolServer {
    url: String,
    token: String,
}

impl fmt::Debug for ToolServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ToolServer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ToolServer {
    /// The tools of a session, below the address of this service, for whoever holds that token.
    pub fn new(base: &str, session_id: &str, token: String) -> Self {
        Self { url: format!("{base}/sessions/{}/mcp", web::url::encode(session_id)), token }
    }

    /// As a runner that calls us is told of it, whose side tells the agent (session-mailbox.md 7.4).
    pub fn to_item(&self) -> Value {
        json!({"url": self.url, "token": self.token})
    }

    /// As agents are told of it at `session/new` and `session/load`.
    pub fn to_acp(&self) -> Value {
        json!({
            "type": "http",
            "name": NAME,
            "url": self.url,
            "headers": [{"name": "Authorization", "value": format!("Bearer {}", self.token)}],
        })
    }
}

/// Whether an agent says, in its answer to `initialize`, that it can use tools behind HTTP.
pub(super) fn takes_http(initialized: &Value) -> bool {
    initialized.pointer("/result/agentCapabilities/mcpCapabilities/http").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stands_in_a_header_and_nowhere_else() {
        let server = ToolServer::new("https://agents.example", "a/b c", "secret".to_owned());
        let told = server.to_acp();
        assert_eq!(told["url"], "https://agents.example/sessions/a%2Fb%20c/mcp");
        assert_eq!(told["headers"], json!([{"name": "Authorization", "value": "Bearer secret"}]));
        assert_eq!((&told["type"], &told["name"]), (&json!("http"), &json!("logseq")));
        assert_eq!(server.to_item(), json!({"url": told["url"], "token": "secret"}));
        assert!(!format!("{server:?}").contains("secret"));
    }

    #[test]
    fn only_agents_that_say_so_take_it() {
        let says = |capabilities: Value| takes_http(&json!({"result": {"agentCapabilities": capabilities}}));
        assert!(says(json!({"mcpCapabilities": {"http": true, "sse": false}})));
        for silent in [
            json!({}),
            json!({"mcpCapabilities": {"http": false}}),
            json!({"mcpCapabilities": {"http": "yes"}}),
            json!(5),
        ] {
            assert!(!says(silent.clone()), "{silent}");
        }
        assert!(!takes_http(&json!({"error": {"code": 1}})));
    }
}
