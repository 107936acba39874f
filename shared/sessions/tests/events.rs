//! Events: their JSON, their bounds, who asks for which (agents.md 2.8, 3.3, 3.4, 3.12, 3.15).

use proptest::prelude::*;
use serde_json::{Value, json};
use sessions::event::{
    Checkpoint, DEFAULT_EVENT_BYTES, Draft, Dropped, Event, GitFailure, Kind, MAX_LIMIT, MAX_NAME_BYTES, PREVIEW_BYTES,
    Place, Provisioned, PullRequest, Query, REDACTED, Redactor, json_bytes, next_ts, strip_agent,
};

fn seal(draft: Draft, cursor: Option<u64>, ts: i64) -> Event {
    let place = Place { cursor, event_id: "e1", session_id: "s1", ts };
    Event::seal(draft, &place, &Redactor::default(), DEFAULT_EVENT_BYTES)
}

#[test]
fn an_event_on_the_wire() {
    let event = seal(Draft::user_message("ann", Some("user"), "Hello there"), Some(3), 7);
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"event-id":"e1","session-id":"s1","type":"audit.log","ts":7,"data":{"by":"ann","event":"user-message","kind":"user","message":"Hello there"},"cursor":3}"#
    );
    let live = serde_json::to_value(seal(Draft::new(Kind::AgentRuntime, json!(5)), None, 7)).unwrap();
    assert_eq!(live, json!({"event-id": "e1", "session-id": "s1", "type": "agent.runtime", "ts": 7, "data": 5}));
}

