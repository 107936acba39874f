use serde_json::{Value, json};

use super::*;
use crate::error::Error;

const RUN: &str = "https://github.com/acme/app";

fn body() -> Value {
    json!({"session-id": "s-1", "node-id": "node-1", "node-title": "Repair the parser", "content": "Please.",
        "attachments": [], "project": {"id": "project-1", "title": "Parser", "repo-url": RUN},
        "agent": {"provider": "claude"}, "runtime-provider": "local-runner"})
}

/// The body with one member changed; `/` leads inwards.
fn with(path: &str, value: Value) -> Value {
    let mut body = body();
    let mut at = &mut body;
    for name in path.split('/') {
        at = at.as_object_mut().unwrap().entry(name).or_insert_with(|| json!({}));
    }
    *at = value;
    body
}

fn create(body: &Value) -> Result<Create, Error> {
    Create::read(body.to_string().as_bytes())
}

#[test]
fn bodies_that_are_missing_or_none_are_told_apart() {
    for (text, error) in [
        ("", Error::MissingBody),
        ("null", Error::MissingBody),
        ("{", Error::InvalidBody),
        ("[]", Error::InvalidBody),
        ("\"text\"", Error::InvalidBody),
        ("5", Error::InvalidBody),
        ("false", Error::InvalidBody),
        ("{}", Error::InvalidBody),
    ] {
        let bytes = text.as_bytes();
        assert_eq!(Create::read(bytes), Err(error.clone()), "{text}");
        assert_eq!(Message::read(bytes), Err(error.clone()), "{text}");
        assert_eq!(Register::read(bytes), Err(error.clone()), "{text}");
        assert_eq!(Import::read(bytes), Err(error.clone()), "{text}");
        assert_eq!(ApprovalDecision::read(bytes), Err(error.clone()), "{text}");
        let may_be_missing = matches!(text, "" | "null" | "{}");
        assert_eq!(Publish::read(bytes).is_ok(), may_be_missing, "{text}");
        assert_eq!(Heartbeat::read(bytes).is_ok(), may_be_missing, "{text}");
    }
}

#[test]
fn every_required_member_of_a_task_is_missed() {
    for name in ["session-id", "node-id", "node-title", "content", "attachments", "project", "agent"] {
        let mut body = body();
        body.as_object_mut().unwrap().remove(name);
        assert_eq!(create(&body), Err(Error::InvalidBody), "{name}");
    }
    for name in ["id", "title", "repo-url"] {
        let mut body = body();
        body["project"].as_object_mut().unwrap().remove(name);
        assert_eq!(create(&body), Err(Error::InvalidBody), "{name}");
    }
}

#[test]
fn members_of_a_task_have_their_types() {
    for (path, value) in [
        ("session-id", json!(5)),
        ("session-id", json!(null)),
        ("node-title", json!(7)),
        ("content", json!(null)),
        ("attachments", json!("x")),
        ("attachments", json!([1])),
        ("attachments", json!(null)),
        ("project", json!("p")),
        ("agent", json!(3)),
        ("agent", json!([])),
        ("agent", json!(null)),
        ("runtime-provider", json!(1)),
        ("runtime-provider", json!(null)),
        ("runner-id", json!(true)),
        ("sandbox-checkpoint", json!("snap")),
        ("sandbox-checkpoint/snapshot-id", json!(1)),
        ("sandbox-checkpoint/provider", json!(1)),
        ("capabilities", json!([])),
        ("capabilities/push-enabled", json!("yes")),
        ("capabilities/pr-enabled", json!(null)),
        ("capabilities/follow-up", json!("yes")),
        ("capabilities/tools", json!("x")),
        ("capabilities/tools/allow", json!("x")),
        ("capabilities/tools/deny", json!([1])),
        ("project/base-branch", json!(1)),
        ("project/graph-id", json!(1)),
        ("project/docker-file", json!({})),
        ("project/sandbox-init-setup", json!(3)),
        ("agent/provider", json!(1)),
        ("agent/mode", json!(null)),
        ("agent/permission-mode", json!(1)),
        ("agent/api-token", json!(1)),
        ("agent/auth-json", json!({})),
        ("agent/managed-auth", json!("x")),
        ("agent/managed-auth/auth-id", json!(1)),
        ("agent/managed-auth/issued-at", json!("1")),
        ("agent/managed-auth/issued-at", json!(1.5)),
        ("agent/managed-auth/runtime-auth-payload/auth-json", json!(1)),
    ] {
        assert_eq!(create(&with(path, value.clone())), Err(Error::InvalidBody), "{path} {value}");
    }
}

