//! The work: blocks of 7 datoms, 100 to a page, as clients send them. The same as in `js/`.

use database::local::Sql;
use graph::Graph;
use protocol::query::UploadQuery;
use uuid::Uuid;

/// Blocks on one page.
pub(crate) const BLOCKS_PER_PAGE: usize = 100;

/// Fractional index keys of a page's blocks, ascending.
pub(crate) fn order(i: usize) -> String {
    let (tens, ones) = (u8::try_from(i / 10 % 10).unwrap_or(0), i % 10);
    format!("a{}{ones}V", char::from(b'0' + tens))
}

/// Transaction text of a new page.
pub(crate) fn page_tx(id: Uuid, name: &str) -> String {
    format!(
        r#"[["~:db/add","{id}","~:block/uuid","~u{id}"],["^0","{id}","~:block/name","{name}"],["^0","{id}","~:block/title","{name}"],["^0","{id}","~:block/created-at",1755000000000],["^0","{id}","~:block/updated-at",1755000000000],["^0","{id}","~:block/tags","~:logseq.class/Page"]]"#
    )
}

/// Transaction text of the `i`-th new block.
pub(crate) fn block_tx(id: Uuid, page: Uuid, i: usize) -> String {
    let (order, at) = (order(i % BLOCKS_PER_PAGE), 1_755_000_000_000_usize + i);
    format!(
        r#"[["~:db/add","{id}","~:block/uuid","~u{id}"],["^0","{id}","~:block/title","the quick brown fox jumps over block {i}"],["^0","{id}","~:block/parent",["^1","~u{page}"]],["^0","{id}","~:block/page",["^1","~u{page}"]],["^0","{id}","~:block/order","{order}"],["^0","{id}","~:block/created-at",{at}],["^0","{id}","~:block/updated-at",{at}]]"#
    )
}

/// Transaction text of the `i`-th save of a block that is being typed.
pub(crate) fn title_tx(id: Uuid, title: &str, i: usize) -> String {
    let at = 1_755_000_100_000_usize + i;
    format!(
        r#"[["~:db/add",["~:block/uuid","~u{id}"],"~:block/title","{title}"],["^0",["^1","~u{id}"],"~:block/updated-at",{at}]]"#
    )
}

/// Transaction text of a block that moves to another page.
pub(crate) fn move_tx(id: Uuid, page: Uuid, i: usize) -> String {
    let (order, at) = (order(i * 31 % BLOCKS_PER_PAGE), 1_755_000_200_000_usize + i);
    format!(
        r#"[["~:db/add",["~:block/uuid","~u{id}"],"~:block/parent",["^1","~u{page}"]],["^0",["^1","~u{id}"],"~:block/page",["^1","~u{page}"]],["^0",["^1","~u{id}"],"~:block/order","{order}x"],["^0",["^1","~u{id}"],"~:block/updated-at",{at}]]"#
    )
}

/// A message text of a batch.
pub(crate) fn message(t_before: i64, txs: &[String], op: &str) -> String {
    let entries: Vec<_> = txs
        .iter()
        .map(|tx| serde_json::json!({ "tx": tx, "outliner-op": op, "tx-id": Uuid::new_v4().to_string() }))
        .collect();
    serde_json::json!({ "type": "tx/batch", "t-before": t_before, "txs": entries }).to_string()
}

/// Uploads the standard initial graph.
pub(crate) fn upload_initial<S: Sql + 'static>(graph: &mut Graph<S>) -> anyhow::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/golden/server/bodies/base.frames.gz");
    let body = std::fs::read(root)?;
    let query = UploadQuery::new(Some("true"), Some("true"), None);
    let mut upload = graph.begin_upload(&query, "client", true, true)?;
    graph.close_for_upload(&mut upload)?;
    graph.feed_upload(&mut upload, &body)?;
    graph.finish_upload(&mut upload)?;
    Ok(())
}
