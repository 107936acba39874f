//! What large messages cost in memory, at their height (sync.md 7.5). `SQLite` allocates elsewhere, as it does on Workers.

use graph::session::{Effect, Frame, Message};
use graph::sql_rusqlite::Rusqlite;
use graph::{Graph, Options};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

fn adds(from: usize, bytes: usize) -> String {
    let mut items = String::from("[");
    let mut n = from;
    while items.len() < bytes {
        let id = format!("00000000-0000-4000-8000-{n:012x}");
        if n > from {
            items.push(',');
        }
        items.push_str(&format!(
            "[\"~:db/add\",\"{id}\",\"~:block/uuid\",\"~u{id}\"],[\"~:db/add\",\"{id}\",\"~:block/title\",\"Block {n}\"],\
             [\"~:db/add\",\"{id}\",\"~:block/created-at\",1755000000000],[\"~:db/add\",\"{id}\",\"~:block/updated-at\",1755000000000]"
        ));
        n += 1;
    }
    items.push(']');
    items
}

fn string(n: usize, bytes: usize) -> String {
    let id = format!("00000000-0000-4000-8000-{n:012x}");
    format!(
        "[[\"~:db/add\",\"{id}\",\"~:block/uuid\",\"~u{id}\"],[\"~:db/add\",\"{id}\",\"~:block/created-at\",1],[\"~:db/add\",\"{id}\",\"~:block/updated-at\",1],[\"~:db/add\",\"{id}\",\"~:block/title\",\"{}\"]]",
        "x".repeat(bytes)
    )
}

fn message(entries: impl Iterator<Item = String>) -> String {
    let mut text = String::from("{\"type\":\"tx/batch\",\"t-before\":0,\"txs\":[");
    for (i, tx) in entries.enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str("{\"tx\":");
        text.push_str(&serde_json::Value::from(tx).to_string());
        text.push_str(",\"outliner-op\":\"insert-blocks\"}");
    }
    text.push_str("]}");
    text
}

fn cost(what: &str, text: String) {
    let length = text.len();
    let options = Options { cache_bytes: 12 << 20, ..Options::default() };
    let mut graph = Graph::new(Rusqlite::in_memory().unwrap(), || 0, options);
    graph.position().unwrap();
    let before = ALLOCATOR.current_usage() - length;
    ALLOCATOR.reset_peak_usage();
    let start = std::time::Instant::now();
    let effect = {
        let message = Message::parse(Frame::Text(&text)).into_owned();
        drop(text);
        graph.react(None, message).effect
    };
    let Effect::ReplyAndTell { reply, .. } = effect else { panic!("{effect:?}") };
    println!(
        "{what}: {} MiB message, peak {} MiB, {:?} {}",
        length / MIB,
        (ALLOCATOR.peak_usage() - before) / MIB,
        start.elapsed(),
        &reply[..40.min(reply.len())]
    );
}

#[test]
fn peaks() {
    cost("one entry of adds", message(std::iter::once(adds(0, 15 * MIB))));
    cost("50 entries of adds", message((0..50).map(|n| adds(100_000 * n, 420_000))));
    cost("7,000 entries of adds", message((0..7_000).map(|n| adds(100 * n, 3_000))));
    cost("strings", message((0..20).map(|n| string(n, 950_000))));
    cost("longer strings", message((0..32).map(|n| string(n, 950_000))));
}