#[test]
fn a_task_is_normalised_and_stays_open() {
    let mut body = with("runtime-provider", json!(" Local-Runner "));
    body["extra"] = json!({"a": 1});
    body["capabilities"] = json!({"push-enabled": false, "extra": 1});
    body["runner-id"] = json!("  a ");
    body["sandbox-checkpoint"] = json!({"provider": "e2b", "snapshot-id": " snap-x "});
    body["audit"] = json!({"requested-by": "someone"});
    body["project"]["extra"] = json!([1]);
    let read = create(&body).unwrap();
    let expected = json!({"id": "s-1", "source": {"node-id": "node-1", "node-title": "Repair the parser"},
        "intent": {"content": "Please.", "attachments": []},
        "project": {"id": "project-1", "title": "Parser", "repo-url": RUN, "extra": [1]},
        "agent": {"provider": "claude"}, "capabilities": {"push-enabled": false, "pr-enabled": true},
        "runtime-provider": "local-runner", "runner-id": "a"});
    assert_eq!((read.task.0, read.snapshot_id.as_deref()), (expected, Some("snap-x")));
    for (asked, kept) in [(json!(true), true), (json!(false), false)] {
        body["capabilities"] = json!({"follow-up": asked});
        let task = create(&body).unwrap().task;
        // What is off by itself is not named: a task is as it was before there was such a thing.
        let capabilities = task.0["capabilities"].as_object().unwrap();
        assert_eq!((task.follow_up(), capabilities.contains_key("follow-up")), (kept, kept));
    }
    let mut blank = with("runtime-provider", json!("  "));
    blank["runner-id"] = json!(" ");
    blank["agent"] = json!("claude-code");
    let task = create(&blank).unwrap().task.0;
    assert!(task.get("runtime-provider").is_none() && task.get("runner-id").is_none());
    assert_eq!((&task["agent"], &task["capabilities"]["push-enabled"]), (&json!("claude-code"), &json!(true)));
}

/// `request_test` and `m25_managed_auth_test` of the reference (agents.md 17): such bodies are taken as they are.
#[test]
fn bodies_of_the_reference_are_taken_as_they_are() {
    let mut body = with("attachments", json!(["https://files.test/a.png", "https://files.test/b.pdf"]));
    body["runtime-provider"] = json!("e2b");
    body["runner-id"] = json!("laptop");
    body["project"]["graph-id"] = json!("graph-123");
    body["project"]["docker-file"] = json!("FROM debian\n");
    body["capabilities"] = json!({"push-enabled": false, "pr-enabled": true});
    let managed = json!({"auth-id": "a1", "auth-state": "valid", "auth-method": "chatgpt", "user-id": "u1", "issued-at": 1,
        "runtime-auth-payload": {"auth-json": "{\"tokens\":{}}"}});
    body["agent"] =
        json!({"provider": "codex", "mode": "build", "managed-auth": managed, "auth-json": "{\"older\":1}"});
    let read = create(&body).unwrap();
    assert_eq!(read.task.0["intent"]["attachments"], body["attachments"]);
    assert_eq!(read.task.0["project"], body["project"]);
    assert_eq!((&read.task.0["runtime-provider"], &read.task.0["runner-id"]), (&json!("e2b"), &json!("laptop")));
    assert_eq!(read.task.0["capabilities"], body["capabilities"]);
    assert_eq!(read.task.0["agent"], json!({"provider": "codex", "mode": "build"}));
    // The managed login and the older one are kept beside each other; the managed one counts.
    let kept = serde_json::to_value(&read.secrets).unwrap();
    assert_eq!((&kept["managed-auth"], &kept["auth-json"]), (&managed, &json!("{\"older\":1}")));
    assert_eq!(read.secrets.auth_json(), Some("{\"tokens\":{}}"));
    let named = create(&with("agent", json!("codex"))).unwrap();
    assert_eq!(named.task.0["agent"], "codex");
    for (push, pr) in [(false, true), (true, false), (false, false)] {
        let read = create(&with("capabilities", json!({"push-enabled": push, "pr-enabled": pr}))).unwrap();
        assert_eq!(read.task.0["capabilities"], json!({"push-enabled": push, "pr-enabled": pr}));
    }
}

#[test]
fn credentials_leave_the_task() {
    let mut body =
        with("agent/managed-auth", json!({"auth-id": "x", "runtime-auth-payload": {"auth-json": "geheim-1"}}));
    body["agent"]["auth-json"] = json!("geheim-2");
    body["agent"]["api-token"] = json!("geheim-3");
    body["agent"]["env"] = json!({"A": "b", "N": 5});
    let read = create(&body).unwrap();
    assert_eq!(read.task.agent(), &json!({"provider": "claude", "env": {"A": "b", "N": 5}}));
    assert_eq!(read.secrets.auth_json(), Some("geheim-1"), "the stored login wins");
    assert_eq!(read.secrets.api_token.as_deref(), Some("geheim-3"));
    assert!(!format!("{read:?}").contains("geheim"));
    assert_eq!(read.init()["secrets"]["api-token"], "geheim-3");
}

