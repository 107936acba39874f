//! Databases that vectors describe, and what their lines say of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use datascript::{Attrs, Datom, Db, Index, Nodes, Pattern, Schema, Storage, TxId, Value};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::{Ghosts, lines};

/// A field that holds Transit text, or is absent.
pub fn transit(json: &Json, field: &str) -> Option<Value> {
    json.get(field).and_then(Json::as_str).map(|text| transit::read_str(text).expect("a field is Transit"))
}

/// A field that holds a transaction.
pub fn items(json: &Json, field: &str) -> Vec<Value> {
    let items = transit(json, field).unwrap_or_else(|| panic!("field {field} of {json}"));
    items.as_seq().map(<[Value]>::to_vec).unwrap_or_default()
}

/// A field that holds a number.
pub fn number(json: &Json, field: &str) -> u64 {
    json.get(field).and_then(Json::as_u64).unwrap_or_else(|| panic!("field {field} of {json}"))
}

/// A datom list `[[e a v tx added?] …]`.
pub fn datoms(attrs: &Attrs, list: &Value) -> Vec<Datom> {
    let list = list.as_seq().expect("a list of datoms");
    list.iter()
        .map(|datom| {
            let fields = datom.as_seq().expect("a datom");
            let id = |at: usize| u32::try_from(fields[at].as_int().expect("an id")).expect("an id in range");
            Datom {
                e: id(0),
                a: attrs.intern(fields[1].as_keyword().expect("an attribute")),
                v: fields[2].clone(),
                tx: id(3),
                added: fields.get(4).is_none_or(Value::is_truthy),
            }
        })
        .collect()
}

/// A database of `bases.jsonl`. `preset` are attributes with fixed numbers, `storage` the row store that it is to be
/// written to, if any.
pub fn base(line: &Json, preset: &[&str], storage: Option<Rc<dyn Storage>>) -> Db {
    let attrs = Attrs::new(preset);
    let nodes = Rc::new(Nodes::new(storage, Rc::clone(&attrs), usize::MAX));
    let schema = Schema::from_value(Rc::clone(&attrs), &transit(line, "schema").expect("a schema"));
    let datoms = datoms(&attrs, &transit(line, "datoms").expect("datoms"));
    Db::from_datoms(nodes, schema, datoms)
}

/// The databases of `bases.jsonl` by name, compared with what their lines say of them.
pub fn bases(preset: &[&str]) -> HashMap<String, Db> {
    let mut bases = HashMap::new();
    for line in lines("bases.jsonl") {
        let name = line["base"].as_str().expect("a name").to_owned();
        let db = base(&line, preset, None);
        assert_eq!(db.count() as u64, number(&line, "count"), "{name}");
        assert_eq!(db.tree(Index::Avet).expect("in memory").count() as u64, number(&line, "avet_count"), "{name}");
        assert_state(&db, &Ghosts::default(), &line, &name);
        bases.insert(name, db);
    }
    bases
}

/// Compares counters and indexes with the fields of a line; the reference's AVET may hold ghosts.
pub fn assert_state(db: &Db, ghosts: &Ghosts, line: &Json, what: &str) {
    assert_eq!(u64::from(db.max_eid()), number(line, "max_eid"), "max-eid of {what}");
    assert_eq!(u64::from(db.max_tx()), number(line, "max_tx"), "max-tx of {what}");
    for (index, field) in [(Index::Eavt, "eavt_sha256"), (Index::Aevt, "aevt_sha256"), (Index::Avet, "avet_sha256")] {
        assert_eq!(sha256(db, index, ghosts), line[field].as_str().expect("a hash"), "{field} of {what}");
    }
}

/// SHA-256 over the transit of `[e a v tx]` and a line feed for each datom in index order, in AVET with the ghosts.
pub fn sha256(db: &Db, index: Index, ghosts: &Ghosts) -> String {
    sha256_renumbered(db, index, ghosts, |tx| tx)
}

/// The same with other transaction numbers.
pub fn sha256_renumbered(db: &Db, index: Index, ghosts: &Ghosts, number: impl Fn(TxId) -> TxId) -> String {
    let mut hash = Sha256::new();
    let mut text = String::new();
    let mut datoms: Vec<Datom> = db.datoms(index, &Pattern::ALL).map(|datom| datom.expect("a datom")).collect();
    let ghosts = if index == Index::Avet { ghosts.datoms(db) } else { Vec::new() };
    if !ghosts.is_empty() {
        datoms.extend(ghosts);
        let ranks = db.attrs().ranks();
        datoms.sort_by(|a, b| index.compare(a, b, &ranks));
    }
    for datom in datoms {
        text.clear();
        let attr = Value::Keyword(db.attrs().keyword(datom.a));
        let fields = [Value::from(datom.e), attr, datom.v, Value::from(number(datom.tx))];
        transit::write_to(&Value::vector(fields), &mut text);
        text.push('\n');
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Fails unless both are the same items, each as often, in whatever order.
#[track_caller]
pub fn assert_same_items(actual: &[Value], expected: &[Value], what: &str) {
    let texts = |items: &[Value]| {
        let mut texts: Vec<String> = items.iter().map(transit::write_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(actual), texts(expected), "{what}");
}
