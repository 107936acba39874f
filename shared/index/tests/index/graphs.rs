//! Graphs: their rows, lists and flags.

use index::graphs::NewGraph;
use index::{Error, access, graphs, members};
use pollster::block_on;
use protocol::bodies::members::Role;

use crate::support::{Recorder, create, db, new_graph, rows, run, set_key};

#[test]
fn flags_decode_null_as_true_and_text_as_number() {
    let db = db();
    for (id, e2ee, ready) in [("a", "0", "NULL"), ("b", "1", "0"), ("c", "NULL", "1"), ("d", "'0'", "'1'")] {
        create(&db, id, "u", 1);
        run(
            &db,
            &format!("UPDATE graphs SET graph_e2ee = {e2ee}, graph_ready_for_use = {ready} WHERE graph_id = '{id}'"),
        );
    }
    let mut list = block_on(graphs::list(&db, "u")).unwrap();
    list.sort_by(|a, b| a.graph_id.cmp(&b.graph_id));
    let flags: Vec<_> = list.iter().map(|graph| (graph.graph_e2ee, graph.graph_ready_for_use)).collect();
    assert_eq!(flags, [(false, true), (true, false), (true, true), (false, true)]);
}

#[test]
fn the_list_holds_owned_and_shared_graphs_latest_first() {
    let db = db();
    create(&db, "old", "u", 10);
    create(&db, "tie-1", "u", 20);
    create(&db, "tie-2", "u", 20);
    create(&db, "shared", "v", 30);
    create(&db, "foreign", "v", 40);
    assert!(block_on(members::upsert(&db, "shared", "u", Role::Member, "v", 31)).unwrap());
    let list = block_on(graphs::list(&db, "u")).unwrap();
    let ids: Vec<_> = list.iter().map(|graph| graph.graph_id.as_str()).collect();
    assert_eq!(ids, ["shared", "tie-2", "tie-1", "old"]);
    assert_eq!((list[0].role, list[0].invited_by.as_deref()), (Some(Role::Member), Some("v")));
    assert_eq!((list[3].role, list[3].created_at, list[3].updated_at), (Some(Role::Manager), 10, 10));
}

#[test]
fn create_binds_all_columns_and_stores_integers() {
    let db = Recorder::new();
    create(&db, "g", "u", 1_700_000_000_123);
    let seen = db.take();
    assert_eq!(seen.iter().map(|(_, _, params)| *params).collect::<Vec<_>>(), [8, 8]);
    let types = rows(&db, "SELECT typeof(created_at), typeof(graph_e2ee), graph_ready_for_use FROM graphs");
    assert_eq!((types[0].text(0), types[0].text(1), types[0].int(2)), (Some("integer"), Some("integer"), Some(1)));
}

#[test]
fn create_is_one_unit() {
    let db = db();
    run(&db, "DROP TABLE graph_members");
    block_on(graphs::create(&db, &new_graph("g", "u"), 1)).unwrap_err();
    assert!(rows(&db, "SELECT * FROM graphs").is_empty(), "D-23: no graph without its member row");
}

#[test]
fn names_are_compared_exactly_per_owner() {
    let db = db();
    create(&db, "Name", "u", 1);
    for (name, user, expected) in [("Name", "u", true), ("name", "u", false), ("Name", "v", false)] {
        assert_eq!(block_on(graphs::name_exists(&db, name, user)).unwrap(), expected);
    }
}

#[test]
fn the_ready_flag_needs_a_row() {
    let db = db();
    assert!(block_on(graphs::is_ready(&db, "g")).unwrap(), "a missing row counts as ready");
    assert!(matches!(block_on(graphs::set_ready(&db, "g", false, 2)), Err(Error::GraphMissing)));
    create(&db, "g", "u", 1);
    block_on(graphs::set_ready(&db, "g", false, 2)).unwrap();
    assert!(!block_on(graphs::is_ready(&db, "g")).unwrap());
    assert_eq!(block_on(graphs::list(&db, "u")).unwrap()[0].updated_at, 2);
}

#[test]
fn a_missing_graph_counts_as_encrypted() {
    let db = db();
    assert!(block_on(graphs::is_e2ee(&db, "g")).unwrap());
    block_on(graphs::create(&db, &NewGraph { e2ee: false, ..new_graph("g", "u") }, 1)).unwrap();
    assert!(!block_on(graphs::is_e2ee(&db, "g")).unwrap());
}

#[test]
fn deleting_a_graph_leaves_no_row() {
    let db = db();
    for graph in ["g", "other"] {
        create(&db, graph, "u", 1);
        assert!(set_key(&db, graph, "u", "k"));
    }
    block_on(graphs::delete_keys_and_members(&db, "g")).unwrap();
    assert!(block_on(access::is_manager(&db, "g", "u")).unwrap(), "the owner can retry");
    block_on(graphs::delete(&db, "g")).unwrap();
    for table in ["graphs", "graph_members", "graph_aes_keys"] {
        let left = rows(&db, &format!("SELECT graph_id FROM {table}"));
        assert_eq!(left.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), ["other"], "{table}");
    }
}

#[test]
fn lists_of_graphs_are_bounded() {
    let db = db();
    let series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5003) ";
    run(
        &db,
        &format!(
            "{series} INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) \
             SELECT 'g' || i, 'n', 'host', i, i FROM n"
        ),
    );
    run(&db, "INSERT INTO graph_members (user_id, graph_id, role) SELECT 'guest', graph_id, 'member' FROM graphs");
    run(&db, "UPDATE graphs SET graph_name = printf('%.*c', 1000000, 'x') WHERE graph_id = 'g5003'");
    for user in ["host", "guest"] {
        let list = block_on(graphs::list(&db, user)).unwrap();
        assert_eq!(list.len(), 5_000);
        assert_eq!((list[0].graph_id.as_str(), list[4_999].graph_id.as_str()), ("g5003", "g4"), "the newest");
        assert_eq!(list[0].graph_name.len(), 1_024, "a name of an older server");
    }
    assert!(block_on(graphs::has_made_all(&db, "host")).unwrap());
    assert!(!block_on(graphs::has_made_all(&db, "guest")).unwrap(), "who was invited has made none");
    run(&db, "DELETE FROM graphs WHERE updated_at > 999");
    assert!(!block_on(graphs::has_made_all(&db, "host")).unwrap());
}
