//! WebSocket messages: what is read, what is refused (sync.md 2.6, 7.2).

use protocol::{ClientMessage, InvalidRequest, TxBatch, TxEntry, limits};
use std::borrow::Cow;
use uuid::Uuid;

const MALFORMED: Result<ClientMessage<'static>, InvalidRequest> = Err(InvalidRequest::Malformed);

#[expect(clippy::panic, reason = "fails the test that calls it")]
fn batch(text: &str) -> TxBatch<'_> {
    match ClientMessage::parse(text) {
        Ok(ClientMessage::TxBatch(batch)) => batch,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn each_type_is_read() {
    let cases = [
        (r#"{"type":"hello","client":"logseq_db_x"}"#, ClientMessage::Hello { client: "logseq_db_x".into() }),
        (r#"{"client":"\u00e9","type":"hello"} "#, ClientMessage::Hello { client: "é".into() }),
        (r#"{"type":"hello","client":"c","extra":{"deep":[1]}}"#, ClientMessage::Hello { client: "c".into() }),
        (r#"{"type":"ping"}"#, ClientMessage::Ping),
        (r#"{"type":"presence"}"#, ClientMessage::Presence { editing_block_uuid: None }),
        (r#"{"type":"presence","editing-block-uuid":null}"#, ClientMessage::Presence { editing_block_uuid: None }),
        (
            r#"{"type":"presence","editing-block-uuid":"not-a-uuid"}"#,
            ClientMessage::Presence { editing_block_uuid: Some("not-a-uuid".into()) },
        ),
        (r#"{"type":"pull"}"#, ClientMessage::Pull { since: 0 }),
        (r#"{"type":"pull","since":7}"#, ClientMessage::Pull { since: 7 }),
        (r#"{"type":"pull","since":5.0}"#, ClientMessage::Pull { since: 5 }),
        (r#"{"type":"pull","since":1e3}"#, ClientMessage::Pull { since: 1000 }),
        (r#"{"type":"pull","since":-0}"#, ClientMessage::Pull { since: 0 }),
        (r#"{"type":"pull","since":9007199254740993}"#, ClientMessage::Pull { since: 1 << 53 }),
        (r#"{"type":"pull","since":100000000000000000000}"#, ClientMessage::Pull { since: 1 << 53 }),
        (r#"{"type":"entity/pull","since":0}"#, ClientMessage::EntityPull { since: 0 }),
        (r#"{"since":7.0,"type":"entity/pull","more":[]}"#, ClientMessage::EntityPull { since: 7 }),
        (r#"{"type":"entity/pull","since":9007199254740993}"#, ClientMessage::EntityPull { since: 1 << 53 }),
    ];
    for (text, expected) in cases {
        assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn everything_else_is_malformed() {
    let cases = [
        "",
        " ",
        "ping",
        "null",
        "[]",
        r#"[{"type":"ping"}]"#,
        r#""ping""#,
        "5",
        "true",
        r#"{"type":"ping""#,
        r#"{"type":"ping"}}"#,
        "{\"type\":\"ping\",}",
        "\u{feff}{\"type\":\"ping\"}",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":5}"#,
        r#"{"type":"nope"}"#,
        r#"{"type":"pong"}"#,
        r#"{"client":"x"}"#,
        r#"{"type":"hello"}"#,
        r#"{"type":"hello","client":5}"#,
        r#"{"type":"hello","client":null}"#,
        r#"{"type":"presence","editing-block-uuid":5}"#,
        r#"{"type":"pull","since":1.5}"#,
        r#"{"type":"pull","since":"1"}"#,
        r#"{"type":"pull","since":null}"#,
        r#"{"type":"pull","since":true}"#,
        r#"{"type":"pull","since":1e21}"#,
        r#"{"type":"pull","since":1e400}"#,
        r#"{"type":"entity/pull"}"#,
        r#"{"type":"entity/pull","since":null}"#,
        r#"{"type":"entity/pull","since":"1"}"#,
        r#"{"type":"entity/pull","since":1.5}"#,
        r#"{"type":"entity/pull","since":1e21}"#,
        r#"{"type":"tx/batch"}"#,
        r#"{"type":"tx/batch","t-before":4}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":{}}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":["x"]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":null}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[null]}"#,
        r#"{"type":"tx/batch","t-before":"4","txs":[]}"#,
        r#"{"type":"tx/batch","t-before":4.5,"txs":[]}"#,
        r#"{"type":"tx/batch","t-before":1e21,"txs":[]}"#,
        r#"{"type":"tx/batch","txs":[]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[],"client-revision":7}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[],"client-revision":null}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":5}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":null}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":"[]","tx-id":"not-a-uuid"}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":"[]","tx-id":null}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":"[]","tx-id":"14df7334c0fe44d9adfaea7137a78b94"}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":[{"tx":"[]","outliner-op":5}]}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":"x"}"#,
        r#"{"type":"tx/batch","t-before":4,"txs":""}"#,
    ];
    for text in cases {
        assert_eq!(ClientMessage::parse(text), MALFORMED, "{text}");
    }
}

#[test]
fn a_negative_since_has_an_error_of_its_own() {
    for text in
        [r#"{"type":"pull","since":-1}"#, r#"{"type":"pull","since":-1e20}"#, r#"{"type":"entity/pull","since":-1}"#]
    {
        assert_eq!(ClientMessage::parse(text), Err(InvalidRequest::Since), "{text}");
    }
    assert_eq!(InvalidRequest::Since.to_string(), "invalid since");
    assert_eq!(InvalidRequest::Malformed.to_string(), "invalid request");
}

#[test]
fn a_batch_keeps_its_entries_in_order() {
    let read = batch(
        r#"{"type":"tx/batch","t-before":3,"client-revision":"rev-1","txs":[
            {"tx":"[[\"~:db/add\",1]]","tx-id":"14DF7334-c0fe-44d9-adfa-ea7137a78b94","outliner-op":"save-block","x":1},
            {"tx":"[]","outliner-op":null},{"outliner-op":"other/fix","tx":""}]}"#,
    );
    let entry = |tx: &'static str, tx_id, op: Option<&'static str>| TxEntry {
        tx: tx.into(),
        tx_id,
        outliner_op: op.map(Cow::Borrowed),
    };
    let id = Uuid::parse_str("14df7334-c0fe-44d9-adfa-ea7137a78b94").ok();
    assert_eq!(
        read,
        TxBatch {
            t_before: 3,
            txs: vec![
                entry("[[\"~:db/add\",1]]", id, Some("save-block")),
                entry("[]", None, None),
                entry("", None, Some("other/fix")),
            ],
            client_revision: Some("rev-1".into()),
        }
    );
    assert_eq!(read.txs.iter().map(TxEntry::op_name).collect::<Vec<_>>(), [Some("save-block"), None, Some("fix")]);
}

#[test]
fn an_operation_is_known_by_its_name() {
    for (text, name) in
        [("fix", "fix"), ("a/b", "b"), ("/", "/"), ("", ""), ("/b", "b"), ("a/", ""), ("a/b/c", "a"), (":fix", ":fix")]
    {
        assert_eq!(protocol::tx::keyword_name(text), name, "{text}");
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let text = r#"{"type":"tx/batch","t-before":0,"txs":[{"tx":"[]","outliner-op":"fix"}]}"#;
    let read = batch(text);
    assert!(matches!(read.txs[0].tx, Cow::Borrowed(_)));
    assert!(matches!(read.txs[0].outliner_op, Some(Cow::Borrowed(_))));
}

#[test]
fn a_single_transit_text_is_a_batch_of_one() {
    let read = batch(r#"{"type":"tx/batch","t-before":0,"txs":"[[\"~:db/add\",1,\"~:a\",2]]"}"#);
    assert_eq!(read.txs, [TxEntry { tx: r#"[["~:db/add",1,"~:a",2]]"#.into(), tx_id: None, outliner_op: None }]);
}

#[test]
fn counters_out_of_range_keep_their_sense() {
    assert_eq!(batch(r#"{"type":"tx/batch","t-before":-5,"txs":[]}"#).t_before, -5);
    assert_eq!(batch(r#"{"type":"tx/batch","t-before":-100000000000000000000,"txs":[]}"#).t_before, -(1 << 53));
    assert_eq!(batch(r#"{"type":"tx/batch","t-before":18446744073709551615,"txs":[]}"#).t_before, 1 << 53);
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    assert_eq!(ClientMessage::parse(r#"{"type":5,"type":"ping"}"#), Ok(ClientMessage::Ping));
    assert_eq!(ClientMessage::parse(r#"{"type":"ping","type":5}"#), MALFORMED);
    let read = batch(r#"{"type":"tx/batch","t-before":"x","txs":5,"txs":[{"tx":1,"tx":"[]"}],"t-before":2}"#);
    assert_eq!((read.t_before, read.txs.len()), (2, 1));
}

#[test]
fn keys_may_be_escaped() {
    assert_eq!(ClientMessage::parse(r#"{"ty\u0070e":"ping"}"#), Ok(ClientMessage::Ping));
}

#[test]
fn the_number_of_entries_is_bounded() {
    let text = |n: usize| {
        let entries = vec![r#"{"tx":"[]"}"#; n].join(",");
        format!(r#"{{"type":"tx/batch","t-before":0,"txs":[{entries}]}}"#)
    };
    assert_eq!(batch(&text(limits::BATCH_ENTRIES)).txs.len(), limits::BATCH_ENTRIES);
    assert_eq!(ClientMessage::parse(&text(limits::BATCH_ENTRIES + 1)), MALFORMED);
}

#[test]
fn the_edited_block_is_bounded() {
    let text = |n: usize| format!(r#"{{"type":"presence","editing-block-uuid":"{}"}}"#, "x".repeat(n));
    assert!(ClientMessage::parse(&text(limits::EDITING_BLOCK_BYTES)).is_ok());
    assert_eq!(ClientMessage::parse(&text(limits::EDITING_BLOCK_BYTES + 1)), MALFORMED);
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    assert_eq!(ClientMessage::parse(&deep), MALFORMED);
    assert_eq!(ClientMessage::parse(&format!(r#"{{"type":"ping","extra":{deep}}}"#)), Ok(ClientMessage::Ping));
    assert_eq!(ClientMessage::parse(&format!(r#"{{"type":"hello","client":{deep}}}"#)), MALFORMED);
    assert_eq!(ClientMessage::parse(&"{\"a\":".repeat(1_000_000)), MALFORMED);
}

#[test]
fn a_lone_surrogate_is_refused_where_it_counts() {
    assert_eq!(ClientMessage::parse(r#"{"type":"hello","client":"\ud83d"}"#), MALFORMED);
    assert_eq!(ClientMessage::parse(r#"{"type":"ping","x":"\ud83d"}"#), Ok(ClientMessage::Ping));
}
