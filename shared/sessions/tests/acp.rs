//! What is sent to an agent server, and what its answers mean (agents.md 4.1 to 4.4, 4.6, 17).

use serde_json::{Value, json};
use sessions::acp::request::{self, ResourceLink};
use sessions::acp::{
    AcpError, Answer, HttpReply, Launch, MAX_FRAME_BYTES, MAX_FRAME_VALUES, MAX_OPTIONS, MAX_REPLY_BYTES, OptionKind,
    PermissionRequest, PromptSent, Unreadable, agent_alias, base_url, read_frame, server_url,
};
use sessions::legacy::{self, ApiSetting, Dialect, Probe};

#[test]
fn base_addresses_are_made_complete() {
    for (text, url) in [
        ("https://sandbox.example", "https://sandbox.example"),
        ("https://sandbox.example/", "https://sandbox.example"),
        ("http://sandbox.example//", "http://sandbox.example"),
        ("sandbox.example", "https://sandbox.example"),
        ("  sandbox.example  ", "https://sandbox.example"),
        ("localhost:8787", "http://localhost:8787"),
        ("127.0.0.1:2468/x", "http://127.0.0.1:2468/x"),
        ("[::1]:2468", "http://[::1]:2468"),
        ("localhost.example", "https://localhost.example"),
        ("127.0.0.1.example", "https://127.0.0.1.example"),
        ("  ", ""),
        ("///", ""),
    ] {
        assert_eq!(base_url(text), url, "{text:?}");
    }
}

#[test]
fn the_address_of_an_agent_server() {
    assert_eq!(server_url("https://a.test/", "s1", None), "https://a.test/v1/acp/s1");
    assert_eq!(server_url("https://a.test", "s1", Some("codex")), "https://a.test/v1/acp/s1?agent=codex");
    assert_eq!(server_url("https://a.test", "a/b c?d", Some("{}")), "https://a.test/v1/acp/a%2Fb%20c%3Fd?agent=%7B%7D");
    assert_eq!(server_url("https://a.test", "..", None), "https://a.test/v1/acp/%2E%2E");
}

#[test]
fn agents_have_other_names() {
    for (name, agent) in [
        ("claude-code", Some("claude")),
        ("CLAUDE_CODE", Some("claude")),
        (" ChatGPT ", Some("codex")),
        ("open-code", Some("opencode")),
        ("open_code", Some("opencode")),
        ("Mock", Some("mock")),
        ("  ", None),
    ] {
        assert_eq!(agent_alias(name).as_deref(), agent);
    }
}

/// The scenario `agents-modes`: the agent of the task, the agent of the first POST, the mode that was set.
#[test]
fn agents_and_modes_are_those_that_were_recorded() {
    for (agent, name, mode) in [
        (json!({"provider": "codex", "api-token": "sk-x"}), "codex", Some("auto")),
        (json!({"provider": "codex", "api-token": "x", "permission-mode": "default"}), "codex", Some("read-only")),
        (json!({"provider": "codex", "api-token": "x", "permission-mode": " Read-Only "}), "codex", Some("read-only")),
        (json!({"provider": "Codex", "auth-json": "{}", "permission-mode": "auto"}), "codex", Some("auto")),
        (
            json!({"provider": "codex", "api-token": "x", "permission-mode": "full-access"}),
            "codex",
            Some("full-access"),
        ),
        (json!({"provider": "codex", "api-token": "x", "permission-mode": "plan"}), "codex", None),
        (json!({"provider": "chatgpt"}), "codex", Some("auto")),
        (json!({"provider": "claude"}), "claude", Some("default")),
        (json!({"provider": "claude", "permission-mode": "acceptEdits"}), "claude", Some("acceptEdits")),
        (json!({"provider": "Claude-Code", "permission-mode": "accept-edits"}), "claude", Some("acceptEdits")),
        (json!({"provider": "claude_code", "permission-mode": "plan"}), "claude", Some("plan")),
        (json!({"provider": "claude", "permission-mode": "bypass"}), "claude", Some("bypassPermissions")),
        (json!({"provider": "claude", "permission-mode": "unknown"}), "claude", None),
        (json!({"provider": "amp", "permission-mode": "bypass"}), "amp", Some("bypass")),
        (json!({"provider": "amp"}), "amp", Some("default")),
        (json!({"provider": "amp", "permission-mode": "plan"}), "amp", None),
        (json!({"provider": "opencode"}), "opencode", Some("build")),
        (json!({"provider": "open-code", "mode": "plan"}), "opencode", Some("plan")),
        (json!({"provider": "pi", "mode": " review "}), "pi", Some("review")),
        (json!({"provider": "pi", "agent-mode": "x", "model": "y"}), "pi", Some("x")),
        (json!({"provider": "pi", "model": "y"}), "pi", Some("y")),
        (json!({"provider": "cursor", "permission-mode": "default"}), "cursor", Some("build")),
        (json!({"id": "claude", "permissionMode": "plan"}), "claude", Some("plan")),
        (json!({}), "{}", Some("build")),
        (json!("claude"), "claude", Some("default")),
        (json!("AMP"), "amp", Some("default")),
        (json!("Mock"), "mock", Some("build")),
        (json!("claude-code"), "claude", Some("default")),
    ] {
        let launch = Launch::of(&agent);
        assert_eq!((launch.agent.as_deref(), launch.mode_id()), (Some(name), mode), "{agent}");
    }
    assert_eq!(Launch::of(&json!({"provider": ""})).agent, None);
}

