//! Prints what writing and reading rows costs, with the rows in a map:
//! `cargo run --release -p datascript --example store_ops [datoms]`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use datascript::{
    Addr, Attr, Attrs, Conn, Datom, Db, Error, Index, Nodes, Pattern, Row, Schema, Storage, StorageError, TX0, Value,
    with,
};
use uuid::Uuid;

/// The table `kvs`, with a count of what was read.
#[derive(Default)]
struct Kvs {
    rows: RefCell<HashMap<Addr, Row>>,
    loads: Cell<u32>,
}

impl Storage for Kvs {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        self.loads.set(self.loads.get() + 1);
        Ok(self.rows.borrow().get(&addr).cloned())
    }
}

const ATTRS: [&str; 8] = [
    "db/ident",
    "block/uuid",
    "block/title",
    "block/order",
    "block/page",
    "block/parent",
    "block/created-at",
    "block/updated-at",
];
const SCHEMA: &str = r#"["^ ","~:block/uuid",["^ ","~:db/unique","~:db.unique/identity"],
    "~:block/title",["^ ","~:db/index",true],"~:block/order",["^ ","~:db/index",true],
    "~:block/page",["^ ","~:db/valueType","~:db.type/ref"],"~:block/parent",["^ ","~:db/valueType","~:db.type/ref"],
    "~:block/created-at",["^ ","~:db/index",true],"~:block/updated-at",["^ ","~:db/index",true]]"#;

fn value(e: u32, a: u32) -> Value {
    match a {
        1 => Value::Uuid(Uuid::from_u128(u128::from(e) * 0x9e37_79b9_7f4a_7c15)),
        2 => Value::string(&format!("The title of block {e}")),
        3 => Value::string(&format!("a{e:06}")),
        4 => Value::from(1),
        5 => Value::from(e / 20 + 1),
        _ => Value::Int(1_755_000_000_000 + i64::from(e)),
    }
}

fn report(what: &str, operations: u32, start: Instant) {
    println!("{what:<44} {:>9.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(operations.max(1)));
}

fn main() -> Result<(), Error> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(140_000_u32);
    let kvs = Rc::new(Kvs::default());
    let storage: Rc<dyn Storage> = Rc::<Kvs>::clone(&kvs);
    let attrs = Attrs::new(&ATTRS);
    let schema = transit::read_str(SCHEMA).unwrap_or_default();
    let schema = Schema::from_value(Rc::clone(&attrs), &schema);
    let nodes = Rc::new(Nodes::new(Some(storage), attrs, Nodes::DEFAULT_BUDGET));
    let datoms = (0..count).map(|i| Datom::new(i / 7 + 1, Attr::new(i % 7 + 1), value(i / 7 + 1, i % 7 + 1), TX0));
    let mut conn = Conn::create(Db::from_datoms(Rc::clone(&nodes), schema, datoms.collect()));

    let store = |conn: &mut Conn| -> Result<(u32, usize), Error> {
        let writes = conn.take_writes()?;
        let mut rows = kvs.rows.borrow_mut();
        let bytes = writes.rows.iter().map(|row| row.content.len()).sum();
        let count = writes.rows.len();
        rows.extend(writes.rows.into_iter().map(|row| (row.addr, row)));
        for addr in writes.deleted {
            rows.remove(&addr);
        }
        Ok((u32::try_from(count).unwrap_or_default(), bytes))
    };
    let start = Instant::now();
    let (rows, bytes) = store(&mut conn)?;
    report("first flush, a row", rows, start);
    println!("{rows} rows of {} bytes on average", bytes / usize::try_from(rows.max(1)).unwrap_or(1));

    let batches = 40;
    let mut e = count / 7 + 1;
    let mut written = 0;
    let (mut applying, mut storing) = (0.0, 0.0);
    let loads = kvs.loads.get();
    for _ in 0..batches {
        let start = Instant::now();
        for _ in 0..50 {
            e += 1;
            let add = |a: u32| {
                let attr = Value::keyword(ATTRS.get(a as usize).copied().unwrap_or_default());
                Value::vector([Value::keyword("db/add"), Value::from(e), attr, value(e, a)])
            };
            let items: Vec<Value> = (1..=7).map(add).collect();
            let report = with(conn.db(), &items)?;
            conn.install(report);
        }
        applying += start.elapsed().as_secs_f64();
        let start = Instant::now();
        written += store(&mut conn)?.0;
        storing += start.elapsed().as_secs_f64();
    }
    let transactions = f64::from(batches * 50);
    println!("batches of 50: {:.2} µs a transaction to apply", applying * 1e6 / transactions);
    println!("               {:.2} µs a transaction to encode and clean", storing * 1e6 / transactions);
    println!("               {} rows a batch, {} loads in all", written / batches, kvs.loads.get() - loads);
    println!("{} bytes cached", nodes.cached_bytes());

    nodes.clear();
    let loads = kvs.loads.get();
    let start = Instant::now();
    for index in [Index::Eavt, Index::Aevt, Index::Avet] {
        let mut slice = conn.db().datoms(index, &Pattern::ALL).scanning();
        while slice.next_ref()?.is_some() {}
    }
    report("scan of all three indexes, a row", kvs.loads.get() - loads, start);
    Ok(())
}
