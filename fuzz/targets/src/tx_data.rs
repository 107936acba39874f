//! Transaction data: a line with the name of an operation, which may be empty, then a Transit text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Datom, Db, Flags, Index, Pattern, Report, Row};
use graph::rules::checksum::{self, Changes};
use graph::rules::{self, Facts, Op, deletion, normalise, prepare, sanitise, validate};
use graph::{Answer, Graph, Options};
use protocol::{TxBatch, TxEntry};
use transit::{Limits, Value};

use crate::indexes::{self, Contents};
use crate::{Trace, base};

/// Pieces of transactions.
pub(crate) const DICTIONARY: &[&str] = &[
    "[",
    "]",
    ",",
    "\"",
    "[\"~:db/add\",",
    "[\"~:db/retract\",",
    "[\"~:db/retractEntity\",",
    "[\"~:db.fn/retractAttribute\",",
    "[\"~:db/cas\",",
    "[\"~:db.fn/call\",",
    "\"~:db/id\"",
    "\"~:db/ident\"",
    "\"~:db/current-tx\"",
    "\"~:db/valueType\"",
    "\"~:db.type/ref\"",
    "\"~:db/cardinality\"",
    "\"~:db.cardinality/many\"",
    "\"~:db/unique\"",
    "\"~:db.unique/identity\"",
    "\"~:db/isComponent\"",
    "\"~:db/index\"",
    "\"~:block/uuid\"",
    "\"~:block/title\"",
    "\"~:block/name\"",
    "\"~:block/parent\"",
    "\"~:block/page\"",
    "\"~:block/order\"",
    "\"~:block/tags\"",
    "\"~:block/refs\"",
    "\"~:block/_parent\"",
    "\"~:block/link\"",
    "\"~:block/created-at\"",
    "\"~:block/updated-at\"",
    "\"~:logseq.class/Page\"",
    "\"~:logseq.class/Tag\"",
    "\"~:logseq.class/Property\"",
    "\"~:logseq.property/created-by-ref\"",
    "\"~:logseq.property/type\"",
    "\"~:kv/value\"",
    "\"~:user.property/x\"",
    "[\"~:block/uuid\",\"~u00000000-0000-4000-8000-000000000002\"]",
    "\"~u66b8d8f0-0000-4000-8000-000000000001\"",
    "\"66b8d8f0-0000-4000-8000-000000000001\"",
    "[\"^ \",",
    "[\"~#list\",[",
    "[\"~#set\",[",
    "-1",
    "1",
    "2",
    "536870912",
    "536870914",
    "2147483647",
    "2147483648",
    "null",
    "true",
    "\"\"",
    "\"a\"",
    "\"~m1\"",
    "\"~zNaN\"",
    "\"~b!\"",
    "\"~bAAE=\"",
    "\"~i\"",
    "\"~i9007199254740993\"",
    "1e400",
    "[\"~#u\",5]",
    "[\"~#cmap\",[[1],",
    "[\"~#point\",",
    "[[[[[[[[[[",
    "]]]]]]]]]]",
    "1.5",
    "delete-blocks\n",
    "delete-page\n",
    "rebase\n",
    "fix\n",
    "db-migrate\n",
    "save-block\n",
];

/// A database never drops attribute names. With this many the database is loaded again.
const MAX_ATTRS: usize = 20_000;

thread_local! {
    static BASE: RefCell<Option<(Db, Contents)>> = const { RefCell::new(None) };
    static BARE: Vec<Row> = base::rows(base::load("bare"));
}

/// A transaction is refused and changes nothing. Or it is accepted, and then: all indexes agree; exactly the reported
/// datoms come and go; the updated checksum equals that of the whole graph; its log row has the same effect when
/// replayed; and the graph reopened from storage equals the one in memory.
pub fn tx_data(data: &[u8]) -> Trace {
    let Ok(text) = str::from_utf8(data) else { return Trace::default() };
    let (op, tx) = text.split_once('\n').unwrap_or(("", text));
    let op = Some(op).filter(|op| !op.is_empty());
    let trace = BASE.with_borrow_mut(|base| {
        if base.as_ref().is_none_or(|(db, _)| db.attrs().len() > MAX_ATTRS) {
            let db = base::load("logseq-tiny");
            let contents = indexes::check(&db).unwrap_or_else(|error| panic!("the base: {error}"));
            *base = Some((db, contents));
        }
        let Some((db, contents)) = base else { return Trace::default() };
        let (trace, transacted) = by_rules(db, op.map(Op::parse), tx);
        if transacted {
            assert_eq!(readable(indexes::check(db)), *contents, "the value before has changed");
        }
        trace
    });
    trace.step(by_graph(op, tx))
}

