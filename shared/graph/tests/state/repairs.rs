//! Rows whose indexes earlier versions have left damaged, and uploads of rows that nobody can work with.

use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Index, Pattern, Value};
use graph::snapshot::{Upload, UploadError};
use protocol::query::UploadQuery;
use serde_json::Value as Json;

use super::client::{apply, assert_consistent, block, entry, facts, lookup, page, title};
use super::support::{OWNER, TestGraph, TestRow, changes, count, frame, meta, new_graph, open, rows_of, upload};

/// A page with so many blocks, everything in the rows.
fn filled(blocks: usize) -> (TestGraph, Rc<Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let items: Vec<Json> = (2..2 + blocks).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
    apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    graph.checkpoint().unwrap();
    (graph, sql)
}

/// Changes the datoms of the first leaf of an index.
fn damage(rows: &mut [TestRow], index: &str, change: impl Fn(&mut Vec<Value>)) {
    let content = |rows: &[TestRow], addr| rows.iter().find(|row| row.0 == addr).unwrap().clone();
    let root = transit::read_str(&content(rows, 0).1).unwrap();
    let mut row = content(rows, root.get(index).and_then(Value::as_int).unwrap());
    while let Some(addresses) = &row.2 {
        let first = addresses.trim_start_matches('[').split(',').next().unwrap();
        row = content(rows, first.trim_end_matches(']').parse().unwrap());
    }
    let leaf = transit::read_str(&row.1).unwrap();
    let mut datoms = leaf.get("keys").and_then(Value::as_vector).unwrap().to_vec();
    change(&mut datoms);
    let leaf = Value::Map([(Value::keyword("keys"), Value::vector(datoms))].into_iter().collect());
    rows.iter_mut().find(|other| other.0 == row.0).unwrap().1 = transit::write_string(&leaf);
}

fn store(sql: &Rusqlite, rows: &[TestRow]) {
    for (addr, content, addresses) in rows {
        let params = [Param::Int(*addr), Param::Text(content), Param::opt(addresses.as_deref())];
        sql.execute("INSERT OR REPLACE INTO kvs (addr, content, addresses) VALUES (?, ?, ?)", &params).unwrap();
    }
}

fn assert_sorted(graph: &mut TestGraph) {
    let db = graph.db().unwrap();
    let ranks = db.attrs().ranks();
    let all = |index| db.datoms(index, &Pattern::ALL).map(Result::unwrap).collect::<Vec<_>>();
    for index in [Index::Eavt, Index::Aevt, Index::Avet] {
        assert!(all(index).is_sorted_by(|a, b| index.compare(a, b, &ranks).is_lt()), "{index:?}");
    }
    assert_eq!(all(Index::Eavt).len(), all(Index::Aevt).len());
}

#[test]
fn a_graph_that_an_earlier_version_damaged_is_repaired_when_it_is_opened() {
    for index in ["eavt", "aevt", "avet"] {
        let (mut graph, sql) = filled(300);
        let sound = facts(graph.db().unwrap());
        let mut rows = rows_of(&sql);
        damage(&mut rows, index, |datoms| datoms.swap(1, 7));
        store(&sql, &rows);
        sql.execute("DELETE FROM sync_meta WHERE key = 'indexes-verified?'", &[]).unwrap();
        let mut graph = open(&sql);
        assert_eq!(facts(graph.db().unwrap()), sound, "{index}");
        let notice = graph.take_notice().unwrap().to_string();
        let what = if index == "avet" { "the index by value" } else { "all indexes" };
        assert!(notice.starts_with(&format!("damaged rows: {what} built again, {} facts", sound.len())), "{notice}");
        assert_sorted(&mut graph);
        assert_eq!(meta(&sql, "indexes-verified?").as_deref(), Some("true"));
        apply(&mut graph, &[entry("save-block", None, &[title(5, "edited")])]);
        assert_consistent(&mut graph, &sql);
        let mut graph = open(&sql);
        graph.db().unwrap();
        assert!(graph.take_notice().is_none(), "looked at once");
    }
}

