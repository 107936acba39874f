//! The body of a shape's answer (pg-sync.md 2.8, 4.10).

use std::collections::BTreeMap;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::change::{Operation, Position, Received};
use crate::js;
use crate::snapshot::transaction;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// How deeply a message may be nested.
const MAX_DEPTH: usize = 64;
/// The longest key that is kept, in bytes: longer ones than an index of Postgres takes do not occur.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is no JSON, or was cut off.
    #[error("the body is not JSON")]
    NotJson,
    /// It is JSON, but no list of messages.
    #[error("the body is no list of messages")]
    NotMessages,
    /// It is nested too deeply.
    #[error("the body is nested too deeply")]
    TooDeep,
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Messages {
    /// Changes, in order.
    pub changes: Vec<Received>,
    /// Nothing more is there.
    pub is_up_to_date: bool,
    /// The log was replaced.
    pub must_refetch: bool,
    /// Messages without a key, or with an operation or control that nobody knows. They are passed over.
    pub odd: u64,
}

/// Reads a whole body, before anything of it is believed. Its length bounds the work.
pub fn messages(body: &[u8]) -> Result<Messages, DecodeError> {
    let items: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(items) => items,
        Err(error) if error.is_data() => return Err(DecodeError::NotMessages),
        Err(_) => return Err(DecodeError::NotJson),
    };
    let mut messages = Messages::default();
    for item in items {
        let item = exact(item, MAX_DEPTH)?;
        let headers = item.get("headers").and_then(Json::as_object).ok_or(DecodeError::NotMessages)?;
        match headers.get("control").map(Json::as_str) {
            Some(Some("up-to-date")) => messages.is_up_to_date = true,
            Some(Some("must-refetch")) => messages.must_refetch = true,
            Some(Some("snapshot-end")) => {}
            Some(_) => messages.odd += 1,
            None => match change(&item) {
                Some(change) => messages.changes.push(change),
                None => messages.odd += 1,
            },
        }
    }
    Ok(messages)
}

/// The change that the text of one message tells, if it tells one.
pub(crate) fn one(item: &RawValue) -> Result<Option<Received>, DecodeError> {
    Ok(change(&exact(item, MAX_DEPTH)?))
}

/// The change that a message tells; `None` without a key or with an operation that nobody knows.
pub fn change(message: &Json) -> Option<Received> {
    let headers = message.get("headers")?;
    let operation = match headers.get("operation")?.as_str()? {
        "insert" => Operation::Insert,
        "update" => Operation::Update,
        "delete" => Operation::Delete,
        _ => return None,
    };
    let number = |name: &str| match headers.get(name)? {
        Json::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    let position = number("lsn").zip(number("op_position")).map(|(tx, op)| Position { tx, op });
    Some(Received {
        key: key(message).filter(|key| key.len() <= MAX_KEY_BYTES)?,
        operation,
        value: message
            .get("value")
            .filter(|value| value.is_object())
            .cloned()
            .unwrap_or_else(|| Json::Object(<_>::default())),
        old_value: message.get("old_value").filter(|value| value.is_object()).cloned(),
        position,
        transactions: transactions(headers.get("txids")),
        is_synthetic: false,
    })
}

/// The transactions that a change is of; none when the header is another thing than a list of numbers.
fn transactions(ids: Option<&Json>) -> Vec<u32> {
    let ids = ids.and_then(Json::as_array).into_iter().flatten();
    ids.map(transaction).collect::<Option<_>>().unwrap_or_default()
}

/// The key of a message: its own, else the first of the places where the reference looks for one.
fn key(message: &Json) -> Option<String> {
    let own = message.get("key").or_else(|| message.get("headers")?.get("key")).and_then(Json::as_str);
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return Some(own.to_owned());
    }
    let places = [
        ("headers", "key"),
        ("headers", "rowKey"),
        ("value", "id"),
        ("value", "key"),
        ("old_value", "id"),
        ("old_value", "key"),
    ];
    let found = places.iter().find_map(|(part, name)| message.get(part)?.get(name).filter(|found| !found.is_null()))?;
    let mut text = String::new();
    js::write_sorted(found, &mut text);
    Some(text)
}

