//! Rows that are sound, damaged and useless.

use std::cell::Cell;
use std::rc::Rc;

use transit::{Limits, Value};

use super::{Damage, Rebuild, Repaired, Verify, rebuild};
use crate::attrs::{Attr, Attrs};
use crate::conn::Conn;
use crate::datom::{Datom, TX0};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::schema::Schema;
use crate::storage::{Addr, ROOT_ADDR, Row, Storage, StorageError, TAIL_ADDR};
use crate::testing::{MemoryStore, Rng, same};
use crate::tree::Tree;

const PRESET: [&str; 5] = ["db/ident", "title", "name", "tags", "new"];
const INDEXES: [Index; 3] = [Index::Eavt, Index::Aevt, Index::Avet];

fn schema(attrs: &Rc<Attrs>) -> Schema {
    let text = r#"["^ ","~:title",["^ ","~:db/index",true],"~:tags",["^ ","~:db/cardinality","~:db.cardinality/many",
        "~:db/index",true]]"#;
    Schema::from_value(Rc::clone(attrs), &transit::read_str(text).unwrap())
}

/// What becomes of the sorted facts of an index.
type Change<'f> = &'f dyn Fn(Index, &mut Vec<Datom>);
/// What becomes of the rows.
type Spoil<'f> = &'f dyn Fn(&MemoryStore);

/// Facts of so many entities.
fn facts(entities: u32) -> Vec<Datom> {
    let mut rng = Rng(7);
    let mut facts = Vec::new();
    for e in 1..=entities {
        for a in 1..5 {
            facts.push(Datom::new(e, Attr::new(a), Value::string(&format!("value {}", rng.small(5000))), TX0 + e));
        }
    }
    facts
}

/// Stores a database of which the trees hold what `change` makes of the sorted facts.
fn stored(facts: &[Datom], change: impl Fn(Index, &mut Vec<Datom>)) -> Rc<MemoryStore> {
    let store: Rc<MemoryStore> = Rc::default();
    let attrs = Attrs::new(&PRESET);
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(&store);
    let nodes = Rc::new(Nodes::new(Some(storage), Rc::clone(&attrs), usize::MAX));
    let (schema, ranks) = (schema(&attrs), attrs.ranks());
    let max_eid = facts.iter().map(|datom| datom.e).max().unwrap_or_default();
    let trees = INDEXES.map(|index| {
        let mut datoms = facts.to_vec();
        datoms.retain(|datom| index != Index::Avet || schema.flags(datom.a).is_indexed());
        datoms.sort_by(|a, b| index.compare(a, b, &ranks));
        change(index, &mut datoms);
        Tree::from_sorted(datoms)
    });
    let mut conn = Conn::create(Db::from_trees(nodes, schema, trees, max_eid, TX0 + 1));
    store.apply(conn.take_writes().unwrap());
    store
}

fn verify(store: &Rc<MemoryStore>) -> Result<Damage> {
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(store);
    let greatest = store.0.borrow().keys().next_back().copied().unwrap_or_default();
    let mut verify = Verify::new(storage, schema(&Attrs::new(&PRESET)), greatest.into(), Limits::CLIENT)?;
    while verify.step(10)? {}
    Ok(verify.damage())
}

fn repair(store: &Rc<MemoryStore>, damage: Damage) -> Repaired {
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(store);
    let greatest = store.0.borrow().keys().next_back().copied().unwrap_or_default();
    let repaired = rebuild(storage, Attrs::new(&PRESET), greatest, damage, &mut |writes| {
        store.apply(writes);
        Ok(())
    });
    repaired.unwrap()
}

fn all(store: &Rc<MemoryStore>) -> [Vec<Datom>; 3] {
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(store);
    let attrs = Attrs::new(&PRESET);
    let schema = schema(&attrs);
    let conn = Conn::open(Rc::new(Nodes::new(Some(storage), attrs, usize::MAX)), schema, 0).unwrap();
    INDEXES.map(|index| conn.db().datoms(index, &Pattern::ALL).collect::<Result<_>>().unwrap())
}

#[test]
fn sound_rows_have_no_damage() {
    for entities in [0, 1, 7, 200, 3000] {
        assert_eq!(verify(&stored(&facts(entities), |_, _| ())).unwrap(), Damage::default(), "{entities}");
    }
}

