//! Small graphs, and items of transaction data in short.

use std::rc::Rc;

use datascript::{Attrs, Db, Eid, Index, Keyword, Nodes, Pattern, Report, Value};
use graph::rules::attrs::{BLOCK_UUID, PRESET};
use graph::rules::{Facts, Op, Scope, checksum, deletion, normalise, prepare, sanitise, static_schema};

pub(crate) fn kw(text: &str) -> Value {
    Value::Keyword(Keyword::new(text))
}

/// The uuid of a small number.
pub(crate) fn uuid(n: u64) -> Value {
    Value::Uuid(uuid_text(n).parse().expect("a uuid"))
}

pub(crate) fn uuid_text(n: u64) -> String {
    format!("00000000-0000-0000-0000-{n:012x}")
}

/// `[:block/uuid …]`
pub(crate) fn at(n: u64) -> Value {
    Value::vector([kw("block/uuid"), uuid(n)])
}

pub(crate) fn add(e: impl Into<Value>, a: &str, v: impl Into<Value>) -> Value {
    Value::vector([kw("db/add"), e.into(), kw(a), v.into()])
}

pub(crate) fn retract(e: impl Into<Value>, a: &str, v: impl Into<Value>) -> Value {
    Value::vector([kw("db/retract"), e.into(), kw(a), v.into()])
}

pub(crate) fn retract_entity(e: impl Into<Value>) -> Value {
    Value::vector([kw("db/retractEntity"), e.into()])
}

pub(crate) fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(key, value)| (kw(key), value.clone())).collect())
}

/// A block as a map item.
pub(crate) fn block(n: u64, parent: u64, page: u64, title: &str) -> Value {
    map(&[
        ("block/uuid", uuid(n)),
        ("block/title", title.into()),
        ("block/parent", at(parent)),
        ("block/page", at(page)),
        ("block/order", format!("a{}", n % 10).as_str().into()),
        ("block/created-at", 1.into()),
        ("block/updated-at", 1.into()),
    ])
}

/// A page as a map item; it is one by its name.
pub(crate) fn page(n: u64, title: &str) -> Value {
    map(&[("block/uuid", uuid(n)), ("block/name", title.to_lowercase().as_str().into()), ("block/title", title.into())])
}

/// A database without anything but the static schema.
pub(crate) fn empty() -> Db {
    let attrs = Attrs::new(PRESET);
    let nodes = Rc::new(Nodes::new(None, Rc::clone(&attrs), usize::MAX));
    Db::empty(nodes, static_schema(attrs))
}

pub(crate) fn with(db: &Db, items: &[Value]) -> Report {
    datascript::with(db, items).expect("a transaction")
}

/// The database after some transactions.
pub(crate) fn after(db: &Db, transactions: &[&[Value]]) -> Db {
    transactions.iter().fold(db.clone(), |db, items| with(&db, items).db_after)
}

/// Page 1 with block 2, which has block 3, which has block 4; and block 5.
pub(crate) fn sample() -> Db {
    after(
        &empty(),
        &[
            &[page(1, "Page A")],
            &[block(2, 1, 1, "Hello")],
            &[block(3, 2, 1, "Parent"), block(5, 1, 1, "Last")],
            &[block(4, 3, 1, "Child")],
        ],
    )
}

pub(crate) fn eid(db: &Db, n: u64) -> Option<Eid> {
    db.lookup(BLOCK_UUID, &uuid(n)).expect("a readable database")
}

pub(crate) fn normalised(report: &Report) -> Vec<Value> {
    try_normalised(report).expect("a transaction that can be told").items
}

pub(crate) fn try_normalised(report: &Report) -> Result<normalise::Log, graph::rules::Error> {
    let mut facts = Facts::default();
    let mut scope = facts.scope(&report.tx_data);
    normalise::normalise(report, &mut scope)
}

/// What a client's entry does, without validation.
pub(crate) fn apply(db: &Db, op: &str, items: &[Value]) -> Report {
    let op = Some(Op::parse(op));
    let items = sanitise::sanitise(db, op, items.to_vec()).expect("a readable database");
    let mut items = prepare::prepare(db, op, items).expect("a readable database");
    items.extend(deletion::deletion_cleanup(db, &items).expect("a readable database"));
    with(db, &items)
}

pub(crate) fn full(db: &Db) -> String {
    checksum::full(db).expect("a readable database").to_string()
}

/// The checksum after a transaction, from its datoms and from its items, which must agree where they tell everything.
pub(crate) fn updated(previous: Option<&str>, report: &Report) -> Option<String> {
    let items = try_normalised(report).map(|log| log.items).unwrap_or_default();
    let sum = from_datoms(previous, report);
    if !items.is_empty() {
        assert_eq!(sum, follow(previous, report, checksum::Changes::Items(&items)), "{items:?}");
    }
    sum
}

/// The checksum after a transaction, from its datoms.
pub(crate) fn from_datoms(previous: Option<&str>, report: &Report) -> Option<String> {
    follow(previous, report, checksum::Changes::Datoms(&report.tx_data))
}

fn follow(previous: Option<&str>, report: &Report, changes: checksum::Changes<'_>) -> Option<String> {
    let mut facts = Facts::default();
    let mut scope = facts.scope(&report.tx_data);
    carried(previous, &report.db_before, &report.db_after, changes, &mut scope)
}

/// The checksum carried on from one value to another.
pub(crate) fn carried(
    previous: Option<&str>,
    before: &Db,
    after: &Db,
    changes: checksum::Changes<'_>,
    scope: &mut Scope<'_>,
) -> Option<String> {
    let mut references = checksum::MAX_REFERENCES;
    match checksum::follow(previous, before, after, changes, scope, &mut references).expect("readable databases") {
        checksum::Update::None => previous.map(str::to_owned),
        checksum::Update::Sum(sum) => Some(sum.to_string()),
        checksum::Update::Anew => Some(full(after)),
    }
}

/// Everything there is to know about entities with a uuid, with references as uuids: equal for copies of a graph.
pub(crate) fn state(db: &Db) -> Vec<String> {
    let mut state = Vec::new();
    for holder in db.datoms(Index::Avet, &Pattern::a(BLOCK_UUID)) {
        let holder = holder.expect("a datom");
        for datom in db.datoms(Index::Eavt, &Pattern::e(holder.e)) {
            let datom = datom.expect("a datom");
            let target = datascript::as_eid(&datom.v).filter(|_| db.flags(datom.a).is_ref());
            let v = match target {
                Some(target) => db.value(target, BLOCK_UUID).expect("a readable database").unwrap_or_default(),
                None => datom.v,
            };
            state.push(format!("{:?} {} {v:?}", holder.v, db.attrs().keyword(datom.a)));
        }
    }
    state.sort();
    state
}

/// Numbers that look random, from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
