//! What runners are answered (session-mailbox.md 7.2–7.6).

use serde_json::{Value, json};
use sessions::mailbox::answer;
use sessions::mailbox::desk::{
    BatchAnswer, FilesRefused, Given, Item, ItemKind, NotTaken, Refused, Renewed, Stop, Verdict, Verdicted,
};
use sessions::mailbox::runner::{AttachError, AuthError, RegisterError, Woken};

#[test]
fn refusals_have_the_statuses_and_texts_of_the_specification() {
    let batch = |stop| BatchAnswer { accepted_seq: 5, stored: 2, duplicates: 1, stop }.answer();
    let cases: [(answer::Answer, u16, Value); 22] = [
        (AuthError::Unknown.answer(), 401, json!({"error": "unauthorized"})),
        (AuthError::Superseded.answer(), 401, json!({"error": "runner token superseded"})),
        (AuthError::Revoked.answer(), 401, json!({"error": "runner revoked"})),
        (AttachError::Missing.answer(), 400, json!({"error": "missing attach id"})),
        (AttachError::Superseded.answer(), 409, json!({"error": "runner superseded"})),
        (AttachError::InstanceMismatch.answer(), 409, json!({"error": "instance mismatch"})),
        (AttachError::Protocol.answer(), 409, json!({"error": "protocol not supported", "protocols": [1]})),
        (RegisterError::InUse(7).answer(), 409, json!({"error": "runner id in use", "last-seen-at": 7})),
        (RegisterError::Revoked.answer(), 401, json!({"error": "runner revoked"})),
        (Woken::Ended.answer(9), 200, json!({"items": [], "server-time": 9, "poll-after-ms": 0})),
        (Woken::Superseded.answer(9), 409, json!({"error": "runner superseded"})),
        (Woken::Revoked.answer(9), 401, json!({"error": "runner revoked"})),
        (Refused::NotHeld.answer(), 404, json!({"error": "not found"})),
        (Refused::LeaseLost(3).answer(), 409, json!({"error": "lease lost", "lease": 3})),
        (Refused::MailboxUnknown.answer(), 409, json!({"error": "mailbox unknown"})),
        (batch(None), 200, json!({"accepted-seq": 5, "stored": 2, "duplicates": 1})),
        (
            batch(Some(Stop::Rejected(7, "too large"))),
            200,
            json!({"accepted-seq": 5, "stored": 2, "duplicates": 1, "rejected": {"seq": 7, "error": "too large"}}),
        ),
        (batch(Some(Stop::Conflict(3))), 409, json!({"error": "event conflict", "seq": 3})),
        (batch(Some(Stop::Gap)), 409, json!({"error": "sequence gap", "accepted-seq": 5})),
        (NotTaken::TurnRunning.answer(), 409, json!({"error": "turn is running"})),
        (FilesRefused::TooLarge.answer(), 413, json!({"error": "too large"})),
        (FilesRefused::Quota.answer(), 507, json!({"error": "quota"})),
    ];
    for ((status, body), expected, text) in cases {
        assert_eq!((status.as_u16(), body), (expected, text));
    }
}

#[test]
fn items_carry_the_token_of_their_run_only_when_given_out() {
    let item =
        |kind| Item { id: "i".into(), work_seq: 4, kind, created_at: 5, bytes: 2, given_at: Some(6), through: None };
    let prompt = Given { item: item(ItemKind::Prompt), lease: 2, expires_in_ms: Some(9), run: Some((7, 1)) };
    let body = json!({"run": 7, "attempt": 1, "run-token": "t", "run-token-expires-in-ms": 60, "content": []});
    assert_eq!(
        prompt.shown("s", r#"{"content":[]}"#, Some(("t", 60)), 0).unwrap(),
        json!({"item-id": "i", "session-id": "s", "work-seq": 4, "lease": 2, "kind": "prompt", "created-at": 5,
            "expires-in-ms": 9, "body": body})
    );
    let open = Given { item: item(ItemKind::Open), lease: 2, expires_in_ms: None, run: None };
    let shown = open.shown("s", "{}", Some(("t", 60)), 0).unwrap();
    assert_eq!((shown["body"].clone(), shown.get("expires-in-ms")), (json!({}), None), "no run, no token");
    let resumes = open.shown("s", r#"{"resume":{"run":3}}"#, Some(("t", 60)), 2).unwrap();
    assert_eq!((&resumes["body"]["run-token"], &resumes["body"]["conversation"]), (&json!("t"), &json!(2)));
    let interrupt = Given { item: item(ItemKind::Interrupt), lease: 2, expires_in_ms: None, run: None };
    assert_eq!(
        interrupt.shown("s", "{}", Some(("t", 60)), 2).unwrap()["body"],
        json!({}),
        "only what is for the agent"
    );
    assert_eq!(open.shown("s", "[]", None, 0), None);
    assert_eq!(open.shown("s", "", None, 0), None);
}

#[test]
fn sessions_in_answers() {
    let verdict =
        Verdicted { verdict: Verdict::Stale, lease: 2, accepted_seq: 3, work_seq: 4, generation: 5 }.shown("s");
    assert_eq!(
        verdict,
        json!({"session-id": "s", "verdict": "stale", "lease": 2, "accepted-seq": 3, "work-seq": 4, "generation": 5})
    );
    let held = |token_for| Renewed::Held { expires_in_ms: 60_000, token_for };
    let shown = json!({"session-id": "s", "state": "held", "expires-in-ms": 60_000});
    assert_eq!(held(None).shown("s", Some("t")), shown);
    let mut with_token = shown;
    with_token["run-token"] = json!("t");
    assert_eq!(held(Some((1, 1))).shown("s", Some("t")), with_token);
    assert_eq!(Renewed::Lost.shown("s", Some("t")), json!({"session-id": "s", "state": "lost"}));
    assert_eq!(answer::limits()["batch-events"], 500);
}