#[test]
fn sizes_of_a_task_are_bounded() {
    let text = |bytes: usize| json!("x".repeat(bytes));
    let many = |count: usize, bytes: usize| json!(vec!["x".repeat(bytes); count]);
    let variables = |count: usize, bytes: usize| -> Value {
        (0..count).map(|number| (format!("{number:03}"), text(bytes))).collect::<serde_json::Map<_, _>>().into()
    };
    // Path, at the limit, one beyond, what is answered then.
    for (path, at, beyond, error) in [
        ("content", text(MAX_MESSAGE_BYTES), text(MAX_MESSAGE_BYTES + 1), Error::MessageTooLarge),
        ("session-id", text(512), text(513), Error::InvalidSessionId),
        ("session-id", text(1), text(0), Error::InvalidSessionId),
        ("attachments", many(100, 1), many(101, 1), Error::InvalidBody),
        ("attachments", many(1, 2_048), many(1, 2_049), Error::InvalidBody),
        ("agent/env", variables(100, 1), variables(101, 1), Error::InvalidBody),
        ("agent/env", variables(1, 16_384), variables(1, 16_385), Error::InvalidBody),
        ("agent/env", variables(16, 16_381), variables(16, 16_382), Error::InvalidBody),
        ("project/docker-file", text(65_536), text(65_537), Error::InvalidBody),
        ("project/sandbox-init-setup", text(65_536), text(65_537), Error::InvalidBody),
        ("capabilities/tools/allow", many(100, 200), many(101, 1), Error::InvalidBody),
        ("capabilities/tools/deny", many(1, 200), many(1, 201), Error::InvalidBody),
    ] {
        assert!(create(&with(path, at)).is_ok(), "{path} at its limit");
        assert_eq!(create(&with(path, beyond)), Err(error), "{path} beyond it");
    }
    // Bytes count, not characters.
    assert!(create(&with("content", json!("é".repeat(MAX_MESSAGE_BYTES / 2)))).is_ok());
    assert_eq!(create(&with("content", json!("é".repeat(MAX_MESSAGE_BYTES / 2 + 1)))), Err(Error::MessageTooLarge));
}

#[test]
fn messages_are_texts() {
    let read = |body: Value| Message::read(body.to_string().as_bytes());
    for body in [
        json!({"message": 5}),
        json!({"message": null}),
        json!({"message": "x", "kind": 5}),
        json!({"message": "x", "kind": null}),
        json!({"text": "x"}),
    ] {
        assert_eq!(read(body.clone()), Err(Error::InvalidBody), "{body}");
    }
    assert_eq!(read(json!({"message": ""})), Ok(Message { message: String::new(), kind: None }));
    let odd = read(json!({"message": "häßlich 😀\n", "kind": "odd", "extra": 1})).unwrap();
    assert_eq!(serde_json::to_value(odd).unwrap(), json!({"message": "häßlich 😀\n", "kind": "odd"}));
    assert!(read(json!({"message": "x".repeat(MAX_MESSAGE_BYTES)})).is_ok());
    assert_eq!(read(json!({"message": "x".repeat(MAX_MESSAGE_BYTES + 1)})), Err(Error::MessageTooLarge));
}

#[test]
fn publishing_names_valid_branches() {
    let read = |body: Value| Publish::read(body.to_string().as_bytes());
    for body in [
        json!({"title": 1}),
        json!({"body": null}),
        json!({"create-pr": "yes"}),
        json!({"force": 1}),
        json!({"head-branch": 5}),
        json!({"base-branch": []}),
        json!({"commit-message": {}}),
    ] {
        assert_eq!(read(body.clone()), Err(Error::InvalidBody), "{body}");
    }
    let plain = read(json!({})).unwrap();
    assert_eq!(serde_json::to_value(&plain).unwrap(), json!({"create-pr": true, "force": false}));
    assert_eq!(read(json!({"head-branch": "  "})), Ok(plain));
    assert_eq!(read(json!({"head-branch": " m14/b "})).unwrap().head_branch.as_deref(), Some("m14/b"));
    for head in ["x;id", "-f", "a b", "$(id)", "a..b", "HEAD"] {
        assert_eq!(read(json!({"head-branch": head})), Err(Error::InvalidHead), "{head}");
    }
    for (name, limit) in [("title", MAX_TITLE_BYTES), ("body", MAX_TEXT_BYTES), ("commit-message", MAX_TEXT_BYTES)] {
        assert!(read(json!({name: "x".repeat(limit)})).is_ok(), "{name}");
        assert_eq!(read(json!({name: "x".repeat(limit + 1)})), Err(Error::InvalidBody), "{name}");
    }
}