#[test]
fn requests_are_those_that_were_recorded() {
    assert_eq!(
        request::initialize(1),
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1, "clientCapabilities": {}, "clientInfo": {"name": "logseq-workers", "version": "v1"}}})
    );
    assert_eq!(
        request::new_session(2, "/home/user/workspace/s1", &[]),
        json!({"jsonrpc": "2.0", "id": 2, "method": "session/new", "params": {"cwd": "/home/user/workspace/s1", "mcpServers": []}})
    );
    // Under the session that the answer named, not under the control plane's.
    assert_eq!(
        request::set_mode(3, "remote-1", "auto"),
        json!({"jsonrpc": "2.0", "id": 3, "method": "session/set_mode", "params": {"sessionId": "remote-1", "modeId": "auto"}})
    );
    assert_eq!(
        request::prompt(4, "r1", "Hello there", &[]),
        json!({"jsonrpc": "2.0", "id": 4, "method": "session/prompt", "params": {"sessionId": "r1", "prompt": [{"type": "text", "text": "Hello there"}]}})
    );
    assert_eq!(
        request::cancel("r1"),
        json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "r1"}})
    );
}

#[test]
fn attachments_are_links_of_the_prompt() {
    let links =
        [ResourceLink::of_attachment("https://x.test/a/plan.pdf?v=1"), ResourceLink::of_attachment("https://x.test/")];
    let prompt = request::prompt(4, "r1", "see", &links);
    assert_eq!(
        prompt["params"]["prompt"][1],
        json!({"type": "resource_link", "name": "plan.pdf", "uri": "https://x.test/a/plan.pdf?v=1"})
    );
    assert_eq!(prompt["params"]["prompt"][2]["name"], "x.test");
}

#[test]
fn a_request_for_permission_is_answered_under_its_id() {
    assert_eq!(
        request::permission_answer(&json!("q-1"), Answer::Selected("o1")),
        json!({"jsonrpc": "2.0", "id": "q-1", "result": {"outcome": {"outcome": "selected", "optionId": "o1"}}})
    );
    assert_eq!(
        request::permission_answer(&json!(0), Answer::Cancelled),
        json!({"jsonrpc": "2.0", "id": 0, "result": {"outcome": {"outcome": "cancelled"}}})
    );
}

fn asked(kinds: &[&str]) -> Result<PermissionRequest, Unreadable> {
    let options: Vec<Value> = kinds.iter().map(|kind| json!({"optionId": kind, "name": kind, "kind": kind})).collect();
    PermissionRequest::read(&json!({"options": options}))
}

#[test]
fn decisions_choose_an_option_of_their_kind() {
    let both = asked(&["allow_always", "allow_once", "reject_once"]).unwrap();
    assert_eq!(both.grant(None), Some(Answer::Selected("allow_once")));
    assert_eq!(both.grant(Some("allow_always")), Some(Answer::Selected("allow_always")));
    assert_eq!(both.grant(Some("reject_once")), None, "contradicts the decision");
    assert_eq!(both.grant(Some("unknown")), None);
    assert_eq!(both.deny(None), Some(Answer::Selected("reject_once")));
    assert_eq!(both.deny(Some("allow_once")), None, "contradicts the decision");
    assert_eq!(both.deny(Some("unknown")), None);
    assert_eq!(asked(&["allow_once"]).unwrap().deny(None), Some(Answer::Cancelled));
    assert_eq!(asked(&["allow_always"]).unwrap().grant(None), None, "nobody said always");
    assert_eq!(both.option_of(OptionKind::RejectAlways), None);
}

