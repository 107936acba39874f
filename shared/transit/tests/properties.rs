//! Properties over random values. The seed is fixed, so that every run tries the same values; a failure is made as small as
//! it can be.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use transit::{CacheSnapshot, Keyword, Scalar, Symbol, Tagged, Value, Writer, read_str, write_string};
use uuid::Uuid;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn text() -> impl Strategy<Value = String> {
    let characters = ['a', 'b', '~', '^', '`', '#', ' ', '0', '"', '\\', '\n', '\u{1}', 'é', '中', '😀'];
    vec(select(characters.as_slice().to_vec()), 0..8).prop_map(String::from_iter)
}

/// Few different ones, so that the writer's cache has something to do, and some of many.
fn name() -> impl Strategy<Value = String> {
    let names = ["a", "ab", "block/uuid", "block/title", "db/add", "x/y/z", "中/文", "a\"b", ""];
    (select(names.as_slice().to_vec()), option::weighted(0.25, 0..3000)).prop_map(|(name, number)| match number {
        Some(number) => format!("{name}{number}"),
        None => name.to_owned(),
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    let floats = [0.5, -1e21, 1e-7, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
    let tagged = (select(vec!['n', 'r', 'b', 'X', '😀']), text());
    prop_oneof![
        1 => Just(Value::Nil),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => (0..5000_u32).prop_map(Value::from),
        1 => (0..2_i64).prop_map(|less| Value::Int(transit::MAX_SAFE_INTEGER - less)),
        1 => select(floats.to_vec()).prop_map(Value::number),
        1 => name().prop_map(|name| Value::Keyword(Keyword::new(&name))),
        1 => name().prop_map(|name| Value::Symbol(Symbol::new(&name))),
        1 => any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))),
        1 => (-500_000_000..500_000_000_i64).prop_map(Value::Instant),
        1 => tagged.prop_map(|(tag, rep)| Value::Scalar(Arc::new(Scalar { tag, rep: rep.into() }))),
        2 => text().prop_map(Value::from),
    ]
}

fn value(depth: u32) -> impl Strategy<Value = Value> {
    scalar().prop_recursive(depth, 60, 5, |inner| {
        let few = || prop_oneof![9 => vec(inner.clone(), 0..5), 1 => vec(inner.clone(), 0..30)];
        let tags = select(vec!["datascript/Datom", "error", "ab", "x"]);
        let entries = vec((prop_oneof![3 => scalar().boxed(), 1 => inner.clone().boxed()], inner.clone()), 0..8);
        prop_oneof![
            2 => few().prop_map(Value::vector),
            1 => few().prop_map(|items| Value::List(items.into())),
            1 => few().prop_map(|items| Value::Set(distinct(items, |item| item).into())),
            1 => (tags, inner.clone()).prop_map(|(tag, value)| tagged(tag, Value::vector([value]))),
            2 => entries.prop_map(|entries| Value::Map(distinct(entries, |(key, _)| key).into())),
        ]
    })
}

fn tagged(tag: &str, rep: Value) -> Value {
    Value::Tagged(Arc::new(Tagged { tag: tag.into(), rep }))
}

