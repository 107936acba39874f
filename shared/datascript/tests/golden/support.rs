//! Reading vectors, building their databases, hashing indexes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use datascript::{Attrs, Datom, Db, Index, Nodes, Pattern, Schema, Value};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// The folder of the vectors: `GOLDEN_DIR`, absolute or relative to the repository's root, or the copy in the repository.
pub(crate) fn dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::var("GOLDEN_DIR").unwrap_or_else(|_| "tests/reference/golden".to_owned());
    root.join(dir)
}

/// The lines of a file of vectors.
pub(crate) fn lines(name: &str) -> Vec<Json> {
    let path = dir().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

/// A field that holds Transit text, or is absent.
pub(crate) fn transit(json: &Json, field: &str) -> Option<Value> {
    json.get(field).and_then(Json::as_str).map(|text| transit::read_str(text).expect("a field is Transit"))
}

/// A number field.
pub(crate) fn number(json: &Json, field: &str) -> u64 {
    json.get(field).and_then(Json::as_u64).unwrap_or_else(|| panic!("field {field} of {json}"))
}

/// A datom list `[[e a v tx added?] …]`.
pub(crate) fn datoms(attrs: &Attrs, list: &Value) -> Vec<Datom> {
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

/// A database of `bases.jsonl`.
pub(crate) fn base(line: &Json) -> Db {
    let attrs = Attrs::new(&[]);
    let nodes = Rc::new(Nodes::new(None, Rc::clone(&attrs), usize::MAX));
    let schema = Schema::from_value(Rc::clone(&attrs), &transit(line, "schema").expect("a schema"));
    let datoms = datoms(&attrs, &transit(line, "datoms").expect("datoms"));
    Db::from_datoms(nodes, schema, datoms)
}

/// The databases of `bases.jsonl` by name, checked against what their lines say of them.
pub(crate) fn bases() -> HashMap<String, Db> {
    let mut bases = HashMap::new();
    for line in lines("bases.jsonl") {
        let name = line["base"].as_str().expect("a name").to_owned();
        let db = base(&line);
        assert_eq!(db.count() as u64, number(&line, "count"), "{name}");
        assert_eq!(db.tree(Index::Avet).expect("in memory").count() as u64, number(&line, "avet_count"), "{name}");
        assert_state(&db, &line, &name);
        bases.insert(name, db);
    }
    bases
}

/// Compares counters and indexes with the fields of a line.
pub(crate) fn assert_state(db: &Db, line: &Json, what: &str) {
    assert_state_with(db, &Ghosts::default(), line, what);
}

/// Datoms that the reference has left in AVET: those retracted while their attribute was not indexed, after it had been.
/// Ours takes them out, so that they are not found when the attribute is indexed again (datascript.md 8.3).
#[derive(Default)]
pub(crate) struct Ghosts(Vec<Datom>);

impl Ghosts {
    /// Takes in what a transaction on `before` did.
    pub(crate) fn note(&mut self, before: &Db, tx_data: &[Datom]) {
        for gone in tx_data.iter().filter(|datom| !datom.added && !before.flags(datom.a).is_indexed()) {
            let pattern = Pattern::eav(gone.e, gone.a, &gone.v);
            self.0.extend(before.datoms(Index::Avet, &pattern).map(|datom| datom.expect("in memory")));
        }
    }
}

/// The same, where the reference's AVET holds ghosts.
pub(crate) fn assert_state_with(db: &Db, ghosts: &Ghosts, line: &Json, what: &str) {
    assert_eq!(u64::from(db.max_eid()), number(line, "max_eid"), "max-eid of {what}");
    assert_eq!(u64::from(db.max_tx()), number(line, "max_tx"), "max-tx of {what}");
    for (index, field) in [(Index::Eavt, "eavt_sha256"), (Index::Aevt, "aevt_sha256"), (Index::Avet, "avet_sha256")] {
        let ghosts = if index == Index::Avet { ghosts.0.as_slice() } else { &[] };
        assert_eq!(sha256(db, index, ghosts), line[field].as_str().expect("a hash"), "{field} of {what}");
    }
}

/// SHA-256 over the transit of `[e a v tx]` and a line feed for each datom in index order, `more` included.
pub(crate) fn sha256(db: &Db, index: Index, more: &[Datom]) -> String {
    let mut hash = Sha256::new();
    let mut text = String::new();
    let mut datoms: Vec<Datom> =
        db.datoms(index, &Pattern::default()).map(|datom| datom.expect("a datom in memory")).collect();
    if !more.is_empty() {
        datoms.extend_from_slice(more);
        let ranks = db.attrs().ranks();
        datoms.sort_by(|a, b| index.compare(a, b, &ranks));
    }
    for datom in datoms {
        text.clear();
        let fields =
            [Value::from(datom.e), Value::Keyword(db.attrs().keyword(datom.a)), datom.v.clone(), Value::from(datom.tx)];
        transit::write_to(&Value::vector(fields), &mut text);
        text.push('\n');
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