/// Data as the recordings show it.
#[test]
fn the_catalogue_is_the_recorded_one() {
    let failure = GitFailure { reason: "api-error", error: "x", github_status: Some(422) };
    let snapshot = Checkpoint { snapshot_id: "snap-1", provider: "e2b" };
    let made = |existing| PullRequest { url: "https://github.com/acme/pub/pull/3", number: 3, existing };
    for (draft, name, data) in [
        (
            Draft::session_created(
                "ann",
                &json!({"id": "p"}),
                &json!({"provider": "claude", "api-token": "x", "auth-json": "{}", "managed-auth": {}}),
                &[],
            ),
            "session.created",
            json!({"requested-by": "ann", "project": {"id": "p"}, "agent": {"provider": "claude"}}),
        ),
        (
            Draft::session_provisioned(&Provisioned {
                provider: Some("local-runner"),
                runtime_session_id: Some("r1"),
                runner_id: Some("a"),
                ..Provisioned::default()
            }),
            "session.provisioned",
            json!({"provider": "local-runner", "runtime-session-id": "r1", "runner-id": "a", "sandbox-id": null, "sandbox-name": null, "sprite-name": null}),
        ),
        (
            Draft::session_running(Some("ann"), "user-resume"),
            "session.running",
            json!({"by": "ann", "reason": "user-resume"}),
        ),
        (
            Draft::session_running(None, "prompt-started"),
            "session.running",
            json!({"by": "system", "reason": "prompt-started"}),
        ),
        (
            Draft::session_paused(Some("ann"), "user-pause"),
            "session.paused",
            json!({"by": "ann", "reason": "user-pause"}),
        ),
        (Draft::session_canceled("ann"), "session.canceled", json!({"by": "ann"})),
        (
            Draft::sandbox_missing(Some("r1"), Some("sbx1"), "gone"),
            "session.canceled",
            json!({"by": "system", "reason": "sandbox-missing", "runtime-session-id": "r1", "sandbox-id": "sbx1", "error": "gone"}),
        ),
        (
            Draft::user_message("ann", None, "m"),
            "audit.log",
            json!({"event": "user-message", "kind": null, "by": "ann", "message": "m"}),
        ),
        (Draft::runtime_error("s1", "m", None), "agent.runtime.error", json!({"session-id": "s1", "message": "m"})),
        (
            Draft::turn_completed("cancelled", Some(2), Some("r1"), Some("killed")),
            "turn.completed",
            json!({"stop-reason": "cancelled", "turn": 2, "runtime-session-id": "r1", "stopped": "killed"}),
        ),
        (
            Draft::checkpoint_started(None, "pr-ready"),
            "sandbox.checkpoint.started",
            json!({"by": "system", "reason": "pr-ready"}),
        ),
        (
            Draft::checkpoint_ended(Some("ann"), "cancel", None),
            "sandbox.checkpoint.failed",
            json!({"error": "missing existing checkpoint snapshot", "by": "ann", "reason": "cancel"}),
        ),
        (
            Draft::checkpoint_ended(Some("ann"), "cancel", Some(snapshot)),
            "sandbox.checkpoint.succeeded",
            json!({"reused": true, "by": "ann", "reason": "cancel", "snapshot-id": "snap-1", "provider": "e2b"}),
        ),
        (Draft::snapshot_started("ann"), "sandbox.snapshot.started", json!({"by": "ann"})),
        (
            Draft::snapshot_succeeded("ann", snapshot),
            "sandbox.snapshot.succeeded",
            json!({"by": "ann", "snapshot-id": "snap-1", "provider": "e2b"}),
        ),
        (
            Draft::snapshot_failed("ann", None, "x"),
            "sandbox.snapshot.failed",
            json!({"by": "ann", "reason": null, "error": "x"}),
        ),
        (
            Draft::terminal_opened("ann", Some(100), Some(30)),
            "session.terminal.opened",
            json!({"by": "ann", "cols": 100, "rows": 30}),
        ),
        (Draft::terminal_opened("bob", None, None), "session.terminal.opened", json!({"by": "bob"})),
        (
            Draft::terminal_failed("ann", "x", None, Some(5)),
            "session.terminal.failed",
            json!({"by": "ann", "error": "x", "rows": 5}),
        ),
        (
            Draft::push_started("ann", "w", false),
            "git.push.started",
            json!({"by": "ann", "head-branch": "w", "force": false}),
        ),
        (
            Draft::push_succeeded("ann", "w", false),
            "git.push.succeeded",
            json!({"by": "ann", "head-branch": "w", "force": false, "remote": "origin"}),
        ),
        (
            Draft::push_failed("ann", "w", failure),
            "git.push.failed",
            json!({"by": "ann", "head-branch": "w", "reason": "api-error", "error": "x"}),
        ),
        (
            Draft::pr_started("ann", "w", "main"),
            "git.pr.started",
            json!({"by": "ann", "head-branch": "w", "base-branch": "main"}),
        ),
        (
            Draft::pr_succeeded("ann", "w", "main", made(false)),
            "git.pr.succeeded",
            json!({"by": "ann", "head-branch": "w", "base-branch": "main", "pr-url": "https://github.com/acme/pub/pull/3", "pr-id": 3}),
        ),
        (
            Draft::pr_succeeded("ann", "w", "main", made(true)),
            "git.pr.succeeded",
            json!({"by": "ann", "head-branch": "w", "base-branch": "main", "pr-url": "https://github.com/acme/pub/pull/3", "pr-id": 3, "existing": true}),
        ),
        (
            Draft::pr_failed("ann", "w", "main", failure),
            "git.pr.failed",
            json!({"by": "ann", "head-branch": "w", "base-branch": "main", "reason": "api-error", "error": "x", "github-status": 422}),
        ),
        (
            Draft::pr_manual("ann", "w", "main", "u"),
            "git.pr.manual",
            json!({"by": "ann", "head-branch": "w", "base-branch": "main", "manual-pr-url": "u", "reason": "api-failed"}),
        ),
    ] {
        assert_eq!((draft.kind.as_str(), &draft.data), (name, &data));
        assert_eq!(Kind::stored(name), draft.kind, "a stored name is read back");
    }
}

#[test]
fn attachments_are_named_when_there_are_some() {
    let draft = Draft::session_created("ann", &json!({}), &json!("claude"), &["https://x.test/a".to_owned()]);
    assert_eq!(draft.data["attachments"], json!(["https://x.test/a"]));
    assert_eq!(draft.data["agent"], "claude");
}

