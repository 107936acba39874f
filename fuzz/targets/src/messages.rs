//! JSON of the protocol: messages of sockets and bodies of requests. A second, simpler parser over a JSON tree checks
//! each result.

use std::borrow::Cow;

use protocol::bodies::graphs::CreateGraph;
use protocol::bodies::keys::{GrantAccess, SetGraphKey, UserKeys};
use protocol::bodies::members::{AddMember, ChangeRole, MemberTarget};
use protocol::{BodyError, ClientMessage, TxBatch, TxEntry, limits};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::Trace;

/// The value has a type that is not allowed in its place.
#[derive(Debug)]
struct Wrong;

/// Pieces of messages.
pub(crate) const DICTIONARY: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "false",
    "\"type\":\"hello\"",
    "\"type\":\"ping\"",
    "\"type\":\"pull\"",
    "\"type\":\"entity/pull\"",
    "\"type\":\"presence\"",
    "\"type\":\"tx/batch\"",
    "\"client\":\"c\"",
    "\"since\":",
    "\"editing-block-uuid\":",
    "\"t-before\":",
    "\"txs\":[",
    "\"tx\":\"[]\"",
    "\"tx-id\":\"66b8d8f0-0000-4000-8000-000000000001\"",
    "\"outliner-op\":\"save-block\"",
    "\"outliner-op\":\"a/b/c\"",
    "\"client-revision\":\"r\"",
    "\"graph-name\":\"g\"",
    "\"schema-version\":\"65\"",
    "\"graph-e2ee?\":",
    "\"graph-ready-for-use?\":",
    "\"user-id\":\"u\"",
    "\"email\":\"e\"",
    "\"role\":\"member\"",
    "\"role\":\"manager\"",
    "\"public-key\":\"k\"",
    "\"encrypted-private-key\":\"k\"",
    "\"reset-private-key\":",
    "\"encrypted-aes-key\":\"k\"",
    "\"target-user-email+encrypted-aes-key-coll\":[",
    "1.0",
    "1.5",
    "-1",
    "1e21",
    "1e400",
    "9007199254740993",
    "\\u0041",
    "\\ud800",
];

/// Every reader accepts exactly what the schema allows, and reads the same fields as the tree has.
pub fn protocol(data: &[u8]) -> Trace {
    let text = protocol::body_text(data);
    // The tree cannot hold lone surrogates, great depth and huge numbers: there is nothing to compare with then.
    let Ok(tree) = serde_json::from_str::<Json>(&text) else {
        let _ = (ClientMessage::parse(&text).is_ok(), TxBatch::parse(&text).is_ok(), CreateGraph::parse(&text).is_ok());
        return Trace::default();
    };
    let message = ClientMessage::parse(&text).ok();
    assert_eq!(message, expected_message(&tree), "message");
    let trace = Trace::default().step(match &message {
        None => 0,
        Some(ClientMessage::Hello { .. }) => 1,
        Some(ClientMessage::Ping) => 2,
        Some(ClientMessage::Presence { .. }) => 3,
        Some(ClientMessage::Pull { .. }) => 4,
        Some(ClientMessage::TxBatch(_)) => 5,
        Some(ClientMessage::EntityPull { .. }) => 6,
    });
    let batch = body(&TxBatch::parse(&text), &tree, expected_batch(&tree));
    let bodies = [
        body(&CreateGraph::parse(&text), &tree, expected_graph(&tree)),
        body(&AddMember::parse(&text), &tree, expected_member(&tree)),
        body(&ChangeRole::parse(&text).map(|body| body.role), &tree, field(&tree, "role").as_str().and_then(role)),
        body(&UserKeys::parse(&text), &tree, expected_keys(&tree)),
        body(
            &SetGraphKey::parse(&text),
            &tree,
            required(field(&tree, "encrypted-aes-key")).map(|key| SetGraphKey { encrypted_aes_key: key }),
        ),
        body(&GrantAccess::parse(&text).map(|body| body.grants.len()), &tree, expected_grants(&tree)),
    ];
    bodies.into_iter().fold(trace.step(u64::from(batch)), |trace, taken| trace.step(u64::from(taken)))
}

/// Compares a body that was read with what the tree says; gives whether it was accepted.
fn body<T: PartialEq + std::fmt::Debug>(read: &Result<T, BodyError>, tree: &Json, expected: Option<T>) -> bool {
    if tree.is_null() {
        assert_eq!(*read, Err(BodyError::Missing));
        return false;
    }
    let expected = expected.filter(|_| tree.is_object());
    assert!(expected.is_some() || matches!(read, Err(BodyError::Schema(_))), "{read:?}");
    assert_eq!(read.as_ref().ok(), expected.as_ref());
    read.is_ok()
}

fn required(value: &Json) -> Option<Cow<'_, str>> {
    value.as_str().map(Cow::Borrowed)
}

