//! A database that takes nothing more, or cannot be read: nobody's entry is to blame, and nothing is lost.

use serde_json::json;

use super::client::{apply, assert_consistent, batch, block, entry, everything, lookup, page, title};
use super::support::new_graph;

#[test]
fn a_full_database_is_told_from_a_bad_entry() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    let before = everything(&sql);
    // Not a page more than there are.
    sql.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let long = "x".repeat(200_000);
    for _ in 0..2 {
        let heard = batch(&mut graph, 2, &[entry("save-block", Some(9), &[title(2, &long)])]);
        let expected = (&json!("tx/reject"), &json!("db transact failed"), &json!("storage full"), &json!(2));
        let told = (&heard.reply["type"], &heard.reply["reason"], &heard.reply["error-detail"], &heard.reply["t"]);
        assert_eq!(told, expected);
        assert!(heard.failed && heard.others.is_none(), "an operator hears of it");
        assert_eq!(heard.reply.get("failed-tx-id"), None, "no entry has failed");
        assert_eq!(everything(&sql), before);
        assert_consistent(&mut graph, &sql);
    }
    sql.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    apply(&mut graph, &[entry("save-block", None, &[title(2, &long)])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn rows_that_cannot_be_read_or_written_are_told_from_a_bad_entry() {
    for table in ["kvs", "tx_log"] {
        let (mut graph, sql) = new_graph();
        apply(&mut graph, &[entry("create-page", None, &page(1))]);
        let entries = [entry("insert-blocks", Some(9), &block(2, &lookup(1), &lookup(1)))];
        let mut graph = super::support::open(&sql);
        assert_eq!(graph.position().unwrap().t, 1);
        sql.connection().execute_batch(&format!("ALTER TABLE {table} RENAME TO away")).unwrap();
        let heard = batch(&mut graph, 1, &entries);
        assert_eq!(heard.reply["error-detail"], "storage unavailable", "{table}: {heard:?}");
        assert!(heard.failed && heard.reply.get("failed-tx-id").is_none());
        sql.connection().execute_batch(&format!("ALTER TABLE away RENAME TO {table}")).unwrap();
        assert_eq!(batch(&mut graph, 1, &entries).reply["type"], "tx/batch/ok", "it is sent again");
        assert_consistent(&mut graph, &sql);
    }
}