/// A database in memory can always be read.
fn readable<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("a database in memory cannot be read: {error}"))
}

/// Applies the rules one by one over a database with Logseq's own entities; gives whether the transaction took place.
fn by_rules(db: &Db, op: Option<Op>, tx: &str) -> (Trace, bool) {
    let trace = Trace::default();
    let Ok(value) = transit::read_with(tx, Limits::CLIENT) else { return (trace, false) };
    let Some(items) = value.as_seq() else { return (trace.step(1), false) };
    let Ok(items) = sanitise::sanitise(db, op, items.to_vec()) else { return (trace.step(2), false) };
    let Ok(mut items) = prepare::prepare(db, op, items) else { return (trace.step(3), false) };
    match deletion::deletion_cleanup(db, &items) {
        Ok(cleanup) => items.extend(cleanup),
        Err(_) => return (trace.step(4), false),
    }
    match datascript::with(db, &items) {
        Ok(report) => (check(&report, trace), true),
        Err(datascript::Error::Transact(refusal)) => (trace.step(5 + refusal.kind as u64), true),
        Err(error) => panic!("a database in memory fails: {error}"),
    }
}

/// Checks that hold for every transaction that the transactor accepted.
fn check(report: &Report, trace: Trace) -> Trace {
    let (before, after, datoms) = (&report.db_before, &report.db_after, &report.tx_data);
    readable(indexes::check(after));
    if !datoms.iter().any(|datom| has_nan(&datom.v)) {
        check_changes(before, after, datoms);
    }

    let mut facts = Facts::default();
    let mut scope = facts.scope(datoms);
    let judged = validate::validate(before, after, datoms, &mut scope);
    let trace = trace.step(100 + u64::from(judged.is_ok())).amount(datoms.len());
    let trace = datoms.iter().take(12).fold(trace, |trace, datom| {
        let flags = after.flags(datom.a);
        let [is_ref, is_many, is_unique] =
            [Flags::REF, Flags::MANY, Flags::UNIQUE_IDENTITY].map(|flag| flags.contains(flag));
        let bits = [datom.added, is_ref, is_many, is_unique, datom.e == 1, datom.v.is_stringable()];
        trace.step(bits.into_iter().fold(1, |sum, bit| sum * 2 + u64::from(bit)))
    });
    match judged {
        Ok(()) => {}
        Err(rules::Error::Invalid(_) | rules::Error::PageParent) => return trace,
        Err(error) => panic!("a database in memory fails: {error}"),
    }
    let logged = match normalise::normalise(report, &mut scope) {
        Ok(logged) => logged,
        Err(rules::Error::NothingFound(_) | rules::Error::Nameless(_) | rules::Error::Untold(_)) => {
            return trace.step(200);
        }
        Err(error) => panic!("a database in memory fails: {error}"),
    };
    let whole = readable(checksum::full(after));
    let first = readable(checksum::full(before)).to_string();
    let mut carried = |form: &str, changes| {
        let mut references = checksum::MAX_REFERENCES;
        let carried = checksum::follow(Some(&first), before, after, changes, &mut scope, &mut references);
        let carried = match readable(carried) {
            checksum::Update::None => first.clone(),
            checksum::Update::Sum(sum) => sum.to_string(),
            checksum::Update::Anew => whole.to_string(),
        };
        assert_eq!(
            carried,
            whole.to_string(),
            "the checksum carried on by the {form}, and the whole; logged {logged:?}"
        );
    };
    carried("datoms", Changes::Datoms(datoms));
    // Items that the log cannot tell are left out and the entry is applied again.
    if logged.untold.is_empty() {
        carried("log", Changes::Items(&logged.items));
        replay(before, after, &logged.items);
    }
    trace
}