#[test]
fn options_of_a_request_are_bounded() {
    let of = |count: usize| {
        PermissionRequest::read(&json!({"options": vec![json!({"optionId": "o", "kind": "allow_once"}); count]}))
    };
    assert!(of(0).is_err());
    assert!(of(MAX_OPTIONS).is_ok());
    assert!(of(MAX_OPTIONS + 1).is_err());
    let long = json!({"toolCall": {"title": "é".repeat(1000)}, "options": [{"optionId": "o", "kind": "allow_once"}]});
    assert_eq!(PermissionRequest::read(&long).unwrap().title.unwrap().len(), 1024);
}

fn reply<'a>(status: u16, content_type: &'a str, body: &'a str) -> HttpReply<'a> {
    HttpReply { status, content_type: Some(content_type), body: body.as_bytes() }
}

#[test]
fn the_agents_session_is_the_one_that_it_names() {
    for (body, session) in [
        (r#"{"jsonrpc":"2.0","id":2,"result":{"sessionId":"remote-1"}}"#, "remote-1"),
        (r#"{"jsonrpc":"2.0","id":2,"result":{"session-id":"remote-2"}}"#, "remote-2"),
        (r#"{"ok":true}"#, "own"),
    ] {
        assert_eq!(reply(200, "application/json; charset=utf-8", body).session_id("own").unwrap(), session);
    }
    assert_eq!(reply(200, "text/plain", r#"{"result":{"sessionId":"x"}}"#).session_id("own").unwrap(), "own");
    let failed = reply(200, "application/json", r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
    assert!(failed.session_id("own").unwrap_err().is_unknown_mode());
    assert_eq!(reply(200, "application/json", "{").session_id("own"), Err(AcpError::Unreadable));
}

/// Answers of the scenarios `prompt-http-errors`, `prompt-gone-server`, `prompt-timeout` and `prompt-accepted-only`.
#[test]
fn a_prompt_is_sent_again_only_if_it_was_not_reached() {
    let json = "application/json";
    let problem = "application/problem+json";
    let missing = r#"{"type":"urn:sandbox-agent:error:invalid_request","title":"Invalid Request","status":400,"detail":"invalid request: missing required 'agent' query parameter for first POST to /v1/acp/x"}"#;
    let gone = r#"{"type":"urn:sandbox-agent:error:session_not_found","title":"Session Not Found","status":404,"detail":"session not found"}"#;
    let spawn = r#"{"type":"urn:sandbox-agent:error:stream_error","title":"Stream Error","status":502}"#;
    for (reply, reached) in [
        (reply(404, problem, gone), false),
        (reply(400, problem, missing), false),
        (reply(502, problem, spawn), false),
        (reply(502, "text/html", "<h1>Bad gateway</h1>"), true),
        (reply(400, problem, r#"{"detail":"invalid request: no such session"}"#), true),
        (reply(500, json, r#"{"type":"about:blank","status":500}"#), true),
        (reply(500, "text/plain", "no"), true),
        (reply(429, json, r#"{"type":"about:blank","status":429}"#), true),
        (reply(401, json, r#"{"type":"about:blank","status":401}"#), true),
        (
            reply(200, json, r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32603,"message":"agent process stopped"}}"#),
            true,
        ),
    ] {
        match reply.prompt_sent() {
            PromptSent::NotReached(_) => assert!(!reached, "{reply:?}"),
            PromptSent::Failed(_) => assert!(reached, "{reply:?}"),
            other => panic!("{reply:?}: {other:?}"),
        }
    }
    assert_eq!(reply(202, json, "").prompt_sent(), PromptSent::Running);
    assert_eq!(reply(504, problem, "{}").prompt_sent(), PromptSent::Running);
    assert_eq!(reply(200, json, r#"{"result":{}}"#).prompt_sent(), PromptSent::Running);
    assert_eq!(
        reply(200, json, r#"{"jsonrpc":"2.0","id":4,"result":{"stopReason":"end_turn"}}"#).prompt_sent(),
        PromptSent::Ended("end_turn".to_owned())
    );
}

#[test]
fn answers_are_bounded() {
    let at = format!("\"{}\"", "x".repeat(MAX_REPLY_BYTES - 2));
    assert!(reply(200, "application/json", &at).envelope().is_ok());
    let beyond = format!("\"{}\"", "x".repeat(MAX_REPLY_BYTES - 1));
    assert_eq!(reply(200, "application/json", &beyond).envelope(), Err(AcpError::TooLarge));
    let long = "é".repeat(20_000);
    let AcpError::Status { detail, .. } = reply(500, "text/plain", &long).envelope().unwrap_err() else { panic!() };
    assert!(detail.len() <= 16 * 1024, "{}", detail.len());
}

/// Frames of the scenario `stream-frames`.
#[test]
fn frames_are_json_or_raw() {
    assert_eq!(read_frame(r#"{"type":"note","n":1}"#).unwrap(), Some(json!({"type": "note", "n": 1})));
    assert_eq!(read_frame("{\"type\":\"note\",\n\"n\":6}").unwrap(), Some(json!({"type": "note", "n": 6})));
    assert_eq!(read_frame("this is not json").unwrap(), Some(json!({"raw": "this is not json"})));
    assert_eq!(read_frame("null").unwrap(), None);
}

#[test]
fn frames_are_bounded() {
    let at = format!("\"{}\"", "x".repeat(MAX_FRAME_BYTES - 2));
    assert!(read_frame(&at).is_ok());
    assert!(read_frame(&format!("{at} ")).is_err());
    let is_raw = |text: &str| read_frame(text).unwrap().unwrap().get("raw").is_some();
    let many = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    assert!(!is_raw(&many(MAX_FRAME_VALUES - 1)));
    assert!(is_raw(&many(MAX_FRAME_VALUES)));
    // Marks within a text are no values.
    assert!(!is_raw(&json!({"text": "\\\",[{:".repeat(MAX_FRAME_VALUES)}).to_string()));
    assert!(!is_raw(&format!("{}{}", "[".repeat(100), "]".repeat(100))));
    assert!(is_raw(&format!("{}{}", "[".repeat(200), "]".repeat(200))));
}

#[test]
fn the_dialect_is_asked_for() {
    assert_eq!(ApiSetting::read(None), ApiSetting::Auto);
    assert_eq!(ApiSetting::read(Some(" Legacy ")), ApiSetting::Always(Dialect::Legacy));
    assert_eq!(ApiSetting::read(Some("acp")), ApiSetting::Always(Dialect::Acp));
    let problem = |kind: &str| format!(r#"{{"type":"urn:sandbox-agent:error:{kind}","detail":"x"}}"#);
    for (status, body, next) in [
        (404, problem("invalid_request"), Probe::AskHealth),
        (404, "not found".to_owned(), Probe::AskHealth),
        (405, String::new(), Probe::AskHealth),
        (410, String::new(), Probe::AskHealth),
        (404, problem("agent_not_installed"), Probe::Stands),
        (500, String::new(), Probe::Stands),
        (401, String::new(), Probe::Stands),
    ] {
        let failure = reply(status, "application/problem+json", &body).envelope().unwrap_err();
        assert_eq!(Probe::after(&failure), next, "{failure:?}");
    }
}

#[test]
fn calls_of_the_older_dialect() {
    let launch = Launch::of(&json!({"provider": "claude"}));
    let create = legacy::request::create("a.test", "s/1", &launch);
    assert_eq!(create.url, "https://a.test/v1/sessions/s%2F1");
    assert_eq!(create.body, Some(json!({"agent": "claude", "agentMode": "build", "permissionMode": "default"})));
    let message = legacy::request::message("a.test", "s1", "hello");
    assert_eq!(message.url, "https://a.test/v1/sessions/s1/messages/stream");
    assert_eq!(message.body, Some(json!({"message": "hello"})));
    let events = legacy::request::events("a.test", "s1", 3, 100);
    assert_eq!((events.url.as_str(), events.post), ("https://a.test/v1/sessions/s1/events?offset=3&limit=100", false));
    let permission = legacy::request::permission("a.test", "s1", "../x", legacy::request::Reply::Reject);
    assert_eq!(permission.url, "https://a.test/v1/sessions/s1/permissions/..%2Fx/reply");
    assert_eq!(permission.body, Some(json!({"reply": "reject"})));
    assert!(legacy::request::terminate("a.test", "s1").post);
    assert!(legacy::request::reject_question("a.test", "s1", "q").url.ends_with("/questions/q/reject"));
}
