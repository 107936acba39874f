//! `storage.jsonl`: rows written and read back, transaction by transaction.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::rc::Rc;

use datascript::{Addr, Attrs, Conn, Datom, Db, Index, Nodes, Row, Schema, Storage, StorageError, TX0, Value, with};
use golden_support::databases::{assert_state, number, transit};
use golden_support::{Ghosts, LeftOut, Tally, count_steps, dir, lines};
use serde_json::Value as Json;

/// The reference's transaction numbers go back when this case is opened again (DS-3).
const OLD_TX: &str = "restore-tail-old-tx";
const GOES_BACK: &str = "max-tx goes back in the reference";
const NO_STATE: &str = "no state was recorded";

type Rows = BTreeMap<Addr, (String, Option<String>)>;

/// The table `kvs`.
#[derive(Default)]
struct Kvs(RefCell<Rows>);

impl Storage for Kvs {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        let rows = self.0.borrow();
        let row = rows.get(&addr);
        Ok(row.map(|(content, addresses)| Row { addr, content: content.clone(), addresses: addresses.clone() }))
    }
}

/// One case with the rows of the reference beside ours.
struct Case {
    kvs: Rc<Kvs>,
    expected: Rows,
    schema: Value,
    budget: usize,
    conn: Option<Conn>,
}

impl Case {
    fn nodes(&self) -> (Rc<Nodes>, Schema) {
        let attrs = Attrs::new(&["db/ident"]);
        let schema = Schema::from_value(Rc::clone(&attrs), &self.schema);
        let storage: Rc<dyn Storage> = Rc::<Kvs>::clone(&self.kvs);
        (Rc::new(Nodes::new(Some(storage), attrs, self.budget)), schema)
    }

    fn open(&mut self) {
        let (nodes, schema) = self.nodes();
        let greatest = self.kvs.0.borrow().last_key_value().map_or(0, |(addr, _)| *addr);
        self.conn = Some(Conn::open(nodes, schema, greatest).expect("the rows open"));
    }

    fn step(&mut self, step: &Json) {
        match step["op"].as_str().expect("an op") {
            "create" | "restore" => self.open(),
            "from-datoms" => {
                let (nodes, schema) = self.nodes();
                let datoms = generate(step).iter().map(|item| datom(nodes.attrs(), item)).collect();
                self.conn = Some(Conn::create(Db::from_datoms(nodes, schema, datoms)));
            }
            "tx" => {
                let conn = self.conn.as_mut().expect("a connection");
                let report = with(conn.db(), &items(step)).expect("the transaction is good");
                conn.install(report);
            }
            "set-tail" => {
                let tail = step["tail"].as_str().expect("a tail").to_owned();
                self.expected.insert(1, (tail.clone(), None));
                self.kvs.0.borrow_mut().insert(1, (tail, None));
                return;
            }
            op => panic!("unknown op {op}"),
        }
        let writes = self.conn.as_mut().expect("a connection").take_writes().expect("nodes load");
        let mut kvs = self.kvs.0.borrow_mut();
        for row in writes.rows {
            kvs.insert(row.addr, (row.content, row.addresses));
        }
        for addr in writes.deleted {
            assert!(kvs.remove(&addr).is_some(), "deleted row {addr} is not there");
        }
    }
}

/// The items of a transaction step.
fn items(step: &Json) -> Vec<Value> {
    if let Some(tx) = transit(step, "tx") {
        return tx.as_seq().expect("items").to_vec();
    }
    if let Some(range) = step.get("retract_entities") {
        let at = |i: usize| range[i].as_u64().expect("a number");
        let retract = |e: u64| Value::vector([Value::keyword("db/retractEntity"), int(e)]);
        return (at(0)..=at(1)).step_by(usize::try_from(at(2)).expect("a step")).map(retract).collect();
    }
    generate(step)
}

fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).expect("a small number"))
}

/// The facts of `gen`.
fn generate(step: &Json) -> Vec<Value> {
    let at = |i: usize| step["gen"][i].as_u64().expect("a number");
    let mut items = Vec::new();
    for i in at(0)..=at(1) {
        let mut add = |attr: &str, v: Value| {
            items.push(Value::vector([Value::keyword("db/add"), int(i), Value::keyword(attr), v]));
        };
        let uuid = format!("[\"~#'\",\"~u66b8d8f0-0000-4000-8000-{i:012x}\"]");
        add("block/uuid", transit::read_str(&uuid).expect("a uuid"));
        add("block/title", Value::string(&format!("Block {i}")));
        add("block/order", Value::string(&format!("a{}", base36(i))));
        add("block/created-at", int(1_755_000_000_000 + 1000 * i));
        if i > 1 {
            add("block/page", int(1));
        }
    }
    items
}

/// Four digits to the base 36.
fn base36(mut number: u64) -> String {
    let mut digits = [b'0'; 4];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).expect("a digit")];
        number /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn datom(attrs: &Attrs, item: &Value) -> Datom {
    let fields = item.as_seq().expect("an item");
    let e = u32::try_from(fields[1].as_int().expect("an id")).expect("an id in range");
    Datom::new(e, attrs.intern(fields[2].as_keyword().expect("an attribute")), fields[3].clone(), TX0)
}

