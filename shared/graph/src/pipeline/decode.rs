//! The items of an entry from its text (sync.md 11.4).

use protocol::limits::TRANSIT_DEPTH;
use transit::{ErrorKind, Limits, Value};

use super::failure::Failure;

/// Collections around a value in a row: those of a node, `{:keys [[e a v tx]]}`, are as many as those of the tail and more
/// than those of the log.
const ROW_DEPTH: usize = 3;

/// The items of an entry: anything in Transit that is a sequence, of values that every client can read.
pub(super) fn decode(tx: &str) -> Result<Vec<Value>, Failure> {
    let value = transit::read_with(tx, Limits::CLIENT).map_err(|error| match error.kind {
        ErrorKind::TooDeep => Failure::too_deep(),
        _ => Failure::new(format!("undecodable transaction: {error}")),
    })?;
    let items = match value {
        Value::Nil => Vec::new(),
        Value::Vector(items) | Value::List(items) | Value::Set(items) => items.to_vec(),
        // As a sequence a map is one of pairs; empty, it is an empty transaction.
        Value::Map(entries) => entries.iter().map(|(key, value)| Value::vector([key.clone(), value.clone()])).collect(),
        _ => return Err(Failure::new("transaction data is not a sequence")),
    };
    if items.iter().any(is_too_deep) { Err(Failure::too_deep()) } else { Ok(items) }
}

/// Whether a value inside an item would be written deeper than allowed. What is written is measured: it can be deeper than
/// what was read, as maps with collections among their keys are, or flatter.
fn is_too_deep(item: &Value) -> bool {
    let deep = |value: &Value| value.written_depth() + ROW_DEPTH > TRANSIT_DEPTH;
    match item {
        Value::Vector(parts) | Value::List(parts) | Value::Set(parts) => parts.iter().any(deep),
        Value::Map(entries) => entries.iter().any(|(key, value)| deep(key) || deep(value)),
        // A datom: its fields are those of the sequence within. The reader has bounded the depth of this.
        Value::Tagged(tagged) => is_too_deep(&tagged.rep),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_what_will_be_written() {
        // What encloses a value, and by how many levels it is deeper for that when it is written.
        for (open, close, levels) in [
            ("[", "]", 1),
            ("[1,[2],", "]", 1),
            ("[\"~#list\",[", "]]", 2),
            ("[\"~#set\",[", "]]", 2),
            ("{\"~#set\":[", "]}", 2),
            ("[\"^ \",\"~:a\",", "]", 1),
            ("{\"~:a\":", "}", 1),
            ("[\"~#cmap\",[[],", "]]", 2),
            ("[\"~#cmap\",[1,", "]]", 1),
            ("[\"~#cmap\",[", ",1]]", 2),
            ("[\"~#point\",", "]", 1),
            ("[\"~#point\",[\"^ \",\"~:a\",[\"~#set\",[", "]]]]", 4),
        ] {
            let most = TRANSIT_DEPTH - ROW_DEPTH;
            // One level is that of the innermost vector.
            let nested = |count: usize, rest: usize| {
                let inner = format!("{}{}", "[".repeat(rest), "]".repeat(rest));
                format!("{}{inner}{}", open.repeat(count), close.repeat(count))
            };
            let (count, rest) = ((most - 1) / levels, 1 + (most - 1) % levels);
            let tx = |value: String| format!("[[\"~:db/add\",1,\"~:kv/value\",{value}]]");
            assert_eq!(decode(&tx(nested(count, rest))).map(|items| items.len()), Ok(1), "{open}");
            assert_eq!(decode(&tx(nested(count, rest + 1))), Err(Failure::too_deep()), "{open}");
            assert_eq!(decode(&tx(nested(10_000, 1))), Err(Failure::too_deep()), "{open}");
            let map = |value: String| format!("[[\"^ \",\"~:db/id\",1,\"~:kv/value\",{value}]]");
            assert_eq!(decode(&map(nested(count, rest))).map(|items| items.len()), Ok(1), "{open}");
            assert_eq!(decode(&map(nested(count, rest + 1))), Err(Failure::too_deep()), "{open}");
        }
    }

    #[test]
    fn what_encloses_the_items_does_not_count() {
        let most = TRANSIT_DEPTH - ROW_DEPTH;
        let value = format!("{}{}", "[".repeat(most), "]".repeat(most));
        for text in [
            format!("[\"~#list\",[[\"~#list\",[\"~:db/add\",1,\"~:kv/value\",{value}]]]]"),
            format!("[\"~#set\",[[\"~:db/add\",1,\"~:kv/value\",{value}]]]"),
            format!("[[\"~#datascript/Datom\",[1,\"~:kv/value\",{value},536870913]]]"),
        ] {
            assert!(decode(&text).is_ok(), "{text}");
            let deeper = text.replace(&value, &format!("[{value}]"));
            assert_eq!(decode(&deeper), Err(Failure::too_deep()), "{text}");
        }
    }

    #[test]
    fn what_clients_cannot_read_is_undecodable() {
        for (value, why) in [
            ("\"~b!\"", "invalid binary data"),
            ("\"~i\"", "invalid number"),
            ("1e400", "invalid number"),
            ("\"~zfoo\"", "invalid number"),
            ("\"~mx\"", "invalid instant"),
            ("[\"~#u\",5]", "wrong shape"),
            ("[\"^ \",\"~b!\",1]", "invalid binary data"),
        ] {
            let failure = decode(&format!("[[\"~:db/add\",1,\"~:kv/value\",{value}]]")).expect_err(value);
            assert!(failure.detail.starts_with("undecodable transaction: "), "{failure:?}");
            assert!(failure.detail.contains(why), "{failure:?}");
        }
    }
}
