//! Values as deep as a client may send them, and what no client could read.

use serde_json::{Value as Json, json};

use super::client::{apply, assert_consistent, batch, block, entry, everything, lookup, page, uuid};
use super::support::{TestGraph, new_graph, open, pull_text, rows_of};

/// Levels of a value that a row can still enclose: 200 without the three around it.
const DEEPEST: usize = 197;

/// What encloses a value, and by how many levels it is deeper for that when it is written.
const FORMS: [(&str, &str, usize); 10] = [
    ("[", "]", 1),
    ("[\"~#list\",[", "]]", 2),
    ("[\"~#set\",[", "]]", 2),
    ("[\"^ \",\"~:a\",", "]", 1),
    ("{\"a\":", "}", 1),
    ("[\"~#cmap\",[[1],", "]]", 2),
    ("[\"~#cmap\",[", ",1]]", 2),
    ("[\"~#cmap\",[1,", "]]", 1),
    ("[\"~#point\",", "]", 1),
    ("[\"^ \",\"~:a\",[\"~#set\",[[\"~#point\",[\"~#list\",[", "]]]]]]", 6),
];

/// A value of a form, so many levels deep as it is written.
fn nested((open, close, levels): (&str, &str, usize), depth: usize) -> String {
    let (count, rest) = ((depth - 1) / levels, 1 + (depth - 1) % levels);
    let inner = format!("{}{}", "[".repeat(rest), "]".repeat(rest));
    format!("{}{inner}{}", open.repeat(count), close.repeat(count))
}

fn add(value: &str) -> Json {
    let tx = format!("[[\"~:db/add\",{},\"~:user.property/deep\",{value}]]", lookup(2));
    json!({ "tx": tx, "outliner-op": "save-block", "tx-id": uuid(9) })
}

fn graph_of_a_block() -> (TestGraph, std::rc::Rc<database::local_sqlite::Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    (graph, sql)
}

#[test]
fn a_value_at_the_limit_is_stored_and_read_again() {
    for form in FORMS {
        let (mut graph, sql) = graph_of_a_block();
        apply(&mut graph, &[add(&nested(form, DEEPEST))]);
        // In the tail row, and in the row of the log.
        assert_consistent(&mut graph, &sql);
        let mut graph = open(&sql);
        assert!(pull_text(&mut graph, 0).is_ok(), "{form:?}");
        // In a node: more than the tail holds is flushed.
        for n in 10..20 {
            apply(&mut graph, &[entry("insert-blocks", None, &block(n, &lookup(1), &lookup(1)))]);
        }
        assert_consistent(&mut graph, &sql);
        let mut graph = open(&sql);
        apply(&mut graph, &[add(&nested(form, DEEPEST - 7))]);
        assert_consistent(&mut graph, &sql);
    }
}

#[test]
fn one_level_more_is_refused_and_changes_nothing() {
    for form in FORMS {
        let (mut graph, sql) = graph_of_a_block();
        let before = everything(&sql);
        for depth in [DEEPEST + 1, 254, 2000, 100_000] {
            let heard = batch(&mut graph, 2, &[add(&nested(form, depth))]);
            assert_eq!(heard.reply["reason"], "db transact failed", "{form:?}");
            assert_eq!(heard.reply["error-detail"], "nested too deeply", "{form:?}");
            assert!(!heard.failed, "{form:?}");
        }
        assert_eq!(everything(&sql), before);
        apply(&mut graph, &[add("1")]);
        assert_consistent(&mut graph, &sql);
    }
}

#[test]
fn what_clients_cannot_read_is_refused_and_changes_nothing() {
    let (mut graph, sql) = graph_of_a_block();
    let before = everything(&sql);
    for value in [
        "\"~b!\"",
        "\"~bA\"",
        "\"~i\"",
        "\"~zfoo\"",
        "1e400",
        "\"~d1e400\"",
        "[\"~#u\",5]",
        "[\"~#b\",\"!\"]",
        "[\"~#i\",null]",
        "[\"~#z\",5]",
        "[\"^ \",\"~b!\",1]",
        "[\"~#cmap\",[\"~b!\",1]]",
        "[\"~#set\",[\"~i\"]]",
        "[\"~#error\",5]",
        "[\"~#datascript/DB\",1]",
    ] {
        let heard = batch(&mut graph, 2, &[add(value)]);
        assert_eq!(heard.reply["reason"], "db transact failed", "{value}");
        let detail = heard.reply["error-detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with("undecodable transaction: "), "{value}: {detail}");
    }
    assert_eq!(everything(&sql), before);
}

/// A graph that took such values before they were refused opens, and goes on.
#[test]
fn what_was_stored_before_stays_readable() {
    use database::Param;
    use database::local::Sql;
    let (mut graph, sql) = graph_of_a_block();
    apply(&mut graph, &[add("\"a-value-to-replace\"")]);
    graph.checkpoint().unwrap();
    drop(graph);
    let deep = format!("{}{}", "[".repeat(250), "]".repeat(250));
    let zeros = format!("[{}0]", "0,".repeat(900_000));
    for (round, value) in ["\"~b!\"", "\"~i\"", "[\"~#u\",5]", "[\"~#z\",5]", &deep, &zeros].into_iter().enumerate() {
        let update = "UPDATE kvs SET content = replace(content, '\"a-value-to-replace\"', ?)";
        sql.execute(update, &[Param::Text(value)]).unwrap();
        let mut graph = open(&sql);
        for n in 10 * (round + 1)..10 * (round + 2) {
            apply(&mut graph, &[entry("insert-blocks", None, &block(n, &lookup(1), &lookup(1)))]);
        }
        assert_consistent(&mut graph, &sql);
        let mut graph = open(&sql);
        apply(&mut graph, &[add("\"a-value-to-replace\"")]);
        assert_consistent(&mut graph, &sql);
        graph.checkpoint().unwrap();
    }
}

/// A schema that an earlier version stored may have as many values as a message, and its row has more.
#[test]
fn a_row_may_have_more_values_than_a_message() {
    use database::Param;
    use database::local::Sql;
    let (mut graph, sql) = graph_of_a_block();
    let tx = "[[\"~:db/add\",1,\"~:db/ident\",\"~:a\"],[\"~:db/add\",1,\"~:db/doc\",\"a-value-to-replace\"]]";
    apply(&mut graph, &[json!({ "tx": tx, "outliner-op": "save-block" })]);
    graph.checkpoint().unwrap();
    drop(graph);
    let zeros = format!("[{}0]", "0,".repeat(999_879));
    let update = "UPDATE kvs SET content = replace(content, '\"a-value-to-replace\"', ?)";
    sql.execute(update, &[Param::Text(&zeros)]).unwrap();
    let mut graph = open(&sql);
    for n in 10..20 {
        apply(&mut graph, &[entry("insert-blocks", None, &block(n, &lookup(1), &lookup(1)))]);
    }
    assert_consistent(&mut graph, &sql);
    graph.checkpoint().unwrap();
    assert!(rows_of(&sql).iter().any(|row| format!("{row:?}").matches("0,0").count() > 400_000));
}