/// NaN is found in the place of any other number and is unequal to itself, within a collection as well.
fn has_nan(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_nan(),
        Value::Vector(items) | Value::List(items) | Value::Set(items) => items.iter().any(has_nan),
        Value::Map(entries) => entries.iter().any(|(key, value)| has_nan(key) || has_nan(value)),
        Value::Tagged(tagged) => has_nan(&tagged.rep),
        _ => false,
    }
}

/// After a transaction each fact that it mentions is present or absent, as its last mention says; no other fact comes
/// or goes. (A fact may be retracted twice: a fact that refers to its own entity is, when that entity is retracted.)
fn check_changes(before: &Db, after: &Db, datoms: &[Datom]) {
    let last: HashMap<_, _> =
        datoms.iter().map(|datom| ((datom.e, datom.a, transit::write_string(&datom.v)), datom)).collect();
    let has =
        |db: &Db, datom: &Datom| readable(db.first(Index::Eavt, &Pattern::eav(datom.e, datom.a, &datom.v))).is_some();
    let mut count = before.count();
    for datom in last.values() {
        assert_eq!(has(after, datom), datom.added, "{datom:?}");
        count = count + usize::from(datom.added) - usize::from(has(before, datom));
    }
    assert_eq!(count, after.count(), "{datoms:?}");
}

/// The log row can be read, and applying it gives the same graph.
fn replay(before: &Db, after: &Db, logged: &[Value]) {
    let text = transit::write_string(&Value::vector(logged.iter().cloned()));
    let Ok(read) = transit::read_str(&text) else { panic!("the log cannot be read: {text}") };
    let report = match datascript::with_value(before, &read) {
        Ok(report) => report,
        Err(error) => panic!("the log cannot be replayed: {error}: {text}"),
    };
    let sums = [after, &report.db_after].map(|db| readable(checksum::full(db)).to_string());
    let [here, there] = sums;
    assert_eq!(here, there, "the log leads elsewhere: {text}");
}

/// A batch over a small graph in SQLite, from message to storage.
fn by_graph(op: Option<&str>, tx: &str) -> u64 {
    let sql = Rc::new(readable(Rusqlite::in_memory()));
    let mut graph = open(&sql);
    readable(graph.is_uploading());
    BARE.with(|rows| rows.iter().for_each(|row| insert(&sql, row)));
    let mut graph = open(&sql);
    let before = state(&mut graph);
    let entry = TxEntry { tx: tx.into(), tx_id: None, outliner_op: op.map(Into::into) };
    let batch = TxBatch { t_before: 0, txs: vec![entry], client_revision: None };
    let outcome = readable(graph.tx_batch(batch));
    if let Some(failure) = outcome.failure {
        panic!("nothing was stored: {failure}");
    }
    let after = state(&mut graph);
    // Transactions without effect count in memory until the graph is reopened, but not in this state.
    assert_eq!(state(&mut open(&sql)), after, "reopened");
    match outcome.answer {
        Answer::Ok { t, checksum } => {
            assert_eq!((t, &checksum), (after.1, &after.2));
            if t > 0 {
                let whole = readable(checksum::full(readable(graph.db())));
                assert_eq!(checksum, Some(whole.to_string()), "the stored checksum and the whole");
            }
            1
        }
        Answer::Reject(_) => {
            assert_eq!(before, after, "a refused entry changed something");
            0
        }
    }
}

fn open(sql: &Rc<Rusqlite>) -> Graph<Rc<Rusqlite>> {
    Graph::new(Rc::clone(sql), || 0, Options::default())
}

fn insert(sql: &Rusqlite, row: &Row) {
    let params = [Param::Int(i64::from(row.addr)), Param::Text(&row.content), Param::opt(row.addresses.as_deref())];
    readable(sql.execute("INSERT INTO kvs (addr, content, addresses) VALUES (?, ?, ?)", &params));
}

/// Contents, counter, checksum and number of logged transactions.
fn state(graph: &mut Graph<Rc<Rusqlite>>) -> (Contents, i64, Option<String>, i64) {
    let position = readable(graph.position());
    let contents = readable(indexes::check(readable(graph.db())));
    let mut logged = 0;
    readable(graph.sql().query("SELECT count(*) FROM tx_log", &[], &mut |row| {
        logged = row.int(0)?.unwrap_or_default();
        Ok(ControlFlow::Continue(()))
    }));
    (contents, position.t, position.checksum, logged)
}