#[test]
fn decisions_are_one_of_two() {
    let read = |body: Value| ApprovalDecision::read(body.to_string().as_bytes());
    for word in ["granted", "denied"] {
        let body = json!({"decision": word, "option-id": "o", "reason": "r"});
        assert_eq!(serde_json::to_value(read(body.clone()).unwrap()).unwrap(), body);
    }
    for body in [json!({"decision": "Granted"}), json!({"decision": true}), json!({"decision": "denied", "reason": 1})]
    {
        assert_eq!(read(body.clone()), Err(Error::InvalidBody), "{body}");
    }
}

#[test]
fn registrations_are_trimmed_and_checked() {
    let read = |members: Value| {
        let mut body = json!({"runner-id": "a", "base-url": "https://a.test"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Register::read(body.to_string().as_bytes())
    };
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for body in [
        json!({"runner-id": 5}),
        json!({"runner-id": "  "}),
        json!({"runner-id": "a\nb"}),
        json!({"runner-id": "x".repeat(MAX_ID_BYTES + 1)}),
        json!({"base-url": "   "}),
        json!({"base-url": "///"}),
        json!({"base-url": "x".repeat(MAX_ADDRESS_BYTES + 1)}),
        json!({"max-sessions": "2"}),
        json!({"max-sessions": 1.5}),
        json!({"max-sessions": null}),
        json!({"agent-token": 1}),
        json!({"agent-token": "a\r\nx-header: y"}),
        json!({"agent-token": "x".repeat(MAX_TOKEN_BYTES + 1)}),
        json!({"access-client-id": null}),
        json!({"signing-key": "short"}),
        json!({"signing-key": &key[1..]}),
        json!({"workspace-dir": "relative"}),
        json!({"workspace-dir": "/a/../etc"}),
    ] {
        assert_eq!(read(body.clone()), Err(Error::InvalidBody), "{body}");
    }
    let full = read(json!({"runner-id": " a ", "base-url": " https://a.test// ", "agent-token": " tok ",
        "max-sessions": -3, "signing-key": key, "workspace-dir": "/home/me/", "extra": 1}));
    let full = full.unwrap();
    assert_eq!((&*full.runner_id, &*full.base_url, full.max_sessions), ("a", "https://a.test", 1));
    assert_eq!((full.agent_token.as_deref(), full.workspace_dir.as_deref()), (Some("tok"), Some("/home/me")));
    assert!(full.has_secrets() && !read(json!({"agent-token": " "})).unwrap().has_secrets());
    assert!(!format!("{full:?}").contains("tok"));
}

#[test]
fn heartbeats_say_a_number_or_none() {
    let read = |text: &str| Heartbeat::read(text.as_bytes()).map(|heartbeat| heartbeat.active_sessions);
    for (text, expected) in [
        ("", Ok(None)),
        ("null", Ok(None)),
        ("{}", Ok(None)),
        (r#"{"active-sessions":2,"status":"offline"}"#, Ok(Some(2))),
        (r#"{"active-sessions":-4}"#, Ok(Some(0))),
        (r#"{"active-sessions":"1"}"#, Err(Error::InvalidBody)),
        (r#"{"active-sessions":null}"#, Err(Error::InvalidBody)),
        (r#"{"active-sessions":1.5}"#, Err(Error::InvalidBody)),
        ("[]", Err(Error::InvalidBody)),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn imports_say_until_when() {
    let read = |body: Value| Import::read(body.to_string().as_bytes());
    for body in [
        json!({"access_token": 5}),
        json!({"access_token": "x", "expires_in": "5"}),
        json!({"access_token": "x", "expires_at": 1.5}),
        json!({"access_token": "x", "refresh_token": null}),
        json!({"refresh_token": "x"}),
        json!({"access_token": "x".repeat(MAX_LOGIN_TOKEN_BYTES + 1)}),
    ] {
        assert_eq!(read(body), Err(Error::InvalidBody));
    }
    for blank in ["", "   "] {
        assert_eq!(read(json!({"access_token": blank})), Err(Error::ImportFailed), "B54");
    }
    for (members, expected) in [
        (json!({}), 0),
        (json!({"expires_in": 3_600}), 3_601_000),
        (json!({"expires_at": 9_000, "expires_in": 5}), 9_000),
        (json!({"expires_at": 0, "expires_in": 0}), 0),
        (json!({"expires_at": -1, "expires_in": -1}), 0),
        (json!({"expires_in": 1e300}), (1 << 53) - 1),
    ] {
        let mut body = json!({"access_token": "x", "account_id": "acc"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        assert_eq!(read(body).unwrap().ends_at(1_000), expected, "{members}");
    }
}
