//! What vectors of the rules have in common.

use std::collections::HashMap;

use datascript::{Db, Value};
use serde_json::Value as Json;

use crate::support::{base, lines, transit};

/// The databases of `bases.jsonl` by name.
pub(crate) fn bases() -> HashMap<String, Db> {
    lines("bases.jsonl").iter().map(|line| (line["base"].as_str().expect("a name").to_owned(), base(line))).collect()
}

/// A field that holds a transaction.
pub(crate) fn items(line: &Json, field: &str) -> Vec<Value> {
    let items = transit(line, field).unwrap_or_else(|| panic!("field {field} of {line}"));
    items.as_seq().map(<[Value]>::to_vec).unwrap_or_default()
}

/// The same items, each as often, in whatever order.
pub(crate) fn assert_same_items(actual: &[Value], expected: &[Value], what: &str) {
    let texts = |items: &[Value]| {
        let mut texts: Vec<String> = items.iter().map(transit::write_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(actual), texts(expected), "{what}");
}