/// What searches with an old order of attributes have left behind, as far as it can be told apart.
#[test]
fn damaged_indexes_are_built_again() {
    let facts = facts(700);
    let late = |datom: &Datom| datom.a == Attr::new(4);
    let values = Damage { values: true, ..Damage::default() };
    let changes: [(&str, Damage, Change<'_>); 8] = [
        ("a new name read as the last one", Damage { facts: true, values: false }, &|index, datoms| {
            if index == Index::Aevt {
                let (mut others, misplaced): (Vec<_>, Vec<_>) = datoms.drain(..).partition(|datom| !late(datom));
                others.extend(misplaced);
                *datoms = others;
            }
        }),
        ("a few datoms at the end of their leaf", Damage { facts: true, values: false }, &|index, datoms| {
            if index == Index::Eavt {
                datoms.chunks_mut(24).step_by(9).for_each(|leaf| leaf.rotate_left(1));
            }
        }),
        ("neighbours in each other's place", Damage { facts: true, values: false }, &|index, datoms| {
            if index == Index::Aevt {
                datoms.swap(23, 24);
            }
        }),
        ("retracted facts that stayed in AEVT", Damage { facts: true, values: false }, &|index, datoms| {
            if index != Index::Aevt {
                datoms.retain(|datom| datom.e != 77 && datom.e != 500);
            }
        }),
        ("retracted facts that stayed in EAVT", Damage { facts: true, values: true }, &|index, datoms| {
            if index != Index::Eavt {
                datoms.retain(|datom| datom.e != 77 && datom.e != 500);
            }
        }),
        ("ghosts in AVET", values, &|index, datoms| {
            if index != Index::Avet {
                datoms.retain(|datom| datom.e != 77 && datom.e != 500);
            }
        }),
        ("values missing in AVET", values, &|index, datoms| {
            if index == Index::Avet {
                datoms.retain(|datom| datom.e != 12);
            }
        }),
        ("AVET out of order", values, &|index, datoms| {
            if index == Index::Avet {
                datoms.reverse();
            }
        }),
    ];
    for (what, damage, change) in changes {
        let store = stored(&facts, change);
        assert_eq!(verify(&store).unwrap(), damage, "{what}");
        let repaired = repair(&store, damage);
        assert_eq!(verify(&store).unwrap(), Damage::default(), "{what}");
        let gone = what.contains("retracted") || what.contains("ghosts");
        let expected: Vec<Datom> =
            facts.iter().filter(|datom| !gone || datom.e != 77 && datom.e != 500).cloned().collect();
        assert_eq!(repaired.facts, expected.len(), "{what}");
        assert_eq!(repaired.left_out, if what.contains("retracted") { 8 } else { 0 }, "{what}");
        let sound = all(&stored(&expected, |_, _| ()));
        for (found, sound) in all(&store).iter().zip(&sound) {
            assert!(found.len() == sound.len() && found.iter().zip(sound).all(|(a, b)| same(a, b)), "{what}");
        }
        // Nothing of the old trees is left.
        let nodes = store.0.borrow().len();
        assert!(nodes < facts.len(), "{what}: {nodes} rows");
    }
}

#[test]
fn replaced_values_beside_their_replacement_go() {
    let mut facts = facts(50);
    for e in [3, 9] {
        facts.push(Datom::new(e, Attr::new(1), Value::string("the new title"), TX0 + 900));
        facts.push(Datom::new(e, Attr::new(3), Value::string("one more tag"), TX0 + 900));
    }
    // The indexes agree on the two titles: only that they are out of order elsewhere tells.
    let store = stored(&facts, |index, datoms| {
        if index == Index::Aevt {
            datoms.swap(0, 1);
        }
    });
    let damage = verify(&store).unwrap();
    let repaired = repair(&store, damage);
    assert_eq!((repaired.facts, repaired.left_out), (facts.len() - 2, 2));
    let [eavt, ..] = all(&store);
    let of_three: Vec<_> = eavt.iter().filter(|datom| datom.e == 3 && datom.a == Attr::new(1)).collect();
    assert!(matches!(&of_three[..], [title] if title.v.as_str() == Some("the new title")));
    assert_eq!(eavt.iter().filter(|datom| datom.e == 3 && datom.a == Attr::new(3)).count(), 2);
}

#[test]
fn many_facts_are_rebuilt_in_parts() {
    let facts = facts(16_000);
    let store = stored(&facts, |index, datoms| {
        if index == Index::Aevt {
            datoms.swap(100, 40_000);
        }
    });
    let repaired = repair(&store, verify(&store).unwrap());
    assert_eq!((repaired.facts, repaired.left_out), (facts.len(), 0));
    assert_eq!(verify(&store).unwrap(), Damage::default());
}

/// Leaf by leaf, with others' turns in between: what there was stays as it was until the end.
#[test]
fn indexes_are_built_again_in_steps() {
    let facts = facts(3_000);
    for (what, retracted) in [("out of order", 0), ("retracted in part", 8)] {
        let store = stored(&facts, |index, datoms| match index {
            Index::Aevt => datoms.swap(100, 7_000),
            Index::Eavt if retracted > 0 => datoms.retain(|datom| datom.e != 77 && datom.e != 500),
            Index::Eavt | Index::Avet => {}
        });
        let before = store.0.borrow().clone();
        let damage = verify(&store).unwrap();
        let greatest = before.keys().next_back().copied().unwrap();
        let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(&store);
        let mut rebuild = Rebuild::new(storage, Attrs::new(&PRESET), greatest, damage).unwrap();
        let (mut steps, mut most) = (0, 0);
        loop {
            let mut written = 0;
            let more = rebuild.step(1, &mut |writes| {
                written += writes.rows.len();
                assert!(writes.rows.iter().all(|row| row.addr > greatest), "{what}");
                store.apply(writes);
                Ok(())
            });
            most = most.max(written);
            if !more.unwrap() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 3 * facts.len() / 32 && most < 2_500, "{what}: {steps} steps, {most} rows at most");
        assert!(before.iter().all(|(addr, row)| store.0.borrow().get(addr) == Some(row)), "{what}");
        let (writes, repaired) = rebuild.finish();
        store.apply(writes);
        assert_eq!((repaired.facts, repaired.left_out), (facts.len() - retracted, retracted), "{what}");
        assert_eq!(verify(&store).unwrap(), Damage::default(), "{what}");
        let nodes = store.0.borrow().len();
        assert!(nodes < facts.len() / 4, "{what}: {nodes} rows, nothing of the old trees is left");
    }
}

/// Counts the rows that are read.
#[derive(Default)]
struct Counting {
    store: Rc<MemoryStore>,
    loads: Cell<usize>,
}

impl Storage for Counting {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        self.loads.set(self.loads.get() + 1);
        self.store.load(addr)
    }
}