#[test]
fn names_of_runtimes_are_bounded() {
    let at = "n".repeat(MAX_NAME_BYTES);
    assert_eq!(Kind::of_runtime(Some(&json!(at))), Kind::Other(at.into()));
    assert_eq!(Kind::of_runtime(Some(&json!("n".repeat(MAX_NAME_BYTES + 1)))), Kind::AgentRuntime);
}

#[test]
fn time_grows_within_a_session() {
    assert_eq!(next_ts(5, None), 5);
    assert_eq!(next_ts(5, Some(4)), 5);
    assert_eq!(next_ts(5, Some(5)), 6);
    assert_eq!(next_ts(5, Some(9)), 10);
}

fn log() -> Vec<Event> {
    (1..=9_i64).map(|n| seal(Draft::new(Kind::AgentRuntime, json!(n)), Some(n.unsigned_abs()), n * 10)).collect()
}

/// The parameters of the scenario `events-query`, over nine stored events at the times 10, 20 … 90 and a live one at 85.
#[test]
fn pages_are_those_that_were_recorded() {
    let (stored, live) = (log(), [seal(Draft::new(Kind::ItemCompleted, json!("live")), None, 85)]);
    let all = || (1..=9).map(Value::from).chain([json!("live")]).collect::<Vec<_>>();
    for (since, cursor, limit, expected) in [
        (None, None, Some("0"), vec![]),
        (None, None, Some("-1"), vec![]),
        (None, None, Some("1"), vec![json!(1)]),
        (None, None, Some("2"), vec![json!(1), json!(2)]),
        (None, None, Some("1000"), all()),
        (None, None, Some("abc"), all()),
        (None, None, Some("2abc"), vec![json!(1), json!(2)]),
        (None, None, Some(""), all()),
        (None, None, Some("1.9"), vec![json!(1)]),
        (Some("0"), None, None, all()),
        (Some("abc"), None, None, all()),
        (Some(""), None, None, all()),
        (Some("99999999999999"), None, None, vec![]),
        (Some("99999999999999999999999"), None, None, vec![]),
        (Some("85"), None, None, vec![json!(9)]),
        (Some("85x"), None, None, vec![json!(9)]),
        (Some("10"), None, Some("1"), vec![json!(2)]),
        (Some("85"), None, Some("0"), vec![]),
        (Some("-5"), None, None, all()),
        (None, Some("1"), Some("1"), vec![json!(2)]),
        (None, Some("8"), None, vec![json!(9), json!("live")]),
        (None, Some("9"), None, vec![json!("live")]),
        (Some("70"), Some("8"), None, vec![json!(9), json!("live")]),
    ] {
        let page = Query::read(since, cursor, limit).page(&stored, &live, None);
        let data: Vec<Value> = page.events.iter().map(|event| event.data.clone()).collect();
        assert_eq!(data, expected, "{since:?} {cursor:?} {limit:?}");
    }
}

#[test]
fn pages_are_bounded() {
    assert_eq!(Query::read(None, None, None).limit, 1000);
    assert_eq!(Query::read(None, None, Some("10000")).limit, MAX_LIMIT);
    assert_eq!(Query::read(None, None, Some("10001")).limit, MAX_LIMIT);
    assert_eq!(Query::read(None, None, Some("99999999999999999999")).limit, MAX_LIMIT);
}

#[test]
fn an_answer_says_that_older_events_are_gone() {
    let stored = log().split_off(4);
    let dropped = Some(Dropped { cursor: 4, ts: 40 });
    for (since, cursor, truncated) in [
        (None, None, true),
        (None, Some("3"), true),
        (None, Some("4"), false),
        (Some("39"), None, true),
        (Some("40"), None, false),
    ] {
        let page = Query::read(since, cursor, None).page(&stored, &[], dropped);
        assert_eq!(page.truncated, truncated, "{since:?} {cursor:?}");
        assert_eq!(serde_json::to_value(&page).unwrap().get("truncated"), truncated.then_some(&json!(true)));
    }
}

