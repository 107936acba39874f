//! Map items.

use super::*;

#[test]
fn a_map_is_its_assertions_on_a_new_entity() {
    let report = tx(&people(), r#"[["^ ","~:age",1,"~:aka",["a","b"],"~:boss",["~:name","Ivan"]]]"#);
    assert_eq!(effects(&report), ["+3 age 1 2", r#"+3 aka "a" 2"#, r#"+3 aka "b" 2"#, "+3 boss 1 2"]);
    assert_eq!(report.tempids.len(), 1, "its tempid has no name");
}

#[test]
fn an_id_may_be_given_in_several_ways() {
    let db = people();
    for (id, expected) in [
        ("1", vec!["+1 age 5 2"]),
        (r#"["~:name","Ivan"]"#, vec!["+1 age 5 2"]),
        ("\"x\"", vec!["+3 age 5 2"]),
        ("-1", vec!["+3 age 5 2"]),
        ("77", vec!["+77 age 5 2"]),
    ] {
        assert_eq!(effects(&tx(&db, &format!(r#"[["^ ","~:db/id",{id},"~:age",5]]"#))), expected, "{id}");
    }
    let report = tx(&db, r#"[["^ ","~:db/id","~:db/current-tx","~:age",5]]"#);
    assert_eq!(report.tx_data[0].e, report.db_after.max_tx());
    for (id, expected) in [
        ("\"~:ent/ident\"", ErrorKind::EntityIdSyntax),
        ("null", ErrorKind::TransactSyntax),
        ("true", ErrorKind::EntityIdSyntax),
        ("0", ErrorKind::EntityIdSyntax),
        ("2147483648", ErrorKind::EntityId),
        (r#"["~:name","Nobody"]"#, ErrorKind::EntityIdMissing),
    ] {
        assert_eq!(kind(&db, &format!(r#"[["^ ","~:db/id",{id},"~:age",5]]"#)), expected, "{id}");
    }
    assert!(tx(&db, r#"[["^ ","~:db/id",55],["^ "]]"#).tx_data.is_empty());
}

#[test]
fn an_identity_makes_it_an_upsert() {
    let db = tx(&people(), r#"[["~:db/add",1,"~:nick","i"],["~:db/add",2,"~:nick","p"]]"#).db_after;
    let report = tx(&db, r#"[["^ ","~:name","Petr","~:age",1]]"#);
    assert_eq!(effects(&report), ["-2 age 37 3", "+2 age 1 3"]);
    let report = tx(&db, r#"[["^ ","~:nick",["i","new"],"~:name","Ivan","~:age",1]]"#);
    assert_eq!(effects(&report), [r#"+1 nick "new" 3"#, "+1 age 1 3"]);
    let report = tx(&db, r#"[["^ ","~:db/id","x","~:name","Petr"],["~:db/add",1,"~:boss","x"]]"#);
    assert_eq!(effects(&report), ["+1 boss 2 3"]);
    let report = tx(&db, r#"[["~:db/add",1,"~:boss","x"],["^ ","~:db/id","x","~:name","Petr"]]"#);
    assert_eq!(effects(&report), ["+1 boss 2 3"], "after starting over");
    for item in [
        r#"["^ ","~:name","Ivan","~:nick","p"]"#,
        r#"["^ ","~:nick",["i","p"]]"#,
        r#"["^ ","~:db/id",2,"~:name","Ivan"]"#,
        r#"["^ ","~:db/id","~:some/ident","~:name","Ivan"]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactUpsert, "{item}");
    }
}

#[test]
fn nested_maps_are_entities_of_their_own() {
    let report =
        tx(&people(), r#"[["^ ","~:age",1,"~:boss",["^ ","~:age",2,"~:part",[["^ ","~:age",3],["~:name","Ivan"]]]]]"#);
    assert_eq!(
        effects(&report),
        ["+3 age 1 2", "+4 age 2 2", "+5 age 3 2", "+4 part 5 2", "+4 part 1 2", "+3 boss 4 2"]
    );
    let report = tx(&people(), r#"[["^ ","~:age",1,"~:friend",[["^ ","~:name","Petr"],["^ ","~:age",2]]]]"#);
    assert_eq!(effects(&report), ["+3 age 1 2", "+3 friend 2 2", "+4 age 2 2", "+3 friend 4 2"]);
    let report = tx(&people(), r#"[["^ ","~:info",["^ ","~:k",["^ "]],"~:aka",["^ ","~:k",1]]]"#);
    assert_eq!(report.tx_data.len(), 2, "maps of other attributes are values");
}

#[test]
fn reverse_attributes_point_the_other_way() {
    let report = tx(&people(), r#"[["^ ","~:age",1,"~:_boss",[1,["~:name","Petr"]],"~:_friend",["^ ","~:age",9]]]"#);
    assert_eq!(
        effects(&report),
        ["+3 age 1 2", "+1 boss 3 2", "-2 boss 1 2", "+2 boss 3 2", "+4 age 9 2", "+4 friend 3 2"]
    );
    let report = tx(&people(), r#"[["^ ","~:db/id",9,"~:_boss",["~:name","Petr"]]]"#);
    assert_eq!(effects(&report), ["-2 boss 1 2", "+2 boss 9 2"], "one lookup ref, not two values");
    for item in [r#"["^ ","~:_age",1]"#, r#"["^ ","~:_unknown",1]"#, r#"["^ ","~:_",1]"#] {
        assert_eq!(kind(&people(), &format!("[{item}]")), ErrorKind::TransactSyntax, "{item}");
    }
}

#[test]
fn keys_and_values_are_checked() {
    let db = people();
    for item in [
        r#"["^ ","age",1]"#,
        r#"["^ ","~:age",null]"#,
        r#"["^ ","~:aka",[null]]"#,
        r#"["~#cmap",[[1],2]]"#,
        r#"["^ ",5,1]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactSyntax, "{item}");
    }
}

#[test]
fn an_identity_of_reference_type_resolves_its_value() {
    let db = tx(&people(), r#"[["~:db/add",5,"~:owner",1]]"#).db_after;
    assert_eq!(effects(&tx(&db, r#"[["^ ","~:owner",["~:name","Ivan"],"~:age",1]]"#)), ["+5 age 1 3"]);
    assert_eq!(effects(&tx(&db, r#"[["~:db/add","x","~:owner",1],["~:db/add","x","~:age",1]]"#)), ["+5 age 1 3"]);
    assert_eq!(effects(&tx(&db, r#"[["~:db/add",["~:owner",["~:name","Ivan"]],"~:age",1]]"#)), ["+5 age 1 3"]);
    assert_eq!(effects(&tx(&db, r#"[["^ ","~:db/id",1,"~:_owner",["^ ","~:age",4]]]"#)), ["+5 age 4 3"]);
}

#[test]
fn depth_costs_no_stack() {
    let mut value = Value::Map([(Value::keyword("age"), Value::Int(1))].into());
    for _ in 0..2_000 {
        value = Value::Map([(Value::keyword("boss"), value)].into());
    }
    let report = super::super::with(&people(), std::slice::from_ref(&value)).expect("it is a chain of new entities");
    assert_eq!(report.tx_data.len(), 2_001);
}