/// Each row is read a few times, however little of the tree fits into memory.
#[test]
fn looking_through_an_index_in_order_reads_each_row_about_once() {
    let facts = facts(8_000);
    let store = stored(&facts, |_, _| ());
    let counting = Rc::new(Counting { store: Rc::clone(&store), loads: Cell::default() });
    let storage: Rc<dyn Storage> = Rc::<Counting>::clone(&counting);
    let attrs = Attrs::new(&PRESET);
    let schema = schema(&attrs);
    // Less than the inner nodes take.
    let nodes = Rc::new(Nodes::new(Some(storage), attrs, 40_000));
    let conn = Conn::open(nodes, schema, 0).unwrap();
    for datom in &facts {
        let found = conn.db().datoms(Index::Eavt, &Pattern::eav(datom.e, datom.a, &datom.v)).next();
        assert!(found.unwrap().is_ok());
    }
    let (loads, rows) = (counting.loads.get(), store.0.borrow().len());
    assert!(loads < 2 * rows, "{loads} reads of {rows} rows");
}

fn edit(store: &MemoryStore, change: impl Fn(&mut Row) -> bool) {
    let mut rows = store.0.borrow_mut();
    assert!(rows.values_mut().filter(|row| row.addr > TAIL_ADDR).any(change), "nothing to change");
}

