//! What a graph that nobody uploaded begins with (sync.md 9.4, D-49): built-in classes, properties, pages and files.

use std::sync::LazyLock;

use datascript::Value;
use uuid::Uuid;

use super::{Error, Result};

/// One transaction of 390 map items over the static schema, as clients of schema version 65.33 make it for the config text
/// `{}`; its times are 0. Entity numbers follow from its order.
const ITEMS: &str = include_str!("initial_data.json");

static FIXED: LazyLock<Option<Vec<Value>>> =
    LazyLock::new(|| transit::read_str(ITEMS).ok().and_then(|items| items.as_seq().map(<[Value]>::to_vec)));

/// The transaction with the graph's own times and local uuid.
///
/// # Errors
///
/// Never: the text is a constant, and a test reads it.
pub fn initial_data(now_ms: i64, local_uuid: Uuid) -> Result<Vec<Value>> {
    let items = FIXED.as_ref().ok_or(Error::Item)?;
    Ok(items.iter().map(|item| personal(item, now_ms, local_uuid)).collect())
}

fn personal(item: &Value, now_ms: i64, local_uuid: Uuid) -> Value {
    let Some(pairs) = item.as_map() else { return item.clone() };
    let own = match item.get("db/ident").and_then(Value::as_keyword).map(datascript::Keyword::as_str) {
        Some("logseq.kv/graph-created-at") => Some(Value::Int(now_ms)),
        Some("logseq.kv/local-graph-uuid") => Some(Value::Uuid(local_uuid)),
        _ => None,
    };
    let value = |key: &Value, value: &Value| match key.as_keyword().map_or("", |key| key.as_str()) {
        "block/created-at" | "block/updated-at" => Value::Int(now_ms),
        "file/created-at" | "file/last-modified-at" => Value::Instant(now_ms),
        "kv/value" => own.clone().unwrap_or_else(|| value.clone()),
        _ => value.clone(),
    };
    Value::Map(pairs.iter().map(|(key, old)| (key.clone(), value(key, old))).collect())
}

/// `00000000-` and what is random: it names the copy that a device keeps, not the graph.
pub(crate) fn local_uuid(random: [u64; 2]) -> Uuid {
    let [high, low] = random;
    let versioned = (high & 0x0000_0000_ffff_0fff) | 0x4000;
    Uuid::from_u64_pair(versioned, (low >> 2) | (1 << 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_uuid_is_one_of_version_4() {
        for random in [[0, 0], [u64::MAX, u64::MAX], [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]] {
            let text = local_uuid(random).to_string();
            assert!(text.starts_with("00000000-") && text.get(14..15) == Some("4"), "{text}");
            assert!(matches!(text.get(19..20), Some("8" | "9" | "a" | "b")), "{text}");
        }
    }
}