#[test]
fn a_retracted_fact_that_stayed_in_one_index_goes_and_the_checksum_follows() {
    let (mut graph, sql) = filled(300);
    let sound = facts(graph.db().unwrap());
    let mut rows = rows_of(&sql);
    // The first fact of the first block by attribute was retracted, as far as AEVT knows.
    damage(&mut rows, "aevt", |datoms| drop(datoms.remove(3)));
    store(&sql, &rows);
    sql.execute("DELETE FROM sync_meta WHERE key = 'indexes-verified?'", &[]).unwrap();
    let mut graph = open(&sql);
    assert_eq!(facts(graph.db().unwrap()).len(), sound.len() - 1);
    assert!(graph.take_notice().is_some());
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_row_that_cannot_be_used_is_told_and_the_rest_goes_on() {
    let (_, sql) = filled(300);
    let mut rows = rows_of(&sql);
    damage(&mut rows, "avet", Vec::clear);
    store(&sql, &rows);
    sql.execute("DELETE FROM sync_meta WHERE key = 'indexes-verified?'", &[]).unwrap();
    let mut graph = open(&sql);
    apply(&mut graph, &[entry("save-block", None, &[title(299, "edited")])]);
    let notice = graph.take_notice().unwrap().to_string();
    assert!(notice.contains("is corrupt: a leaf without datoms"), "{notice}");
}

#[test]
fn damaged_rows_that_are_uploaded_are_repaired() {
    let (mut source, sql) = filled(300);
    let sound = facts(source.db().unwrap());
    let mut rows = rows_of(&sql);
    damage(&mut rows, "aevt", |datoms| datoms.swap(1, 7));
    let (mut graph, copied) = new_graph();
    assert!(upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]).unwrap().opened);
    assert!(graph.take_notice().unwrap().to_string().contains("all indexes built again"));
    assert_eq!(facts(graph.db().unwrap()), sound);
    assert_sorted(&mut graph);
    apply(&mut graph, &[entry("save-block", None, &[title(5, "edited")])]);
    assert_eq!(facts(graph.db().unwrap()), facts(open(&copied).db().unwrap()));
    // What goes out again is in order.
    let (mut third, _) = new_graph();
    upload(&mut third, ("true", "true", ""), false, &[&frame(&rows_of(&copied))]).unwrap();
    assert!(third.take_notice().is_none());
}

/// Sends rows up to the moment in which they are looked at.
fn sent(graph: &mut TestGraph, query: (&str, &str, &str), rows: &[TestRow]) -> Upload {
    let query = UploadQuery::new(Some(query.0), Some(query.1), Some(query.2));
    let mut upload = graph.begin_upload(&query, OWNER, false, !rows.is_empty()).unwrap();
    if upload.closes_graph() {
        graph.close_for_upload(&mut upload).unwrap();
    }
    if !rows.is_empty() {
        graph.feed_upload(&mut upload, &frame(rows)).unwrap();
    }
    graph.store_rest(&mut upload).unwrap();
    upload
}

#[test]
fn uploads_are_repaired_in_pieces() {
    let (mut source, sql) = filled(2_500);
    let sound = facts(source.db().unwrap());
    let mut rows = rows_of(&sql);
    damage(&mut rows, "eavt", |datoms| datoms.reverse());
    let (mut graph, copied) = new_graph();
    let mut ending = sent(&mut graph, ("true", "true", ""), &rows);
    let (mut pieces, mut most) = (0, 0);
    loop {
        let before = changes(&copied);
        if !graph.verify_piece(&mut ending).unwrap() {
            break;
        }
        pieces += 1;
        most = most.max(changes(&copied) - before);
    }
    assert!(pieces > rows.len() / 16, "{pieces} pieces for {} rows", rows.len());
    assert!((1..2_000).contains(&most), "{most} rows written in one go");
    let built = count(&copied, "upload_rows");
    assert!(usize::try_from(built).unwrap() > rows.len() * 3 / 2, "what is built waits with the upload");
    assert!(graph.finish_upload(&mut ending).unwrap().opened);
    assert_eq!(count(&copied, "upload_rows"), 0);
    assert_eq!(facts(graph.db().unwrap()), sound);
    assert_sorted(&mut graph);
    apply(&mut graph, &[entry("save-block", None, &[title(5, "edited")])]);
    assert_consistent(&mut graph, &copied);
}