#[test]
fn rows_that_cannot_be_used_are_told() {
    let replace = |store: &MemoryStore, addr: u32, from: &str, to: &str| {
        let mut rows = store.0.borrow_mut();
        let row = rows.get_mut(&addr).unwrap();
        assert!(row.content.contains(from), "{from}: {}", row.content);
        row.content = row.content.replacen(from, to, 1);
    };
    let in_leaf = |store: &MemoryStore, from: &str, to: &str| {
        edit(store, |row| {
            let found = row.addresses.is_none() && row.content.contains(from);
            if found {
                row.content = row.content.replacen(from, to, 1);
            }
            found
        });
    };
    let keys = |count: usize| format!("[\"^ \",\"~:keys\",[{}]]", vec!["[1,\"~:a\",1,536870913]"; count].join(","));
    let useless: [(&str, Spoil<'_>); 23] = [
        ("a value that no client reads", &|store| in_leaf(store, "\"value ", "\"~b!\",\"")),
        ("no root", &|store| drop(store.0.borrow_mut().remove(&ROOT_ADDR))),
        ("no schema", &|store| replace(store, ROOT_ADDR, "~:schema", "~:shape")),
        ("max-eid at 2^31", &|store| replace(store, ROOT_ADDR, "\"~:max-eid\",500", "\"~:max-eid\",2147483648")),
        ("max-eid at the greatest id", &|store| {
            replace(store, ROOT_ADDR, "\"~:max-eid\",500", "\"~:max-eid\",536870911");
        }),
        ("max-tx at 2^31", &|store| replace(store, ROOT_ADDR, "\"~:max-tx\",536870913", "\"~:max-tx\",2147483648")),
        ("max-tx at the greatest id", &|store| {
            replace(store, ROOT_ADDR, "\"~:max-tx\",536870913", "\"~:max-tx\",2147483647");
        }),
        ("max-addr near 2^32", &|store| replace(store, ROOT_ADDR, "\"~:max-addr\",1", "\"~:max-addr\",429496729")),
        ("an address near 2^32", &|store| {
            let row = Row { addr: u32::MAX - 5, content: "[]".to_owned(), addresses: None };
            store.0.borrow_mut().insert(row.addr, row);
        }),
        ("a malformed tail", &|store| replace(store, TAIL_ADDR, "[]", "[[[1,\"~:a\"]]]")),
        ("a tail that is no list", &|store| replace(store, TAIL_ADDR, "[]", "{}")),
        ("an entity 0 in the tail", &|store| replace(store, TAIL_ADDR, "[]", "[[[0,\"~:a\",1,536870913]]]")),
        ("an emptied leaf", &|store| {
            edit(store, |row| {
                row.addresses.is_none() && {
                    row.content = keys(0);
                    true
                }
            });
        }),
        ("33 keys", &|store| {
            edit(store, |row| {
                row.addresses.is_none() && {
                    row.content = keys(33);
                    true
                }
            });
        }),
        ("no Transit", &|store| {
            edit(store, |row| {
                row.addresses.is_none() && {
                    row.content.pop();
                    true
                }
            });
        }),
        ("a missing leaf", &|store| {
            let leaf =
                store.0.borrow().values().find(|row| row.addr > 1 && row.addresses.is_none()).map(|row| row.addr);
            store.0.borrow_mut().remove(&leaf.unwrap());
        }),
        ("an inner node among leaves", &|store| {
            edit(store, |row| {
                row.addresses.is_none() && {
                    row.addresses = Some("[7]".to_owned());
                    true
                }
            });
        }),
        ("a leaf among inner nodes", &|store| edit(store, |row| row.addresses.take().is_some())),
        ("an entity beyond 2^32", &|store| in_leaf(store, "[[1,", "[[4294967297,")),
        ("an entity beyond 2^31", &|store| in_leaf(store, "[[1,", "[[2147483649,")),
        ("a retraction", &|store| in_leaf(store, ",536870913]", ",-536870913]")),
        ("a transaction 0", &|store| in_leaf(store, ",536870913]", ",0]")),
        ("no value", &|store| in_leaf(store, "\"value ", "null,\"")),
    ];
    for (what, change) in useless {
        let store = stored(&facts(500), |_, _| ());
        change(&store);
        assert!(matches!(verify(&store), Err(Error::Corrupt { .. })), "{what}");
    }
    // All inner nodes share their children, or lead to themselves.
    let store = stored(&facts(500), |_, _| ());
    for row in store.0.borrow_mut().values_mut() {
        if let Some(addresses) = &mut row.addresses {
            let count = addresses.split(',').count();
            *addresses = format!("[{}]", vec![row.addr.to_string(); count].join(","));
        }
    }
    assert!(matches!(verify(&store), Err(Error::Corrupt { .. })));
}

#[test]
fn a_count_that_is_wrong_is_damage() {
    let store = stored(&facts(100), |_, _| ());
    let mut rows = store.0.borrow_mut();
    let root = rows.get_mut(&ROOT_ADDR).unwrap();
    root.content = root.content.replacen("\"~:count\",400", "\"~:count\",401", 1);
    drop(rows);
    let damage = verify(&store).unwrap();
    assert!(damage.facts);
    repair(&store, damage);
    assert_eq!(verify(&store).unwrap(), Damage::default());
}