/// The scenario `stream-secrets`.
#[test]
fn credentials_of_agents_are_taken_out() {
    let data = json!({"type": "note", "agent": {"api-token": "in-event", "name": "n"}, "task": {"agent": {"auth-json": "x", "name": "m"}}});
    let event = seal(Draft::new(Kind::Other("note".into()), data), Some(1), 0);
    assert_eq!(event.data, json!({"type": "note", "agent": {"name": "n"}, "task": {"agent": {"name": "m"}}}));
    let mut agent = json!({"provider": "claude", "api-token": "sk", "auth-json": "{}", "managed-auth": {"auth-id": "x"}, "env": {"SECRET": "v"}});
    strip_agent(&mut agent);
    assert_eq!(agent, json!({"provider": "claude", "env": {"SECRET": "v"}}));
    let mut text = json!("claude");
    strip_agent(&mut text);
    assert_eq!(text, "claude");
}

#[test]
fn secrets_are_taken_out_of_texts() {
    let redactor = Redactor::new(["e2b_0123456789".to_owned(), "e2b_0123456789-longer".to_owned(), "short".to_owned()]);
    for (text, clean) in [
        ("token ghs_run_1 used", "token [redacted] used"),
        ("github_pat_11AB_cd", "[redacted]"),
        ("with lrt_0a_1b, said the runner", "with [redacted], said the runner"),
        ("(ghp_a)(gho_b)", "([redacted])([redacted])"),
        ("https://x-access-token:ghs_1@github.com/a/b", "https://x-access-token:[redacted]@github.com/a/b"),
        ("x-access-token:s3cret%20@github.com", "x-access-token:[redacted]@github.com"),
        ("authorization: Bearer abc.def-1=, then", "authorization: Bearer [redacted], then"),
        ("key e2b_0123456789-longer!", "key [redacted]!"),
        ("key e2b_0123456789!", "key [redacted]!"),
        ("aghs_0123456789012345678901", "a[redacted]"),
        ("é ghs_1 é", "é [redacted] é"),
        ("run eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl-_!", "run [redacted]!"),
        // In hexadecimal, in base64 behind other text, and in a URL.
        ("6532625f30313233343536373839", "[redacted]"),
        ("6532625F30313233343536373839", "[redacted]"),
        ("eDplMmJfMDEyMzQ1Njc4OQ==", "eDp[redacted]Q=="),
        ("x%65 e2b_0123456789%2Dlonger", "x%65 [redacted]%2Dlonger"),
    ] {
        assert_eq!(redactor.clean(text).as_deref(), Some(clean), "{text}");
    }
    for text in [
        "it weighs_more",
        "a short word",
        "ghs_",
        "ghs_…",
        "Bearer ",
        "x-access-token:",
        "plain",
        "eyJ",
        "eyJhbGciOiJ.eyJ.c2ln",
        "monkeyJhbGciOiJIUzI1.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl",
    ] {
        assert_eq!(redactor.clean(text), None, "{text}");
    }
}

#[test]
fn secrets_are_found_everywhere_in_an_event() {
    let data = json!({"a": [{"b": "ghs_1"}], "ghp_2": {"c": ["Bearer x"]}});
    let event = seal(Draft::new(Kind::AgentRuntime, data), Some(1), 0);
    assert_eq!(event.data, json!({"a": [{"b": REDACTED}], REDACTED: {"c": ["Bearer [redacted]"]}}));
}

#[test]
fn a_secret_is_not_cut_in_half() {
    let secret = "0123456789abcdef";
    let redactor = Redactor::new([secret.to_owned()]);
    let place = Place { cursor: Some(1), event_id: "e1", session_id: "s1", ts: 0 };
    for before in 400..440 {
        let data = json!({"text": format!("{}{secret}{}", "a".repeat(before), "b".repeat(600))});
        let event = Event::seal(Draft::new(Kind::AgentRuntime, data), &place, &redactor, 600);
        assert!(event.cut.is_some());
        assert!(!event.data.to_string().contains("0123"), "{before}");
    }
}

