//! The JSON of every answer: exactly these keys, in this order (sync.md 4, 5, 7.3, 10).

use protocol::bodies::Body;
use protocol::bodies::graphs::{Graph, GraphCreated, GraphDeleted, GraphList};
use protocol::bodies::keys::{AccessGranted, GraphKey, PublicKey, SetGraphKey, UserKeys};
use protocol::bodies::members::{Member, MemberList, Role};
use protocol::bodies::snapshot::{SnapshotDescriptor, SnapshotUploaded};
use protocol::presence::online_users;
use protocol::pull::{LoggedTx, PullWriter};
use protocol::server::MessageError;
use protocol::{
    ErrorBody, Holder, InvalidRequest, PresenceUser, Reject, RejectReason, ResetReason, ServerMessage, limits,
};
use uuid::Uuid;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn alice() -> PresenceUser {
    let mut user = PresenceUser::new("u\"1");
    user.email = Some("a@b".into());
    user.username = Some("alice".into());
    user.name = Some("Alice A".into());
    user.set_editing_block(Some("b1"));
    user
}

#[test]
fn messages() {
    let checksum = Some("00000000000000ff");
    let (alice, bob) = (alice(), PresenceUser::new("bob"));
    let cases = [
        (ServerMessage::Hello { t: 4, checksum }, r#"{"type":"hello","t":4,"checksum":"00000000000000ff"}"#),
        (ServerMessage::Hello { t: 0, checksum: None }, r#"{"type":"hello","t":0}"#),
        (
            ServerMessage::OnlineUsers(&[&alice, &bob]),
            r#"{"type":"online-users","online-users":[{"user-id":"u\"1","email":"a@b","username":"alice","name":"Alice A","editing-block-uuid":"b1"},{"user-id":"bob"}]}"#,
        ),
        (ServerMessage::OnlineUsers(&[]), r#"{"type":"online-users","online-users":[]}"#),
        (
            ServerMessage::Presence { user_id: "u", editing_block_uuid: Some(" ") },
            r#"{"type":"presence","editing-block-uuid":" ","user-id":"u"}"#,
        ),
        (
            ServerMessage::Presence { user_id: "u", editing_block_uuid: None },
            r#"{"type":"presence","editing-block-uuid":null,"user-id":"u"}"#,
        ),
        (ServerMessage::PullOk { t: 0, txs: &[], checksum: None }, r#"{"type":"pull/ok","t":0,"txs":[]}"#),
        (
            ServerMessage::PullOk {
                t: 2,
                txs: &[
                    LoggedTx { t: 1, tx: r#"[["~:a"]]"#, outliner_op: Some("fix") },
                    LoggedTx { t: 2, tx: "[]", outliner_op: None },
                ],
                checksum,
            },
            r#"{"type":"pull/ok","t":2,"txs":[{"t":1,"tx":"[[\"~:a\"]]","outliner-op":"fix"},{"t":2,"tx":"[]","outliner-op":null}],"checksum":"00000000000000ff"}"#,
        ),
        (ServerMessage::TxBatchOk { t: 3, checksum }, r#"{"type":"tx/batch/ok","t":3,"checksum":"00000000000000ff"}"#),
        (ServerMessage::Changed { t: 9 }, r#"{"type":"changed","t":9}"#),
        (ServerMessage::Pong, r#"{"type":"pong"}"#),
        (
            ServerMessage::Error(MessageError::Invalid(InvalidRequest::Malformed)),
            r#"{"type":"error","message":"invalid request"}"#,
        ),
        (
            ServerMessage::Error(MessageError::Invalid(InvalidRequest::Since)),
            r#"{"type":"error","message":"invalid since"}"#,
        ),
        (
            ServerMessage::Reset(ResetReason::CursorExpired),
            r#"{"type":"reset","data":"[\"^ \",\"~:reason\",\"cursor-expired\",\"~:snapshot-required\",true]"}"#,
        ),
        (ServerMessage::Error(MessageError::NotReady), r#"{"type":"error","message":"graph not ready"}"#),
        (ServerMessage::Error(MessageError::Server), r#"{"type":"error","message":"server error"}"#),
    ];
    for (message, json) in cases {
        assert_eq!(message.to_json(), json);
    }
}

#[test]
fn rejects() {
    let json = |reject: &Reject| ServerMessage::TxReject(reject).to_json();
    assert_eq!(json(&Reject::new(RejectReason::Stale, Some(3))), r#"{"type":"tx/reject","reason":"stale","t":3}"#);
    for (reason, text) in [
        (RejectReason::EmptyTxData, "empty tx data"),
        (RejectReason::InvalidTx, "invalid tx"),
        (RejectReason::InvalidTBefore, "invalid t-before"),
        (RejectReason::SnapshotUploadInProgress, "snapshot upload in progress"),
    ] {
        assert_eq!(json(&Reject::new(reason, None)), format!(r#"{{"type":"tx/reject","reason":"{text}"}}"#));
    }
    let failed = Reject {
        error_detail: Some("a\nb".into()),
        success_tx_ids: vec![id(1), id(2)],
        failed_tx_id: Some(id(0xabc)),
        missing_block_uuids: vec![id(4).to_string()],
        checksum: Some("0f".into()),
        ..Reject::new(RejectReason::DbTransactFailed, Some(3))
    };
    assert_eq!(
        json(&failed),
        concat!(
            r#"{"type":"tx/reject","reason":"db transact failed","error-detail":"a\nb","t":3,"#,
            r#""success-tx-ids":["00000000-0000-0000-0000-000000000001","00000000-0000-0000-0000-000000000002"],"#,
            r#""failed-tx-id":"00000000-0000-0000-0000-000000000abc","#,
            r#""missing-block-uuids":["00000000-0000-0000-0000-000000000004"],"checksum":"0f"}"#
        )
    );
}

#[test]
fn a_pull_can_be_sent_in_pieces() {
    let rows = [
        LoggedTx { t: 1, tx: "[\"^ \"]", outliner_op: Some("a/b") },
        LoggedTx { t: 2, tx: "\u{1}", outliner_op: None },
    ];
    let (mut buffer, mut sent) = (String::new(), String::new());
    let mut flush = |buffer: &mut String| {
        sent.push_str(buffer);
        buffer.clear();
    };
    let mut writer = PullWriter::begin(&mut buffer, 2);
    for row in &rows {
        flush(&mut buffer);
        writer.row(&mut buffer, row);
    }
    flush(&mut buffer);
    writer.end(&mut buffer, Some("cc"));
    flush(&mut buffer);
    assert_eq!(sent, ServerMessage::PullOk { t: 2, txs: &rows, checksum: Some("cc") }.to_json());
    assert_eq!(
        sent,
        r#"{"type":"pull/ok","t":2,"txs":[{"t":1,"tx":"[\"^ \"]","outliner-op":"b"},{"t":2,"tx":"\u0001","outliner-op":null}],"checksum":"cc"}"#
    );
}

#[test]
fn index_answers() {
    let graph = Graph {
        graph_id: "g".into(),
        graph_name: "n".into(),
        schema_version: None,
        graph_e2ee: true,
        graph_ready_for_use: false,
        role: Some(Role::Manager),
        invited_by: None,
        created_at: 1,
        updated_at: 2,
    };
    assert_eq!(
        GraphList { graphs: vec![graph.clone(), Graph { role: None, ..graph }], user_rsa_keys_exist: false }.to_json(),
        concat!(
            r#"{"graphs":[{"graph-id":"g","graph-name":"n","schema-version":null,"graph-e2ee?":true,"graph-ready-for-use?":false,"role":"manager","invited-by":null,"created-at":1,"updated-at":2},"#,
            r#"{"graph-id":"g","graph-name":"n","schema-version":null,"graph-e2ee?":true,"graph-ready-for-use?":false,"role":null,"invited-by":null,"created-at":1,"updated-at":2}],"user-rsa-keys-exists?":false}"#
        )
    );
    assert_eq!(
        GraphCreated { graph_id: "g".into(), graph_e2ee: false, graph_ready_for_use: true }.to_json(),
        r#"{"graph-id":"g","graph-e2ee?":false,"graph-ready-for-use?":true}"#
    );
    assert_eq!(GraphDeleted::new("g").to_json(), r#"{"graph-id":"g","deleted":true}"#);
    let member = Member {
        user_id: "u".into(),
        graph_id: "g".into(),
        role: Role::Member,
        invited_by: Some("m".into()),
        created_at: 5,
        email: None,
        username: Some("n".into()),
    };
    assert_eq!(
        MemberList { members: vec![member] }.to_json(),
        r#"{"members":[{"user-id":"u","graph-id":"g","role":"member","invited-by":"m","created-at":5,"email":null,"username":"n"}]}"#
    );
}

#[test]
fn key_answers() {
    let keys = UserKeys { public_key: "p".into(), encrypted_private_key: "s".into() };
    assert_eq!(keys.to_json(), r#"{"public-key":"p","encrypted-private-key":"s"}"#);
    assert_eq!(PublicKey { public_key: "p".into() }.to_json(), r#"{"public-key":"p"}"#);
    assert_eq!(GraphKey { encrypted_aes_key: None }.to_json(), r#"{"encrypted-aes-key":null}"#);
    assert_eq!(SetGraphKey { encrypted_aes_key: "k".into() }.to_json(), r#"{"encrypted-aes-key":"k"}"#);
    assert_eq!(AccessGranted::new(Vec::new()).to_json(), r#"{"ok":true}"#);
    assert_eq!(AccessGranted::new(vec!["e".into()]).to_json(), r#"{"ok":true,"missing-users":["e"]}"#);
}

#[test]
fn snapshot_answers() {
    assert_eq!(
        SnapshotDescriptor::new("https://h:1", "g", "65.33", 7, 418).to_json(),
        concat!(
            r#"{"ok":true,"key":"stream/g.snapshot","url":"https://h:1/sync/g/snapshot/stream","#,
            r#""schema-version":"65.33","t":7,"row-count":418}"#
        )
    );
    assert_eq!(SnapshotUploaded::new(418).to_json(), r#"{"ok":true,"count":418}"#);
}

#[test]
fn errors() {
    assert_eq!(ErrorBody::new("not found").to_json(), r#"{"error":"not found"}"#);
    let body = ErrorBody { debug_id: Some("c0".into()), ..ErrorBody::new("server error") };
    assert_eq!(body.to_json(), r#"{"error":"server error","debug-id":"c0"}"#);
}

#[test]
fn attachments_survive_in_both_forms() {
    let json = Holder::User(alice()).to_json();
    assert_eq!(
        json,
        r#"{"presence/user":{"user-id":"u\"1","email":"a@b","username":"alice","name":"Alice A","editing-block-uuid":"b1"}}"#
    );
    let read = |text: &str| serde_json::from_str::<Holder>(text).ok();
    assert_eq!(read(&json), Some(Holder::User(alice())));
    assert_eq!(read(r#"{"user-id":"u","name":null,"other":1}"#), Some(Holder::User(PresenceUser::new("u"))));
    assert_eq!(Holder::Operator.to_json(), r#"{"operator":true}"#);
    assert_eq!(read(r#"{"operator":true}"#), Some(Holder::Operator));
    for text in [
        "{}",
        "null",
        "5",
        "[]",
        "true",
        r#"{"presence/user":null}"#,
        r#"{"presence/user":{"user-id":5}}"#,
        r#"{"operator":false}"#,
        r#"{"operator":1}"#,
        r#"{"operator":null}"#,
    ] {
        assert_eq!(read(text), None, "a socket of nobody: {text}");
    }
}

/// The platform writes a string that has any character beyond Latin-1 as UTF-16; a hundred bytes pass for a key and what
/// stands around a value.
fn stored_bytes(user: &PresenceUser) -> usize {
    let texts = [&user.email, &user.username, &user.name, &user.editing_block_uuid].into_iter().flatten();
    texts.chain([&user.user_id]).map(|text| 100 + 2 * text.encode_utf16().count()).sum()
}

#[test]
fn every_user_fits_a_socket_whatever_the_token_says() {
    for character in ["x", "é", "日", "😀", "\0"] {
        let mut user = PresenceUser::new(character.repeat(limits::ID_CHARS));
        user.email = Some(character.repeat(limits::EMAIL_CHARS));
        user.username = Some(character.repeat(9_000));
        user.name = Some(character.repeat(9_000));
        user.shorten();
        assert_eq!(user.name.as_deref(), Some(&*character.repeat(limits::NAME_CHARS)));
        user.set_editing_block(Some(&"x".repeat(limits::EDITING_BLOCK_BYTES)));
        assert!(stored_bytes(&user) <= limits::ATTACHMENT_BYTES, "{character:?}");
    }
    let mut user = PresenceUser::new("u");
    user.email = Some(format!("victim@example.org{}", "x".repeat(limits::EMAIL_CHARS)));
    user.shorten();
    assert_eq!(user.email, None, "never another address");
}

#[test]
fn two_equal_tabs_are_one_online_user() {
    let (alice, bob, mut tab) = (alice(), PresenceUser::new("bob"), alice());
    assert_eq!(online_users([&alice, &bob, &tab, &bob]), [&alice, &bob]);
    assert!(tab.set_editing_block(Some(" \t")));
    assert_eq!(tab.editing_block_uuid, None);
    assert!(!tab.set_editing_block(None));
    assert_eq!(online_users([&alice, &bob, &tab]), [&alice, &bob, &tab]);
}

#[test]
fn changes_are_one_text_in_json() {
    use protocol::changes::ChangesWriter;
    let (mut out, mut sent) = (String::new(), String::new());
    let writer = ChangesWriter::begin(&mut out);
    for part in [r#"["^ ","~:a","#, "\"\\\\ \\n\u{1}é😀", "\"", "]"] {
        writer.data(&mut out, part);
        sent.push_str(&std::mem::take(&mut out));
    }
    writer.end(&mut out);
    sent.push_str(&out);
    let message: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(message["type"], "graph-changes");
    assert_eq!(message["data"], "[\"^ \",\"~:a\",\"\\\\ \\n\u{1}é😀\"]");
}
