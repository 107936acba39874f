//! What large messages cost in memory at their height (sync.md 7.5). `SQLite` allocates elsewhere, as it does on Workers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets something unexpected is to stop")]

use std::fmt::Write;
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use graph::sockets::{Effect, OwnedFrame};
use graph::{EntityAnswer, Graph, GraphName, Options};

const MIB: usize = 1 << 20;

fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// Items of new blocks, from number `from` on, until they are so many bytes.
fn adds(from: usize, bytes: usize) -> String {
    let mut items = String::from("[");
    for n in from.. {
        let id = uuid(n);
        let separator = if n > from { "," } else { "" };
        write!(
            items,
            r#"{separator}["~:db/add","{id}","~:block/uuid","~u{id}"],["~:db/add","{id}","~:block/title","Block {n}"],["~:db/add","{id}","~:block/created-at",1755000000000],["~:db/add","{id}","~:block/updated-at",1755000000000]"#
        )
        .unwrap();
        if items.len() >= bytes {
            break;
        }
    }
    items.push(']');
    items
}

/// Items of one block with a long title.
fn long_title(n: usize, bytes: usize) -> String {
    let id = uuid(n);
    let title = "x".repeat(bytes);
    format!(
        r#"[["~:db/add","{id}","~:block/uuid","~u{id}"],["~:db/add","{id}","~:block/title","{title}"],["~:db/add","{id}","~:block/created-at",1],["~:db/add","{id}","~:block/updated-at",1]]"#
    )
}

fn message(entries: impl Iterator<Item = String>) -> String {
    let mut text = String::from(r#"{"type":"tx/batch","t-before":0,"txs":["#);
    for (i, tx) in entries.enumerate() {
        let separator = if i > 0 { "," } else { "" };
        let tx = serde_json::Value::from(tx);
        write!(text, r#"{separator}{{"tx":{tx},"outliner-op":"insert-blocks"}}"#).unwrap();
    }
    text.push_str("]}");
    text.shrink_to_fit();
    text
}

/// A new entity with a long name and so many facts, every one of which names it in the log.
fn long_name(facts: usize) -> String {
    let values: Vec<String> = (0..facts).map(|value| value.to_string()).collect();
    let (name, values) = ("n".repeat(4_090), values.join(","));
    format!(r#"[["~:db/add","x","~:db/ident","~:{name}"],["^ ","~:db/id","x","~:a/many",[{values}]]]"#)
}

/// Bytes at the height of handling a message, its own text counted, and the reply.
fn peak(text: String) -> (usize, String) {
    let options = Options::default();
    let mut graph = Graph::new(Rusqlite::in_memory().unwrap(), || 0, options);
    graph.position().unwrap();
    let length = text.len();
    let mut effect = Effect::None;
    // As the HTTP layer does it: the text goes before the batch is applied.
    let counted = allocation_counter::measure(|| {
        effect = graph.react(None, OwnedFrame::Text(text).into_message()).effect;
    });
    match effect {
        Effect::ReplyAndTell { reply, .. } => (length + usize::try_from(counted.bytes_max).unwrap(), reply),
        other => panic!("{other:?}"),
    }
}

/// Bytes at the height of an `entity/pull`, and of its message, whose pieces lie elsewhere, as they do on Workers.
fn changes_peak(batch: String) -> (usize, usize) {
    let options = Options::default();
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let mut graph = Graph::new(Rc::clone(&sql), || 0, options);
    graph.position().unwrap();
    let effect = graph.react(None, OwnedFrame::Text(batch).into_message()).effect;
    assert!(matches!(&effect, Effect::ReplyAndTell { reply, .. } if reply.contains("tx/batch/ok")), "{effect:?}");
    drop((effect, graph));
    let mut graph = Graph::new(sql, || 0, options);
    let mut sent = 0;
    let counted = allocation_counter::measure(|| {
        let pulled = graph.entity_pull(0, GraphName("g"), Some("65"), &mut |piece| sent += piece.len()).unwrap();
        assert_eq!(pulled.answer, EntityAnswer::Changes);
    });
    (usize::try_from(counted.bytes_max).unwrap(), sent)
}

#[test]
fn messages_cost_a_few_times_their_length() {
    // Texts of the entries in bytes, and tenths of them that the batch may take. Values of few bytes take many times their
    // text, so that an entry has at most a million of them.
    for (what, text, tenths) in [
        ("an entry of small items", message(std::iter::once(adds(0, 15 * MIB))), 80),
        ("fifty entries of small items", message((0..50).map(|n| adds(100_000 * n, 420_000))), 45),
        ("many small entries", message((0..7_000).map(|n| adds(100 * n, 3_000))), 45),
        ("long texts", message((0..32).map(|n| long_title(n, 950_000))), 26),
    ] {
        let length = text.len();
        let (peak, reply) = peak(text);
        assert!(reply.contains("tx/batch/ok"), "{what}: {reply}");
        println!("{what}: {} MiB for a message of {} MiB", peak / MIB, length / MIB);
        assert!(peak < tenths * length / 10, "{what}: {peak} bytes for {length}");
    }
    // Its log row would be 160 MB long.
    let many =
        r#"[["~:db/add","m","~:db/ident","~:a/many"],["~:db/add","m","~:db/cardinality","~:db.cardinality/many"]]"#;
    let (peak, reply) = peak(message([many.to_owned(), long_name(40_000)].into_iter()));
    println!("a log row that is too long: {} MiB", peak / MIB);
    assert!(reply.contains("entry too large to store"), "{reply}");
    assert!(peak < 64 * MIB, "{peak} bytes");
    for (what, batch) in [
        ("long texts that changed", message((0..16).map(|n| long_title(n, 950_000)))),
        ("many entities that changed", message((0..40).map(|n| adds(100_000 * n, 100_000)))),
    ] {
        let (peak, length) = changes_peak(batch);
        println!("{what}: {} MiB for a message of {} MiB", peak / MIB, length / MIB);
        assert!(peak < 32 * MIB, "{what}: {peak} bytes for {length}");
    }
}