#[test]
fn an_event_at_the_limit_is_whole() {
    let of = |length: usize| seal(Draft::new(Kind::AgentRuntime, json!({"text": "x".repeat(length)})), Some(1), 0);
    let frame = json_bytes(&of(0));
    let at = of(DEFAULT_EVENT_BYTES - frame);
    assert_eq!((json_bytes(&at), at.cut), (DEFAULT_EVENT_BYTES, None));
    let beyond = of(DEFAULT_EVENT_BYTES - frame + 1);
    assert!(json_bytes(&beyond) <= DEFAULT_EVENT_BYTES);
    let wire = serde_json::to_value(&beyond).unwrap();
    assert_eq!(wire["truncated"], true);
    assert_eq!(wire["size"], DEFAULT_EVENT_BYTES + 1);
}

#[test]
fn the_longest_strings_are_cut_first() {
    let data = json!({"kind": "tool_call", "long": "a".repeat(300_000), "longer": "b".repeat(400_000), "fair": "c".repeat(1000)});
    let event = seal(Draft::new(Kind::AgentRuntime, data), Some(1), 0);
    let length = |key: &str| event.data[key].as_str().unwrap().len();
    assert_eq!((length("kind"), length("fair")), (9, 1000));
    assert_eq!(length("long"), length("longer"));
    let bytes = json_bytes(&event);
    assert!((DEFAULT_EVENT_BYTES - 8..=DEFAULT_EVENT_BYTES).contains(&bytes), "{bytes}");
}

#[test]
fn what_has_no_long_strings_becomes_a_preview() {
    let event = seal(Draft::new(Kind::AgentRuntime, json!(vec!["short \" text"; 50_000])), Some(1), 0);
    let preview = event.data["preview"].as_str().unwrap();
    assert_eq!(preview.len(), PREVIEW_BYTES);
    assert!(preview.starts_with(r#"["short \" text","short"#));
    assert!(json_bytes(&event) <= DEFAULT_EVENT_BYTES);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,600}".prop_map(Value::from),
        "[\u{0}-\u{1f}\"\\\\é😀]{0,600}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_event_passes_its_limit(data in any_json(), max in 300_usize..4000) {
        let place = Place { cursor: Some(1), event_id: "e1", session_id: "s1", ts: 0 };
        let whole = json_bytes(&data);
        let event = Event::seal(Draft::new(Kind::AgentRuntime, data.clone()), &place, &Redactor::default(), max);
        prop_assert!(json_bytes(&event) <= max);
        if whole + 200 < max {
            prop_assert_eq!(event.data, data);
        }
    }

    #[test]
    fn redacting_any_text_ends_and_stays_redacted(text in "(ghs_|Bearer |x-access-token:|@|a|é| |/){0,30}") {
        let redactor = Redactor::default();
        if let Some(clean) = redactor.clean(&text) {
            prop_assert!(redactor.clean(&clean).is_none_or(|again| again == clean), "{}", clean);
        }
    }
}

#[test]
fn the_last_few_secrets_that_were_made_on_the_way_are_looked_for() {
    let mut redactor = Redactor::new(["given-0123456789".to_owned()]);
    for number in 0..20 {
        redactor.learn(&format!("learned-{number:04}"));
        redactor.learn(&format!("learned-{number:04}"));
    }
    let redactor = Redactor::new(["other-0123456789".to_owned()]).with_learned(&redactor);
    for (text, is_found) in [
        ("learned-0019", true),
        ("learned-0004", true),
        ("learned-0003", false),
        ("other-0123456789", true),
        ("given-0123456789", false),
        ("6c6561726e65642d30303139", true),
    ] {
        assert_eq!(redactor.clean(text).is_some(), is_found, "{text}");
    }
}
