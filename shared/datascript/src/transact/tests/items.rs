//! Vector items: add, retract, compare and set.

use super::*;

#[test]
fn items_are_a_sequence_or_nil() {
    let db = people();
    for items in [r#"["~#'",null]"#, "[]", r#"["~#list",[]]"#, "[null,null]"] {
        let report = tx(&db, items);
        assert!(report.tx_data.is_empty());
        assert_eq!(report.db_after.max_tx(), db.max_tx() + 1, "an empty transaction counts");
        assert_eq!(tempid(&report, r#"["~#'","~:db/current-tx"]"#), db.max_tx() + 1);
    }
    for items in [r#"["~#'",1]"#, r#"["~#set",[]]"#, r#"["^ "]"#, "[1]", r#"[["~#set",[]]]"#, "[[]]", "[true]"] {
        assert_eq!(kind(&db, items), ErrorKind::TransactSyntax, "{items}");
    }
}

#[test]
fn a_single_value_is_replaced_and_many_are_gathered() {
    let db = people();
    let report = tx(&db, r#"[["~:db/add",2,"~:age",38],["~:db/add",1,"~:aka","X"],["~:db/add",1,"~:aka","I"]]"#);
    assert_eq!(effects(&report), [r"-2 age 37 2", r"+2 age 38 2", r#"+1 aka "X" 2"#]);
    assert_eq!(db.count() + 1, report.db_after.count());
    assert_eq!(facts(&db).len(), db.count(), "the value before is as it was");
}

#[test]
fn a_redundant_assertion_leaves_no_trace() {
    let report = tx(&people(), r#"[["~:db/add",2,"~:age",37,536870999],["~:db/add",1,"~:aka","I"]]"#);
    assert!(report.tx_data.is_empty());
}

#[test]
fn an_explicit_transaction_id_survives_on_plain_facts_of_known_entities_only() {
    let report = tx(
        &people(),
        r#"[["~:db/add",2,"~:age",38,536870999],
            ["~:db/add",["~:name","Ivan"],"~:age",1,536870999],
            ["~:db/add",1,"~:boss",2,536870999],
            ["~:db/add","x","~:age",2,536870999],
            ["~:db/retract",1,"~:aka","I",536870999]]"#,
    );
    assert_eq!(
        effects(&report),
        ["-2 age 37 87", "+2 age 38 87", "+1 age 1 87", "+1 boss 2 2", "+3 age 2 2", r#"-1 aka "I" 2"#]
    );
}

#[test]
fn a_transaction_id_out_of_range_is_replaced() {
    for t in ["536870911", "-5", "2147483648", "1.5", "\"x\"", "null", "1e300"] {
        let report = tx(&people(), &format!(r#"[["~:db/add",1,"~:age",1,{t}]]"#));
        assert_eq!(effects(&report), ["+1 age 1 2"], "{t}");
    }
}

#[test]
fn nil_and_bad_attributes_are_refused() {
    let db = people();
    for item in [
        r#"["~:db/add",1,"~:age",null]"#,
        r#"["~:db/add",1,"~:age"]"#,
        r#"["~:db/add",1]"#,
        r#"["~:db/add"]"#,
        r#"["~:db/add",1,5,1]"#,
        r#"["~:db/retract",1,5,1]"#,
        r#"["~:db/retract",1]"#,
        r#"["~:db.fn/retractAttribute",1,null]"#,
        r#"["db/add",1,"~:age",1]"#,
        r#"["~:db.fn/call",1]"#,
        r#"["~:my/fn",1]"#,
        r#"[null,1,"~:age",1]"#,
        r#"[["~:db/add"],1,"~:age",1]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactSyntax, "{item}");
    }
}

#[test]
fn entities_resolve_strictly_for_add_and_leniently_for_retract() {
    let db = tx(&people(), r#"[["~:db/add",3,"~:db/ident","~:ent/three"]]"#).db_after;
    let report =
        tx(&db, r#"[["~:db/add","~:ent/three","~:age",3],["~:db/add",["~#list",["~:name","Petr"]],"~:age",4]]"#);
    assert_eq!(effects(&report), ["+3 age 3 3", "-2 age 37 3", "+2 age 4 3"]);
    for missing in [r#"["~:name","Nobody"]"#, "\"~:ent/none\"", r#"["~:name",null]"#] {
        let error = refused(&db, &format!(r#"[["~:db/add",{missing},"~:age",1]]"#));
        assert_eq!(error.kind, ErrorKind::EntityIdMissing);
        assert_eq!(error.entity_id, read(&format!("[{missing}]")).as_seq().map(|list| list[0].clone()));
        assert_eq!(kind(&db, &format!(r#"[["~:db/add",1,"~:boss",{missing}]]"#)), ErrorKind::EntityIdMissing);
        assert_eq!(kind(&db, &format!(r#"[["~:db/retract",1,"~:boss",{missing}]]"#)), ErrorKind::EntityIdMissing);
        for op in [
            format!(r#"["~:db/retract",{missing},"~:age",1]"#),
            format!(r#"["~:db/retract",{missing},"~:age"]"#),
            format!(r#"["~:db.fn/retractAttribute",{missing},"~:age"]"#),
            format!(r#"["~:db/retractEntity",{missing}]"#),
        ] {
            assert!(tx(&db, &format!("[{op}]")).tx_data.is_empty(), "{op}");
        }
    }
}

#[test]
fn references_of_other_shapes_have_their_own_kinds() {
    let db = people();
    for (reference, expected) in [
        ("0", ErrorKind::EntityIdSyntax),
        ("1.5", ErrorKind::EntityIdSyntax),
        ("true", ErrorKind::EntityIdSyntax),
        ("null", ErrorKind::EntityIdSyntax),
        (r#"["^ "]"#, ErrorKind::EntityIdSyntax),
        (r#"["~#set",[1,2]]"#, ErrorKind::EntityIdSyntax),
        ("2147483648", ErrorKind::EntityId),
        ("1e300", ErrorKind::EntityId),
        ("[]", ErrorKind::LookupRefSyntax),
        (r#"["~:name"]"#, ErrorKind::LookupRefSyntax),
        (r#"["~:name","Ivan",1]"#, ErrorKind::LookupRefSyntax),
        (r#"["~:age",37]"#, ErrorKind::LookupRefUnique),
        (r#"["~:unknown",37]"#, ErrorKind::LookupRefUnique),
        (r#"["name","Ivan"]"#, ErrorKind::LookupRefUnique),
    ] {
        assert_eq!(kind(&db, &format!(r#"[["~:db/add",{reference},"~:age",1]]"#)), expected, "{reference}");
        assert_eq!(kind(&db, &format!(r#"[["~:db/retractEntity",{reference}]]"#)), expected, "{reference}");
        if reference != "null" {
            assert_eq!(kind(&db, &format!(r#"[["~:db/add",1,"~:boss",{reference}]]"#)), expected, "{reference}");
        }
    }
    assert_eq!(kind(&db, r#"[["~:db/add",1,"~:boss",["^ ","~:name","X"]]]"#), ErrorKind::EntityIdSyntax, "DS-14");
}

#[test]
fn a_number_needs_no_existence_and_raises_the_greatest_id_only_as_entity() {
    let db = people();
    let report = tx(&db, r#"[["~:db/add",1,"~:boss",500]]"#);
    assert_eq!(report.db_after.max_eid(), 2);
    let report = tx(&db, r#"[["~:db/add",500,"~:age",1],["~:db/add","x","~:age",1]]"#);
    assert_eq!((report.db_after.max_eid(), tempid(&report, r#"["~#'","x"]"#)), (501, 501));
    let report = tx(&db, r#"[["~:db/add",536870912,"~:age",1]]"#);
    assert_eq!(report.db_after.max_eid(), 2, "ids in the range of transactions do not count");
}

#[test]
fn entity_ids_end_where_transactions_begin() {
    let db = tx(&people(), r#"[["~:db/add",536870910,"~:age",1]]"#).db_after;
    let db = tx(&db, r#"[["~:db/add","x","~:age",1]]"#).db_after;
    assert_eq!(kind(&db, r#"[["~:db/add","x","~:age",1]]"#), ErrorKind::EntityId);
}

#[test]
fn a_unique_value_has_one_holder() {
    let db = tx(&people(), r#"[["~:db/add",1,"~:email","i@x"]]"#).db_after;
    assert_eq!(kind(&db, r#"[["~:db/add",2,"~:email","i@x"]]"#), ErrorKind::TransactUnique);
    assert_eq!(kind(&db, r#"[["~:db/add",2,"~:name","Ivan"]]"#), ErrorKind::TransactUnique);
    let error = refused(&db, r#"[["~:db/add","x","~:email","i@x"]]"#);
    assert_eq!(error.kind, ErrorKind::TransactUnique, "not an identity: no upsert");
    assert_eq!(error.attribute.map(|keyword| keyword.as_str().to_owned()).as_deref(), Some("email"));
    let report = tx(&db, r#"[["~:db/retract",1,"~:email","i@x"],["~:db/add",2,"~:email","i@x"]]"#);
    assert_eq!(effects(&report), [r#"-1 email "i@x" 3"#, r#"+2 email "i@x" 3"#]);
}

#[test]
fn retract_takes_one_value_or_all() {
    let db = people();
    assert_eq!(
        effects(&tx(&db, r#"[["~:db/retract",1,"~:aka","I"],["~:db/retract",1,"~:aka","none"]]"#)),
        [r#"-1 aka "I" 2"#]
    );
    for item in [
        r#"["~:db/retract",1,"~:aka"]"#,
        r#"["~:db/retract",1,"~:aka",null]"#,
        r#"["~:db.fn/retractAttribute",1,"~:aka"]"#,
    ] {
        let report = tx(&db, &format!("[{item}]"));
        assert_eq!(effects(&report), [r#"-1 aka "I" 2"#, r#"-1 aka "Vanya" 2"#]);
    }
    assert!(tx(&db, r#"[["~:db/retract",1,"~:never-seen","x"],["~:db/retract",1,"~:never-seen"]]"#).tx_data.is_empty());
}

#[test]
fn a_retracted_entity_takes_references_and_components_along() {
    let db = tx(
        &people(),
        r#"[["~:db/add",3,"~:part",4],["~:db/add",4,"~:part",5],["~:db/add",5,"~:name","screw"],["~:db/add",5,"~:part",3],
            ["~:db/add",1,"~:friend",3],["~:db/add",3,"~:name","machine"]]"#,
    )
    .db_after;
    let report = tx(&db, r#"[["~:db.fn/retractEntity",["~:name","machine"]]]"#);
    assert_eq!(facts(&report.db_after), facts(&people()), "a circle of components ends");
    let report = tx(&db, r#"[["~:db/retractEntity",1],["~:db/retractEntity",1],["~:db/add",1,"~:age",1]]"#);
    assert!(facts(&report.db_after).iter().all(|fact| !fact.contains("boss") && !fact.contains("friend")));
    assert_eq!(report.db_after.value(1, db.attr("age").expect("known")).expect("in memory"), Some(Value::Int(1)));
    assert_eq!(
        kind(&db, r#"[["~:db/retractEntity",1],["~:db/add",["~:name","Ivan"],"~:age",1]]"#),
        ErrorKind::EntityIdMissing
    );
    assert!(tx(&db, r#"[["~:db/retractEntity",999]]"#).tx_data.is_empty());
}

#[test]
fn cas_compares_before_it_adds() {
    let db = people();
    assert_eq!(effects(&tx(&db, r#"[["~:db/cas",2,"~:age",37,38]]"#)), ["-2 age 37 2", "+2 age 38 2"]);
    assert_eq!(effects(&tx(&db, r#"[["~:db.fn/cas",1,"~:age",null,5]]"#)), ["+1 age 5 2"]);
    assert_eq!(effects(&tx(&db, r#"[["~:db.fn/cas",1,"~:aka","I","J"]]"#)), [r#"+1 aka "J" 2"#]);
    assert_eq!(
        effects(&tx(&db, r#"[["~:db/cas",["~:name","Petr"],"~:boss",["~:name","Ivan"],["~:name","Petr"]]]"#)),
        ["-2 boss 1 2", "+2 boss 2 2"]
    );
    for (item, expected) in [
        (r#"["~:db/cas",2,"~:age",36,38]"#, ErrorKind::TransactCas),
        (r#"["~:db/cas",1,"~:aka","none","J"]"#, ErrorKind::TransactCas),
        (r#"["~:db/cas",2,"~:age",37,null]"#, ErrorKind::TransactSyntax),
        (r#"["~:db/cas",2,5,37,1]"#, ErrorKind::TransactSyntax),
        (r#"["~:db/cas","x","~:age",37,1]"#, ErrorKind::TransactSyntax),
        (r#"["~:db/cas",2,"~:boss",null,1]"#, ErrorKind::EntityIdSyntax),
        (r#"["~:db/cas",["~:name","N"],"~:age",37,1]"#, ErrorKind::EntityIdMissing),
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), expected, "{item}");
    }
}

#[test]
fn datoms_are_items_too() {
    let db = people();
    let report = tx(
        &db,
        r#"[["~#datascript/Datom",[2,"~:age",40,536870950]],["~#datascript/Datom",[1,"~:aka","I",536870913,false]]]"#,
    );
    assert_eq!(effects(&report), ["-2 age 37 38", "+2 age 40 38", r#"-1 aka "I" 2"#]);
    for item in [
        r#"["~#datascript/Datom",[]]"#,
        r#"["~#datascript/Datom",1]"#,
        r#"["~#datascript/Datom",["x","~:age",1,536870913,false]]"#,
        r#"["~#datascript/Datom",[1,"~:age",null,536870913]]"#,
        r#"["~#other",[1,"~:age",1,536870913]]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactSyntax, "{item}");
    }
}

#[test]
fn messages_keep_values_to_themselves() {
    let db = tx(&people(), r#"[["~:db/add",1,"~:email","secret@x"]]"#).db_after;
    for items in [
        r#"[["~:db/add",2,"~:email","secret@x"]]"#,
        r#"[["~:db/cas",1,"~:email","secret","secret"]]"#,
        r#"[["~:nope",1,"~:email","secret"]]"#,
        r#"[["~:db/retract","x","~:email","secret"]]"#,
        r#"["secret"]"#,
    ] {
        let message = refused(&db, items).message;
        assert!(!message.contains("secret"), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}
