//! `compare.jsonl`: the order of values and attributes, and hashes.

use std::cmp::Ordering;

use datascript::{Attrs, Value, value};

use crate::support::{lines, transit};

fn order(sign: &serde_json::Value) -> Ordering {
    sign.as_i64().expect("a sign").cmp(&0)
}

#[test]
fn values_and_attributes_compare_and_hash_as_in_the_reference() {
    let mut seen = 0;
    for line in lines("compare.jsonl") {
        let value = |field: &str| transit(&line, field).expect("a value");
        match line["kind"].as_str().expect("a kind") {
            "value" => {
                let (a, b) = (value("a"), value("b"));
                assert_eq!(value::compare(&a, &b), order(&line["cmp"]), "{line}");
                assert_eq!(value::compare(&b, &a), order(&line["rev"]), "{line}");
            }
            "attr" => {
                let keyword = |value: Value| value.as_keyword().expect("a keyword").clone();
                let (a, b) = (keyword(value("a")), keyword(value("b")));
                let attrs = Attrs::new(&["some/other"]);
                let (a, b) = (attrs.intern(&a), attrs.intern(&b));
                assert_eq!(attrs.ranks().cmp(a, b), order(&line["cmp"]), "{line}");
            }
            "hash" => assert_eq!(i64::from(value::hash(&value("v"))), line["hash"].as_i64().expect("a hash"), "{line}"),
            // The order of hash tries, which the specification does not ask for (datascript.md 3.4).
            "iter" => continue,
            kind => panic!("unknown kind {kind}"),
        }
        seen += 1;
    }
    assert!(seen > 0, "there are lines");
}
