//! Reading vectors, building their databases, hashing indexes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use datascript::{Attrs, Datom, Db, Index, Keyword, Nodes, Pattern, Schema, Storage, Value};
use graph::rules::attrs::PRESET;
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

/// A datom list `[[e a v tx] …]`.
pub(crate) fn datoms(attrs: &Attrs, list: &Value) -> Vec<Datom> {
    let list = list.as_seq().expect("a list of datoms");
    list.iter()
        .map(|datom| {
            let fields = datom.as_seq().expect("a datom");
            let id = |at: usize| u32::try_from(fields[at].as_int().expect("an id")).expect("an id in range");
            let attr = attrs.intern(fields[1].as_keyword().expect("an attribute"));
            Datom { e: id(0), a: attr, v: fields[2].clone(), tx: id(3), added: true }
        })
        .collect()
}

/// A database of `bases.jsonl`, in memory.
pub(crate) fn base(line: &Json) -> Db {
    base_over(line, None)
}

/// The same with a row store to write it to.
pub(crate) fn base_over(line: &Json, storage: Option<Rc<dyn Storage>>) -> Db {
    let attrs = Attrs::new(PRESET);
    let nodes = Rc::new(Nodes::new(storage, Rc::clone(&attrs), usize::MAX));
    let schema = Schema::from_value(Rc::clone(&attrs), &transit(line, "schema").expect("a schema"));
    let datoms = datoms(&attrs, &transit(line, "datoms").expect("datoms"));
    Db::from_datoms(nodes, schema, datoms)
}

/// A datom that the reference has left in AVET: retracted while its attribute was not indexed, after it had been. Ours takes
/// it out, so that it is not found when the attribute is indexed again (datascript.md 8.3).
pub(crate) struct Ghost {
    e: u32,
    a: Keyword,
    v: Value,
    tx: u32,
}

/// Datoms in AVET that would become ghosts if they were retracted now.
pub(crate) fn possible_ghosts(db: &Db) -> Vec<Ghost> {
    let datoms = db.datoms(Index::Avet, &Pattern::ALL).map(|datom| datom.expect("a datom"));
    let datoms = datoms.filter(|datom| !db.flags(datom.a).is_indexed());
    datoms.map(|datom| Ghost { e: datom.e, a: db.attrs().keyword(datom.a), v: datom.v, tx: datom.tx }).collect()
}

impl Ghost {
    fn datom(&self, db: &Db) -> Datom {
        Datom::new(self.e, db.attrs().intern(&self.a), self.v.clone(), self.tx)
    }

    /// Whether it is no fact any more.
    pub(crate) fn is_gone(&self, db: &Db) -> bool {
        let Datom { e, a, v, tx, .. } = self.datom(db);
        let pattern = Pattern { tx: Some(tx), ..Pattern::eav(e, a, &v) };
        db.first(Index::Eavt, &pattern).expect("readable").is_none()
    }
}

/// SHA-256 over the transit of `[e a v tx]` and a line feed for each datom in index order, `ghosts` included.
pub(crate) fn sha256(db: &Db, index: Index, ghosts: &[Ghost]) -> String {
    let mut hash = Sha256::new();
    let mut text = String::new();
    let mut datoms: Vec<Datom> = db.datoms(index, &Pattern::default()).map(|datom| datom.expect("a datom")).collect();
    if !ghosts.is_empty() {
        datoms.extend(ghosts.iter().map(|ghost| ghost.datom(db)));
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