/// The first of those that are equal by key.
fn distinct<T>(items: Vec<T>, key: fn(&T) -> &Value) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        if !kept.iter().any(|other| key(other) == key(&item)) {
            kept.push(item);
        }
    }
    kept
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn what_is_written_is_read_again(value in value(6)) {
        let text = write_string(&value);
        let read = read_str(&text).expect("a text of our own");
        prop_assert_eq!(&read, &value, "{}", text);
        prop_assert_eq!(write_string(&read), &*text);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn equality_does_not_depend_on_order(
        (members, mut shuffled) in vec(value(4), 0..30).prop_flat_map(|items| {
            let members = distinct(items, |item| item);
            (Just(members.clone()), Just(members).prop_shuffle())
        })
    ) {
        prop_assert_eq!(Value::Set(members.clone().into()), Value::Set(shuffled.clone().into()));
        let map = |keys: &[Value]| Value::Map(keys.iter().map(|key| (key.clone(), key.clone())).collect());
        prop_assert_eq!(map(&members), map(&shuffled));
        if let Some(last) = shuffled.last_mut() {
            *last = Value::string("something that is not in it");
            prop_assert_ne!(Value::Set(members.into()), Value::Set(shuffled.into()));
        }
    }

    #[test]
    fn doubles_are_dropped_whatever_their_number(items in vec(value(2), 0..40)) {
        let mut expected: Vec<(Value, Value)> = Vec::new();
        for (item, place) in items.iter().zip(0_u32..) {
            match expected.iter_mut().find(|(key, _)| key == item) {
                Some((_, value)) => *value = place.into(),
                None => expected.push((item.clone(), place.into())),
            }
        }
        let flat = items.iter().zip(0_u32..).flat_map(|(item, place)| [item.clone(), place.into()]);
        let map = read_str(&write_string(&tagged("cmap", Value::vector(flat)))).expect("a map");
        let set = read_str(&write_string(&tagged("set", Value::vector(items.clone())))).expect("a set");
        let keys: Vec<Value> = expected.iter().map(|(key, _)| key.clone()).collect();
        prop_assert_eq!(map.as_map(), Some(expected.as_slice()));
        prop_assert_eq!(set.as_set(), Some(keys.as_slice()));
    }

    #[test]
    fn a_snapshot_goes_on_where_it_was_taken(first in value(4), second in value(4)) {
        let mut begun = String::new();
        let mut writer = Writer::new(&mut begun);
        writer.begin_map();
        writer.keyword("first");
        writer.value(&first);
        let snapshot: CacheSnapshot = writer.snapshot();
        let mut whole = begun.clone();
        let mut writer = Writer::resume(&mut whole, &snapshot);
        writer.keyword("second");
        writer.value(&second);
        writer.end_map();
        let map = Value::Map([(Value::keyword("first"), first), (Value::keyword("second"), second)].into());
        prop_assert_eq!(whole, write_string(&map));
    }

    #[test]
    fn cut_texts_are_read_or_refused(value in value(5), cuts in vec(any::<Index>(), 50)) {
        let text = write_string(&value);
        for cut in cuts {
            let end = text.floor_char_boundary(cut.index(text.len()));
            let cut = text.get(..end).expect("a boundary");
            prop_assert!(read_str(cut).is_err() || cut.parse::<f64>().is_ok(), "{}", cut);
        }
    }

    #[test]
    fn changed_texts_are_read_or_refused(value in value(5), changes in vec(vec(change(), 1..4), 50)) {
        let text = write_string(&value);
        for changes in changes {
            let mut bytes = text.clone().into_bytes();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                if let Some(changed) = bytes.get_mut(place) {
                    *changed = byte;
                }
            }
            if let Ok(value) = transit::read_slice(&bytes) {
                let once = write_string(&value);
                let again = read_str(&once).expect("what was written");
                prop_assert_eq!(write_string(&again), once);
            }
        }
    }
}

/// A place in a text, and the byte that comes to stand there.
fn change() -> impl Strategy<Value = (Index, u8)> {
    (any::<Index>(), select(b"\"\\[]{},:^~#0189 -.eu\xff".to_vec()))
}

#[test]
fn remembered_slots_and_used_memory_change_nothing() {
    let mut memory = CacheSnapshot::default();
    for round in 1..=10_usize {
        // More names than the cache has slots, so that it begins anew in between.
        let names: Vec<String> = (0..6000).map(|n| format!("n/{}", (n * n + round * n) % 2503)).collect();
        let mut plain = String::new();
        let mut writer = Writer::new(&mut plain);
        writer.begin_vector();
        for name in &names {
            writer.keyword(name);
        }
        writer.end_vector();

        let mut text = String::new();
        let mut slots = HashMap::new();
        let mut writer = Writer::in_memory_of(&mut text, memory);
        writer.begin_vector();
        for name in &names {
            if !slots.get(name).is_some_and(|slot| writer.keyword_at(*slot)) {
                slots.insert(name, writer.keyword_with_slot(name).expect("long enough"));
            }
        }
        writer.end_vector();
        memory = writer.into_memory();
        assert_eq!(text, plain, "round {round}");
    }
}
