//! Facts about attributes.

use super::*;

#[test]
fn facts_about_attributes_take_effect_at_once() {
    let report = tx(
        &people(),
        r#"[["~:db/add",10,"~:db/cardinality","~:db.cardinality/many"],["~:db/add",10,"~:db/ident","~:tag"],
            ["~:db/add",10,"~:db/valueType","~:db.type/ref"],
            ["~:db/add",1,"~:tag",["~:name","Petr"]],["~:db/add",1,"~:tag","~:tag"]]"#,
    );
    let db = report.db_after;
    let flags = db.flags(db.attr("tag").expect("known"));
    assert!(flags.is_ref() && flags.is_many() && flags.is_indexed());
    assert_eq!(facts(&db).iter().filter(|fact| fact.contains(" tag ")).count(), 2);
    let schema = db.schema().to_value();
    assert_eq!(
        schema.as_map().and_then(|map| map.iter().find(|(key, _)| *key == Value::Int(10))).map(|(_, v)| v.clone()),
        Some(Value::keyword("tag"))
    );
    assert_eq!(
        schema.get("tag"),
        Some(&read(
            r#"["^ ","~:db/cardinality","~:db.cardinality/many","~:db/ident","~:tag","~:db/valueType","~:db.type/ref"]"#
        ))
    );
}