fn row(json: &Json) -> (Addr, (String, Option<String>)) {
    let addr = u32::try_from(json[0].as_u64().expect("an address")).expect("an address in range");
    (addr, (json[1].as_str().expect("a content").to_owned(), json[2].as_str().map(str::to_owned)))
}

/// Compares rows after parsing.
fn assert_rows(actual: &Rows, expected: &Rows, what: &str) {
    assert!(actual.keys().eq(expected.keys()), "addresses of {what}: {:?} {:?}", actual.keys(), expected.keys());
    for ((addr, (content, addresses)), (expected_content, expected_addresses)) in actual.iter().zip(expected.values()) {
        let parse = |text: &str| transit::read_str(text).expect("a row is Transit");
        assert_eq!(parse(content), parse(expected_content), "row {addr} of {what}");
        assert_eq!(addresses, expected_addresses, "addresses of row {addr} of {what}");
    }
}

fn schema() -> Value {
    let base = lines("bases.jsonl").into_iter().find(|line| line["base"] == "empty-logseq-schema");
    transit(&base.expect("the base"), "schema").expect("a schema")
}

/// The file with all rows at the end of a case, which a few cases have.
fn rows_file(id: &str) -> String {
    format!("storage-{id}.rows.jsonl.gz")
}

fn run(case: &Json, schema: &Value, budget: usize, tally: &mut Tally) {
    let id = case["id"].as_str().expect("an id");
    let full = case["mode"] == "full";
    let mut run = Case { kvs: Rc::default(), expected: Rows::new(), schema: schema.clone(), budget, conn: None };
    let mut goes_back = false;
    for (at, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let what = format!("{id} step {at}");
        goes_back |= id == OLD_TX && step["op"] == "restore";
        if goes_back {
            tally.leave_out(GOES_BACK, format!("{id} {at}"));
            continue;
        }
        run.step(step);
        for store in step["stores"].as_array().into_iter().flatten() {
            run.expected.extend(store["rows"].as_array().into_iter().flatten().map(row));
        }
        let Some(after) = step.get("after") else {
            tally.leave_out(NO_STATE, format!("{id} {at}"));
            continue;
        };
        let db = run.conn.as_ref().expect("a connection").db();
        assert_eq!(db.count() as u64, number(after, "count"), "count of {what}");
        assert_eq!(
            db.tree(Index::Avet).expect("in memory").count() as u64,
            number(after, "avet_count"),
            "count of AVET of {what}"
        );
        assert_state(db, &Ghosts::default(), after, &what);
        for addr in after["unreachable"].as_array().into_iter().flatten() {
            run.expected.remove(&u32::try_from(addr.as_u64().expect("an address")).expect("an address in range"));
        }
        if full {
            assert_rows(&run.kvs.0.borrow(), &run.expected, &what);
        }
        tally.check();
    }
    let path = dir().join(rows_file(id));
    if path.exists() {
        let file = std::fs::File::open(path).expect("the file opens");
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
        let mut expected: Rows =
            text.lines().map(|line| row(&serde_json::from_str(line).expect("a line is JSON"))).collect();
        let last = case["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
        for addr in last["after"]["unreachable"].as_array().into_iter().flatten() {
            expected.remove(&u32::try_from(addr.as_u64().expect("an address")).expect("an address in range"));
        }
        assert_rows(&run.kvs.0.borrow(), &expected, id);
    }
}

#[test]
fn rows_are_those_of_the_reference() {
    let schema = schema();
    let cases = lines("storage.jsonl");
    let files = dir().read_dir().expect("a folder").map(|file| file.expect("an entry").file_name());
    let files = files.filter(|name| name.to_string_lossy().ends_with(".rows.jsonl.gz")).count();
    let mut of_cases = Tally::default();
    for case in &cases {
        if dir().join(rows_file(case["id"].as_str().expect("an id"))).exists() {
            of_cases.check();
        }
    }
    of_cases.assert(files, 1, &[]);
    let mut tally = Tally::default();
    for case in &cases {
        run(case, &schema, Nodes::DEFAULT_BUDGET, &mut tally);
    }
    let goes_back = LeftOut::Named(&["restore-tail-old-tx 3 4"]);
    let no_state = LeftOut::Marked(&["s50k 1 2 3 4 6 7 8 9"]);
    tally.assert(count_steps(&cases), 271, &[(GOES_BACK, goes_back), (NO_STATE, no_state)]);
}

#[test]
fn a_cache_without_room_changes_nothing() {
    let schema = schema();
    let mut cases = lines("storage.jsonl");
    cases.retain(|case| case["mode"] == "full");
    let mut tally = Tally::default();
    for case in &cases {
        run(case, &schema, 1, &mut tally);
    }
    let goes_back = LeftOut::Named(&["restore-tail-old-tx 3 4"]);
    tally.assert(count_steps(&cases), 184, &[(GOES_BACK, goes_back), (NO_STATE, LeftOut::Marked(&[]))]);
}