#[test]
fn a_repair_that_is_given_up_changes_nothing() {
    let (mut source, sql) = filled(700);
    let sound = facts(source.db().unwrap());
    let mut rows = rows_of(&sql);
    damage(&mut rows, "eavt", |datoms| datoms.reverse());
    // Two parts and an end of their own, which is given up in the middle and tried again.
    let (mut graph, copied) = new_graph();
    let (one, two) = rows.split_at(rows.len() / 2);
    upload(&mut graph, ("true", "false", ""), false, &[&frame(one)]).unwrap();
    upload(&mut graph, ("false", "false", ""), false, &[&frame(two)]).unwrap();
    let mut ending = sent(&mut graph, ("false", "true", ""), &[]);
    while count(&copied, "upload_rows") < i64::try_from(rows.len()).unwrap() + 50 {
        assert!(graph.verify_piece(&mut ending).unwrap());
    }
    graph.abandon_upload(&mut ending);
    let mut ending = sent(&mut graph, ("false", "true", ""), &[]);
    assert!(graph.finish_upload(&mut ending).unwrap().opened);
    assert_eq!(facts(graph.db().unwrap()), sound);
    assert_sorted(&mut graph);
    // Over an open graph.
    let sum = source.position().unwrap().checksum.unwrap();
    let before = rows_of(&sql);
    let mut ending = sent(&mut source, ("false", "true", &sum), &rows);
    while count(&sql, "upload_rows") < i64::try_from(rows.len()).unwrap() + 50 {
        assert!(source.verify_piece(&mut ending).unwrap());
    }
    source.abandon_upload(&mut ending);
    assert_eq!((rows_of(&sql), count(&sql, "upload_rows")), (before, 0));
    let mut ending = sent(&mut source, ("false", "true", &sum), &rows);
    source.finish_upload(&mut ending).unwrap();
    assert!(source.take_notice().unwrap().to_string().contains("all indexes built again"));
    assert_eq!(facts(source.db().unwrap()), sound);
    assert_sorted(&mut source);
}

#[test]
fn rows_for_an_open_graph_are_looked_at_together_with_its_own() {
    let (mut graph, sql) = filled(300);
    let before = rows_of(&sql);
    let mut rows = before.clone();
    damage(&mut rows, "eavt", Vec::clear);
    let spoiled: Vec<TestRow> = rows.iter().zip(&before).filter(|(a, b)| a != b).map(|(row, _)| row.clone()).collect();
    assert_eq!(spoiled.len(), 1);
    let sum = graph.position().unwrap().checksum.unwrap();
    let outcome = upload(&mut graph, ("false", "true", &sum), false, &[&frame(&spoiled)]);
    assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}");
    assert_eq!(rows_of(&sql), before, "the graph is as it was");
    apply(&mut graph, &[entry("save-block", None, &[title(5, "edited")])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn uploads_that_no_edit_could_follow_are_refused() {
    let (_, sql) = filled(300);
    let good = rows_of(&sql);
    let root = |from: &str, to: &str| {
        let mut rows = good.clone();
        let start = rows[0].1.find(from).unwrap_or_else(|| panic!("{from}: {}", rows[0].1));
        let rest = rows[0].1.split_off(start + from.len());
        rows[0].1.push_str(to);
        rows[0].1.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        rows
    };
    let leaf = |index: &str, change: &dyn Fn(&mut Vec<Value>)| {
        let mut rows = good.clone();
        damage(&mut rows, index, change);
        rows
    };
    let mut tail = good.clone();
    tail[1].1 = r#"[[[1,"~:a"]]]"#.to_owned();
    let mut far = good.clone();
    far.push((4_294_967_290, r#"["^ ","~:keys",[]]"#.to_owned(), None));
    let without_leaf: Vec<TestRow> = good.iter().filter(|row| row.0 != good[3].0).cloned().collect();
    let cases = [
        ("a malformed tail", tail),
        ("an emptied leaf", leaf("eavt", &Vec::clear)),
        ("33 keys", leaf("aevt", &|datoms| *datoms = vec![datoms[0].clone(); 33])),
        (
            "an entity beyond 2^32",
            leaf("avet", &|datoms| {
                let fields = datoms[0].as_vector().unwrap();
                datoms[0] =
                    Value::vector([Value::Int(1 << 33), fields[1].clone(), fields[2].clone(), fields[3].clone()]);
            }),
        ),
        ("no schema", root(r#""~:schema""#, r#","~:x""#)),
        ("max-eid", root(r#""~:max-eid","#, "2147483648")),
        ("no entity number left", root(r#""~:max-eid","#, "536870910")),
        ("max-tx", root(r#""~:max-tx","#, "2147483648")),
        ("max-addr", root(r#""~:max-addr","#, "4294967290")),
        ("a row's address", far),
        ("a missing row", without_leaf),
    ];
    for (what, rows) in cases {
        let (mut graph, sql) = new_graph();
        let outcome = upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]);
        assert!(matches!(outcome, Err(UploadError::Invalid)), "{what}: {outcome:?}");
        upload(&mut graph, ("true", "true", ""), false, &[&frame(&good)]).unwrap();
        apply(&mut graph, &[entry("save-block", None, &[title(5, "edited")])]);
        assert_eq!(facts(graph.db().unwrap()), facts(open(&sql).db().unwrap()));
    }
}