#[test]
fn flags_follow_retractions_and_leave_datoms_alone() {
    let db = tx(
        &people(),
        r#"[["^ ","~:db/id",10,"~:db/ident","~:n","~:db/cardinality","~:db.cardinality/one","~:db/index",true]]"#,
    );
    let db = tx(&db.db_after, r#"[["~:db/add",1,"~:n",5]]"#).db_after;
    let n = db.attr("n").expect("known");
    let in_avet = |db: &Db| db.datoms(Index::Avet, &Pattern::a(n)).count();
    assert_eq!(in_avet(&db), 1);
    let off = with_value(&db, &read(r#"[["~:db/retract",10,"~:db/index",true]]"#)).expect("good").db_after;
    assert!(!off.flags(n).is_indexed());
    assert_eq!(in_avet(&off), 1, "older datoms stay");
    let gone = with_value(&off, &read(r#"[["~:db/retractEntity",10]]"#)).expect("good").db_after;
    assert!(gone.schema().to_value().get("n").is_none());
    assert_eq!(
        gone.schema().to_value().as_map().and_then(|map| map.iter().find(|(key, _)| *key == Value::Int(10)).cloned()),
        Some((Value::Int(10), read(r#"["^ "]"#))),
        "an empty map is left behind"
    );
    let again = with_value(&gone, &read(r#"[["~:db/add",10,"~:db/index",true],["~:db/add",10,"~:db/ident","~:n"]]"#));
    assert!(again.expect("good").db_after.flags(n).is_indexed());
}

#[test]
fn what_was_indexed_once_leaves_no_ghost() {
    // Without the check of all indexes: what was added while the attribute was not indexed is not in AVET.
    let index = |db: &Db, on: bool| {
        with_value(db, &read(&format!(r#"[["~:db/add",10,"~:db/index",{on}]]"#))).expect("good").db_after
    };
    let define =
        r#"[["^ ","~:db/id",10,"~:db/ident","~:n","~:db/cardinality","~:db.cardinality/one","~:db/index",true]]"#;
    let db = tx(&people(), define).db_after;
    let changes = [r#"[["~:db/add",1,"~:n",6]]"#, r#"[["~:db/retract",1,"~:n",5]]"#, r#"[["~:db/retractEntity",1]]"#];
    for change in changes {
        let db = index(&tx(&db, r#"[["~:db/add",1,"~:n",5]]"#).db_after, false);
        let n = db.attr("n").expect("known");
        let db = tx(&db, change).db_after;
        let db = index(&db, true);
        assert_eq!(db.lookup(n, &Value::Int(5)).expect("in memory"), None, "{change}");
        assert_eq!(db.datoms(Index::Avet, &Pattern::a(n)).count(), 0, "{change}");
    }
}

#[test]
fn an_assertion_leaves_one_value_of_an_attribute_that_had_many() {
    let many = r#"[["^ ","~:db/id",10,"~:db/ident","~:n","~:db/cardinality","~:db.cardinality/many"]]"#;
    let db = tx(&people(), many).db_after;
    let db = tx(&db, r#"[["~:db/add",1,"~:n",1],["~:db/add",1,"~:n",6],["~:db/add",1,"~:n","x"]]"#).db_after;
    let db = tx(&db, r#"[["~:db/add",10,"~:db/cardinality","~:db.cardinality/one"]]"#).db_after;
    let n = db.attr("n").expect("known");
    let values = |db: &Db| db.values(1, n).expect("in memory");
    assert_eq!(
        values(&db),
        [Value::Int(1), Value::Int(6), Value::string("x")],
        "the definition alone changes no facts"
    );
    // A new value, and each of the old ones: the first, one between, the last.
    for (value, gone) in [("3", 3), ("1", 2), ("6", 2), (r#""x""#, 2)] {
        for items in [
            format!(r#"[["~:db/add",1,"~:n",{value}]]"#),
            format!(r#"[["^ ","~:db/id",1,"~:n",{value}]]"#),
            format!(r#"[["~:db.fn/cas",1,"~:n",1,{value}]]"#),
        ] {
            let report = tx(&db, &items);
            assert_eq!(values(&report.db_after), [read(value)], "{items}");
            assert_eq!(report.tx_data.iter().filter(|datom| !datom.added).count(), gone, "{items}");
            assert_eq!(report.tx_data.iter().filter(|datom| datom.added).count(), usize::from(gone == 3), "{items}");
            // Told one by one, it is the same.
            let mut told = db.clone();
            crate::replay(&mut told, &report.tx_data).expect("in memory");
            assert_eq!(values(&told), [read(value)], "{items}");
        }
    }
}

#[test]
fn what_the_schema_does_not_know_cannot_be_retracted() {
    // A fact that came in by bulk load never reached the schema.
    let db = empty();
    let attrs = Rc::clone(db.schema().attrs());
    let datom = |a: &str, v| Datom::new(7, attrs.intern_str(a), v, TX0 + 1);
    let loaded = Db::from_datoms(
        Rc::clone(db.nodes()),
        db.schema().clone(),
        vec![datom("db/ident", Value::keyword("lost")), datom("db/doc", "x".into())],
    );
    for items in [r#"[["~:db/retract",7,"~:db/ident","~:lost"]]"#, r#"[["~:db/retract",7,"~:db/doc","x"]]"#] {
        assert_eq!(kind(&loaded, items), ErrorKind::RetractSchema);
    }
}

#[test]
fn map_items_that_define_attributes_are_complete_and_elsewhere() {
    let db = people();
    for item in [
        r#"["^ ","~:db/ident","~:db/mine"]"#,
        r#"["^ ","~:db/ident","~:db.x/mine","~:db/doc","d"]"#,
        r#"["^ ","~:db/ident","~:mine","~:db/valueType","~:db.type/ref"]"#,
        r#"["^ ","~:db/cardinality","~:db.cardinality/one"]"#,
    ] {
        assert_eq!(kind(&db, &format!("[{item}]")), ErrorKind::TransactSchema, "{item}");
    }
    tx(&db, r#"[["^ ","~:db/ident","~:dbx/mine","~:db/doc","d"],["~:db/add",9,"~:db/ident","~:db/vector"]]"#);
}

#[test]
fn odd_idents_are_harmless() {
    let report = tx(
        &people(),
        r#"[["~:db/add",20,"~:db/ident","text"],["~:db/add",20,"~:db/doc","d"],["~:db/add",21,"~:db/ident",20],
            ["~:db/add",22,"~:db/ident",["^ ","~:a",1]],["~:db/add",21,"~:db/index",true]]"#,
    );
    tx(&report.db_after, r#"[["~:db/retractEntity",20],["~:db/retractEntity",22]]"#);
}

#[test]
fn idents_are_unique_identity_without_being_told() {
    let db = tx(&people(), r#"[["~:db/add",1,"~:db/ident","~:ivan"]]"#).db_after;
    assert_eq!(db.ident("ivan").expect("in memory"), Some(1));
    assert_eq!(kind(&db, r#"[["~:db/add",2,"~:db/ident","~:ivan"]]"#), ErrorKind::TransactUnique);
    assert_eq!(effects(&tx(&db, r#"[["^ ","~:db/ident","~:ivan","~:age",3]]"#)), ["+1 age 3 3"]);
}
