//! Tempids, upserts, starting over.

use super::*;

#[test]
fn strings_and_negative_numbers_name_new_entities() {
    let report = tx(
        &people(),
        r#"[["~:db/add","x","~:age",1],["~:db/add",-1,"~:age",2],["~:db/add",-1.5,"~:age",3],["~:db/add","x","~:boss",-1]]"#,
    );
    assert_eq!(effects(&report), ["+3 age 1 2", "+4 age 2 2", "+5 age 3 2", "+3 boss 4 2"]);
    assert_eq!(tempid(&report, r#"["~#'","x"]"#), 3);
    assert_eq!(tempid(&report, r#"["~#'",-1]"#), 4);
    assert_eq!(tempid(&report, r#"["~#'",-1.5]"#), 5);
}

#[test]
fn tempids_are_for_add_only() {
    let db = people();
    for item in [
        r#"["~:db/retract","x","~:age",1]"#,
        r#"["~:db/retractEntity",-1]"#,
        r#"["~:db.fn/retractAttribute","x","~:age"]"#,
        r#"["~:db/retract","datomic.tx","~:age",1]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactSyntax, "{item}");
    }
}

#[test]
fn the_transaction_has_names() {
    let report = tx(
        &people(),
        r#"[["~:db/add","~:db/current-tx","~:age",1],["~:db/add","datomic.tx","~:aka","a"],
            ["~:db/add",1,"~:boss","datascript.tx"],["~:db/add",2,"~:friend","~:db/current-tx"],
            ["~:db/add",":db/current-tx","~:aka","b"]]"#,
    );
    let tx_id = report.db_after.max_tx();
    assert_eq!(
        effects(&report),
        [
            format!("+{tx_id} age 1 2"),
            format!(r#"+{tx_id} aka "a" 2"#),
            format!("+1 boss {tx_id} 2"),
            format!("+2 friend {tx_id} 2"),
            format!(r#"+{tx_id} aka "b" 2"#),
        ]
    );
    assert_eq!(tempid(&report, r#"["~#'","datomic.tx"]"#), tx_id);
    assert_eq!(report.db_after.max_eid(), 2);
    let report = tx(&report.db_after, r#"[["~:db/retract","~:db/current-tx","~:age"]]"#);
    assert!(report.tx_data.is_empty(), "it is another transaction");
}

#[test]
fn an_identity_makes_a_tempid_the_entity_that_holds_it() {
    let report = tx(&people(), r#"[["~:db/add","x","~:name","Petr"],["~:db/add","x","~:age",1]]"#);
    assert_eq!(effects(&report), ["-2 age 37 2", "+2 age 1 2"]);
    assert_eq!(tempid(&report, r#"["~#'","x"]"#), 2);
}

#[test]
fn a_late_identity_starts_the_transaction_over() {
    let report = tx(
        &people(),
        r#"[["~:db/add","new","~:age",7],["~:db/add",1,"~:boss","x"],["~:db/add","x","~:age",1],["~:db/add","x","~:name","Petr"]]"#,
    );
    assert_eq!(effects(&report), ["+3 age 7 2", "+1 boss 2 2", "-2 age 37 2", "+2 age 1 2"]);
    assert_eq!(report.db_after.max_eid(), 3, "the id given up is not used");
}

#[test]
fn a_kept_id_is_given_to_one_tempid_only() {
    // "x" keeps the id of the first pass; "y" comes up only in the second one, before "x" was asserted.
    let report = tx(
        &people(),
        r#"[["~:db/add",1,"~:friend","x"],["~:db/add",1,"~:friend","z"],["~:db/add","z","~:name","Petr"],
            ["~:db/add","y","~:age",1],["~:db/add","x","~:age",2]]"#,
    );
    assert_ne!(tempid(&report, r#"["~#'","x"]"#), tempid(&report, r#"["~#'","y"]"#));
}

#[test]
fn ids_in_use_are_passed_over_when_the_counter_is_too_low() {
    let mut db = people();
    db.max_eid = 0;
    let report = tx(&db, r#"[["~:db/add","x","~:age",1],["~:db/add","x","~:age",2],["~:db/add","x","~:aka","a"]]"#);
    assert_eq!(effects(&report), ["+3 age 1 2", "-3 age 1 2", "+3 age 2 2", r#"+3 aka "a" 2"#]);
}

#[test]
fn two_tempids_of_one_new_identity_become_one_entity() {
    let report = tx(
        &people(),
        r#"[["~:db/add","a","~:name","New"],["~:db/add","b","~:name","New"],["~:db/add","b","~:age",1]]"#,
    );
    assert_eq!(effects(&report), [r#"+3 name "New" 2"#, "+3 age 1 2"]);
    let report = tx(
        &people(),
        r#"[["~:db/add","b","~:age",1],["~:db/add","a","~:name","New"],["~:db/add","b","~:name","New"]]"#,
    );
    assert_eq!(tempid(&report, r#"["~#'","a"]"#), tempid(&report, r#"["~#'","b"]"#));
}

#[test]
fn contradicting_identities_are_refused() {
    let db = tx(&people(), r#"[["~:db/add",1,"~:nick","i"],["~:db/add",2,"~:nick","p"]]"#).db_after;
    for items in [
        r#"[["~:db/add","x","~:name","Ivan"],["~:db/add","x","~:nick","p"]]"#,
        r#"[["~:db/add","x","~:age",1],["~:db/add","x","~:name","Ivan"],["~:db/add","x","~:name","Petr"]]"#,
        r#"[["~:db/add","~:db/current-tx","~:name","Ivan"]]"#,
    ] {
        assert_eq!(kind(&db, items), ErrorKind::TransactUpsert, "{items}");
    }
}

#[test]
fn a_tempid_that_is_only_a_value_is_refused() {
    let db = people();
    assert_eq!(kind(&db, r#"[["~:db/add",1,"~:boss","x"]]"#), ErrorKind::TransactSyntax);
    assert_eq!(
        kind(&db, r#"[["~:db/add",1,"~:boss","x"],["~:db/retract",2,"~:friend","x"]]"#),
        ErrorKind::TransactSyntax
    );
    tx(&db, r#"[["~:db/add",1,"~:boss","x"],["~:db/add","x","~:name","Petr"]]"#);
    tx(&db, r#"[["~:db/add",1,"~:boss","x"],["^ ","~:db/id","x","~:name","Petr"]]"#);
    assert_eq!(kind(&db, r#"[["~:db/add",1,"~:boss","x"],["^ ","~:db/id","x"]]"#), ErrorKind::TransactSyntax);
}

/// Friends by tempid, then who they are.
fn late_friends(count: usize, who: impl Fn(usize) -> String) -> String {
    let friends = (0..count).map(|i| format!(r#"["~:db/add",1,"~:friend","t{i}"]"#));
    let names = (0..count).map(who);
    format!("[{}]", friends.chain(names).collect::<Vec<_>>().join(","))
}

fn crowd(count: usize) -> Db {
    let names = (0..count).map(|i| format!(r#"["~:db/add","t{i}","~:name","n{i}"]"#));
    tx(&people(), &format!("[{}]", names.collect::<Vec<_>>().join(","))).db_after
}

#[test]
fn many_tempids_that_turn_out_late_cost_a_few_passes() {
    let db = crowd(3_000);
    for who in [
        |i| format!(r#"["~:db/add","t{i}","~:name","n{i}"]"#),
        |i| format!(r#"["^ ","~:db/id","t{i}","~:name","n{i}"]"#),
    ] {
        let report = tx(&db, &late_friends(3_000, who));
        assert_eq!(report.tx_data.len(), 3_000);
        assert_eq!(report.db_after.max_eid(), db.max_eid());
    }
}

#[test]
fn a_guess_that_an_earlier_item_belies_is_dropped() {
    let db = crowd(12);
    let taken = format!(r#"["~:db/retract",{},"~:name","n11"],"#, tempid_of(&db, "n11"));
    let items = late_friends(12, |i| format!(r#"["~:db/add","t{i}","~:name","n{i}"]"#));
    let report = tx(&db, &items.replacen('[', &format!("[{taken}"), 1));
    assert_eq!(tempid(&report, r#"["~#'","t10"]"#), tempid_of(&db, "n10"));
    assert!(tempid(&report, r#"["~#'","t11"]"#) > db.max_eid(), "the name was free when its turn came");
}

fn tempid_of(db: &Db, name: &str) -> u32 {
    let name_attr = db.attr("name").expect("known");
    db.lookup(name_attr, &Value::string(name)).expect("in memory").expect("held")
}

#[test]
fn endless_new_starts_are_refused() {
    // Each tempid has an id of its own before the same new name unites it with the first one.
    let db = people();
    let count = 1_500;
    let items =
        late_friends(count, |i| format!(r#"["~:db/add","u{i}","~:name","m{i}"],["~:db/add","t{i}","~:name","m{i}"]"#));
    assert_eq!(kind(&db, &items), ErrorKind::TransactUpsert);
}
