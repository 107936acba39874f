//! Calls of the older dialect (agents.md 4.6): method, path below the base address, body.

use serde_json::{Map, Value, json};

use crate::acp::{Launch, base_url};

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The whole address.
    pub url: String,
    /// What is posted, if anything is; without it the call is a GET, unless [`Call::post`] says otherwise.
    pub body: Option<Value>,
    /// Whether it is a POST.
    pub post: bool,
}

/// What a person decided, in the dialect's words, which are the ids of the options that [`super::translate()`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Yes, this time.
    Once,
    /// Yes, from now on.
    Always,
    /// No.
    Reject,
}

impl Reply {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Always => "always",
            Self::Reject => "reject",
        }
    }

    /// The reply that an option's id stands for.
    pub fn of_option(id: &str) -> Option<Self> {
        [Self::Once, Self::Always, Self::Reject].into_iter().find(|reply| reply.as_str() == id)
    }
}

fn session_url(base: &str, session: &str, rest: &str) -> String {
    format!("{}/v1/sessions/{}{rest}", base_url(base), crate::acp::component(session))
}

fn post(url: String, body: Option<Value>) -> Call {
    Call { url, body, post: true }
}

/// Opens a session. Its id is the control plane's.
pub fn create(base: &str, session: &str, launch: &Launch) -> Call {
    let members = [
        ("agent", launch.agent.as_deref()),
        ("agentMode", Some(launch.agent_mode.as_str())),
        ("permissionMode", Some(launch.permission_mode.as_str())),
    ];
    let body: Map<String, Value> =
        members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))).collect();
    post(session_url(base, session, ""), Some(Value::Object(body)))
}

/// Sends a message of a person; the answer is the event stream of the turn.
pub fn message(base: &str, session: &str, text: &str) -> Call {
    post(session_url(base, session, "/messages/stream"), Some(json!({"message": text})))
}

/// Asks for the events after a number, when the stream of a turn broke.
pub fn events(base: &str, session: &str, offset: u64, limit: u32) -> Call {
    let url = session_url(base, session, &format!("/events?offset={offset}&limit={limit}"));
    Call { url, body: None, post: false }
}

/// Ends the session.
pub fn terminate(base: &str, session: &str) -> Call {
    post(session_url(base, session, "/terminate"), None)
}

/// Answers a request for permission.
pub fn permission(base: &str, session: &str, permission: &str, reply: Reply) -> Call {
    let rest = format!("/permissions/{}/reply", crate::acp::component(permission));
    post(session_url(base, session, &rest), Some(json!({"reply": reply.as_str()})))
}

/// Refuses to answer a question: nobody is asked.
pub fn reject_question(base: &str, session: &str, question: &str) -> Call {
    let rest = format!("/questions/{}/reject", crate::acp::component(question));
    post(session_url(base, session, &rest), None)
}