/// A field of an object; null when it is absent.
fn field<'t>(tree: &'t Json, key: &str) -> &'t Json {
    tree.get(key).unwrap_or(&Json::Null)
}

/// A field that may be absent, but not null.
fn optional<'t, T>(tree: &'t Json, key: &str, read: impl Fn(&'t Json) -> Option<T>) -> Result<Option<T>, Wrong> {
    tree.get(key).map(|value| read(value).ok_or(Wrong)).transpose()
}

/// A field that may be absent or null.
fn nullable<'t>(tree: &'t Json, key: &str) -> Result<Option<Cow<'t, str>>, Wrong> {
    tree.get(key).filter(|value| !value.is_null()).map(|value| required(value).ok_or(Wrong)).transpose()
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to ±2^53 first")]
fn integer(value: &Json) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e21)?;
    Some(number.clamp(-EXACT, EXACT) as i64)
}

fn expected_message(tree: &Json) -> Option<ClientMessage<'_>> {
    tree.as_object()?;
    match field(tree, "type").as_str()? {
        "hello" => Some(ClientMessage::Hello { client: required(field(tree, "client"))? }),
        "ping" => Some(ClientMessage::Ping),
        "presence" => {
            let editing_block_uuid = nullable(tree, "editing-block-uuid").ok()?;
            let short = editing_block_uuid.as_ref().is_none_or(|text| text.len() <= limits::EDITING_BLOCK_BYTES);
            short.then_some(ClientMessage::Presence { editing_block_uuid })
        }
        "pull" => {
            let since = optional(tree, "since", integer).ok()?.unwrap_or(0);
            (since >= 0).then_some(ClientMessage::Pull { since })
        }
        "entity/pull" => {
            let since = integer(tree.get("since")?)?;
            (since >= 0).then_some(ClientMessage::EntityPull { since })
        }
        "tx/batch" => expected_batch(tree).map(ClientMessage::TxBatch),
        _ => None,
    }
}

fn expected_batch(tree: &Json) -> Option<TxBatch<'_>> {
    let txs = match tree.get("txs")? {
        Json::String(text) if text.starts_with("[[") => {
            vec![TxEntry { tx: Cow::Borrowed(text), tx_id: None, outliner_op: None }]
        }
        list => list.as_array()?.iter().map(expected_entry).collect::<Option<_>>()?,
    };
    let t_before = integer(tree.get("t-before")?)?;
    let client_revision = optional(tree, "client-revision", required).ok()?;
    (txs.len() <= limits::BATCH_ENTRIES).then_some(TxBatch { t_before, txs, client_revision })
}

fn expected_entry(entry: &Json) -> Option<TxEntry<'_>> {
    entry.as_object()?;
    let uuid = |value: &Json| {
        let text = value.as_str().filter(|text| text.len() == 36)?;
        text.parse::<Uuid>().ok()
    };
    Some(TxEntry {
        tx: required(field(entry, "tx"))?,
        tx_id: optional(entry, "tx-id", uuid).ok()?,
        outliner_op: nullable(entry, "outliner-op").ok()?,
    })
}

fn expected_graph(tree: &Json) -> Option<CreateGraph<'_>> {
    Some(CreateGraph {
        graph_name: required(field(tree, "graph-name"))?,
        schema_version: nullable(tree, "schema-version").ok()?,
        graph_e2ee: optional(tree, "graph-e2ee?", Json::as_bool).ok()?.unwrap_or(true),
        graph_ready_for_use: optional(tree, "graph-ready-for-use?", Json::as_bool).ok()?.unwrap_or(true),
    })
}

fn role(text: &str) -> Option<protocol::bodies::members::Role> {
    protocol::bodies::members::Role::from_text(text)
}

fn expected_member(tree: &Json) -> Option<AddMember<'_>> {
    let role = optional(tree, "role", |value| role(value.as_str()?)).ok()?;
    let target = match required(field(tree, "user-id")) {
        Some(user) => MemberTarget::UserId(user),
        None => MemberTarget::Email(required(field(tree, "email"))?),
    };
    Some(AddMember { target, role: role.unwrap_or(protocol::bodies::members::Role::Member) })
}

fn expected_keys(tree: &Json) -> Option<UserKeys<'_>> {
    optional(tree, "reset-private-key", Json::as_bool).ok()?;
    Some(UserKeys {
        public_key: required(field(tree, "public-key"))?,
        encrypted_private_key: required(field(tree, "encrypted-private-key"))?,
    })
}

fn expected_grants(tree: &Json) -> Option<usize> {
    let grants = tree.get("target-user-email+encrypted-aes-key-coll")?.as_array()?;
    let valid = |grant: &Json| field(grant, "email").is_string() && field(grant, "encrypted-aes-key").is_string();
    grants.iter().all(|grant| grant.is_object() && valid(grant)).then_some(grants.len())
}