/// The value as it was sent: integers that a float cannot hold become texts of their digits, as do decimals.
fn exact(raw: &RawValue, depth: usize) -> Result<Json, DecodeError> {
    const SAFE: i64 = (1 << 53) - 1;
    let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| DecodeError::NotJson)?;
            let exact = |(name, value): (String, &RawValue)| Ok((name, exact(value, depth)?));
            members.into_iter().map(exact).collect::<Result<_, _>>().map(Json::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| DecodeError::NotJson)?;
            items.into_iter().map(|item| exact(item, depth)).collect::<Result<_, _>>().map(Json::Array)
        }
        Some(b'-' | b'0'..=b'9') => match text.parse::<i64>() {
            Ok(number) if (-SAFE..=SAFE).contains(&number) => Ok(number.into()),
            _ => Ok(text.into()),
        },
        _ => serde_json::from_str(text).map_err(|_| DecodeError::NotJson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Messages, DecodeError> {
        messages(text.as_bytes())
    }

    fn one(text: &str) -> Received {
        let mut messages = read(&format!("[{text}]")).unwrap();
        assert_eq!((messages.changes.len(), messages.odd), (1, 0), "{text}");
        messages.changes.remove(0)
    }

    /// Fact 12 of pg-sync.md 3: the message is taken whole, with its key or one of those that stand in for it.
    #[test]
    fn keys_are_found_where_the_reference_finds_them() {
        for (message, expected) in [
            (r#"{"key":"k","headers":{"operation":"insert","key":"h"},"value":{"id":"v"}}"#, "k"),
            (r#"{"headers":{"operation":"insert","key":"h"},"value":{"id":"v"}}"#, "h"),
            (r#"{"headers":{"operation":"insert","key":{"b":1,"a":2}},"value":{}}"#, r#"{"a":2,"b":1}"#),
            (r#"{"headers":{"operation":"insert","rowKey":7},"value":{"id":"v"}}"#, "7"),
            (r#"{"headers":{"operation":"insert"},"value":{"id":"v","key":"w"}}"#, "\"v\""),
            (r#"{"headers":{"operation":"insert"},"value":{"key":"w"}}"#, "\"w\""),
            (r#"{"headers":{"operation":"delete"},"old_value":{"id":"o","key":"p"}}"#, "\"o\""),
            (r#"{"headers":{"operation":"delete"},"old_value":{"key":"p"}}"#, "\"p\""),
        ] {
            assert_eq!(one(message).key, expected, "{message}");
        }
        for message in [
            r#"{"headers":{"operation":"insert"},"value":{"other":"v"}}"#,
            r#"{"key":"k","headers":{"operation":"merge"}}"#,
            r#"{"key":"k","headers":{}}"#,
        ] {
            let messages = read(&format!("[{message}]")).unwrap();
            assert_eq!((messages.changes.len(), messages.odd), (0, 1), "{message}");
        }
    }

    /// Fact 13 of pg-sync.md 3.
    #[test]
    fn large_integers_become_texts() {
        let change = one(r#"{"key":"k","headers":{"operation":"insert","lsn":"18446744073709551615","op_position":2},
            "value":{"a":9007199254740991,"b":9007199254740992,"c":-9007199254740992,"d":123456789012345678901234567890,
            "e":1.10,"f":1e400,"g":[12345678901234567890],"h":null,"i":"9007199254740993","j":true}}"#);
        assert_eq!(change.position, Some(Position { tx: u64::MAX, op: 2 }));
        let expected = json!({"a": 9_007_199_254_740_991_i64, "b": "9007199254740992", "c": "-9007199254740992",
            "d": "123456789012345678901234567890", "e": "1.10", "f": "1e400", "g": ["12345678901234567890"], "h": null,
            "i": "9007199254740993", "j": true});
        assert_eq!(change.value, expected);
    }

    #[test]
    fn controls() {
        let messages = read(
            r#"[{"headers":{"control":"snapshot-end","xmin":"1"}},{"headers":{"control":"new-one"}},
            {"headers":{"control":"up-to-date","global_last_seen_lsn":"5"}}]"#,
        );
        let expected = Messages { is_up_to_date: true, odd: 1, ..Messages::default() };
        assert_eq!(messages, Ok(expected));
        assert!(read(r#"[{"headers":{"control":"must-refetch"}}]"#).unwrap().must_refetch);
        assert_eq!(read("[]"), Ok(Messages::default()));
    }

    #[test]
    fn hostile_bodies() {
        for (body, expected) in [
            ("", DecodeError::NotJson),
            ("[{\"key\":\"a\",", DecodeError::NotJson),
            ("[] x", DecodeError::NotJson),
            ("{}", DecodeError::NotMessages),
            ("null", DecodeError::NotMessages),
            ("[1]", DecodeError::NotMessages),
            ("[{}]", DecodeError::NotMessages),
            ("[{\"headers\":[]}]", DecodeError::NotMessages),
        ] {
            assert_eq!(read(body), Err(expected), "{body}");
        }
        let nested = format!("[{{\"headers\":{}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read(&nested), Err(DecodeError::TooDeep | DecodeError::NotJson)));
        assert_eq!(messages(b"[\"\xff\"]"), Err(DecodeError::NotJson));
    }
}
