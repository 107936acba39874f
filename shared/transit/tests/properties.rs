//! Properties over random values; `TRANSIT_SEED` repeats a run that failed.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;

use transit::{CacheSnapshot, Keyword, Scalar, Symbol, Tagged, Value, Writer, read_str, write_string};
use uuid::Uuid;

/// A small generator of random numbers (xorshift64*), so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.get(self.below(choices.len())).expect("within bounds")
    }

    fn text(&mut self) -> String {
        let length = self.below(8);
        (0..length)
            .map(|_| self.pick(&['a', 'b', '~', '^', '`', '#', ' ', '0', '"', '\\', '\n', '\u{1}', 'é', '中', '😀']))
            .collect()
    }

    fn name(&mut self) -> String {
        let name = self.pick(&["a", "ab", "block/uuid", "block/title", "db/add", "x/y/z", "中/文", "a\"b", ""]);
        if self.below(4) == 0 { format!("{name}{}", self.below(3000)) } else { name.to_owned() }
    }

    fn scalar(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Nil,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::from(u32::try_from(self.below(5000)).expect("small")),
            3 => Value::Int(transit::MAX_SAFE_INTEGER - i64::try_from(self.below(2)).expect("small")),
            4 => Value::number(self.pick(&[0.5, -1e21, 1e-7, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY])),
            5 => Value::Keyword(Keyword::new(&self.name())),
            6 => Value::Symbol(Symbol::new(&self.name())),
            7 => Value::Uuid(Uuid::from_u64_pair(self.next(), self.next())),
            8 => Value::Instant(i64::from(u32::try_from(self.below(1 << 30)).expect("30 bits")) - 500_000_000),
            9 => Value::Scalar(Arc::new(Scalar {
                tag: self.pick(&['n', 'r', 'b', 'X', '😀']),
                rep: self.text().into(),
            })),
            _ => Value::from(self.text()),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        if depth == 0 || self.below(3) == 0 {
            return self.scalar();
        }
        let length = if self.below(10) == 0 { self.below(30) } else { self.below(5) };
        match self.below(6) {
            0 | 1 => Value::vector((0..length).map(|_| self.value(depth - 1))),
            2 => Value::List((0..length).map(|_| self.value(depth - 1)).collect()),
            3 => Value::Set(self.distinct(length, depth).into()),
            4 => {
                let tag = self.pick(&["datascript/Datom", "error", "ab", "x"]);
                Value::Tagged(Arc::new(Tagged { tag: tag.into(), rep: Value::vector([self.value(depth - 1)]) }))
            }
            _ => {
                let plain = self.below(4) > 0;
                let keys = if plain { self.distinct(length, 1) } else { self.distinct(length, depth) };
                Value::Map(keys.into_iter().map(|key| (key, self.value(depth - 1))).collect())
            }
        }
    }

    fn distinct(&mut self, length: usize, depth: usize) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..length {
            let item = self.value(depth - 1);
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items
    }
}

fn each_random(cases: u64, check: impl Fn(u64, &mut Random)) {
    let fixed = std::env::var("TRANSIT_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = fixed.map_or(1..=cases, |seed: u64| seed..=seed);
    for seed in seeds {
        check(seed, &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    }
}

#[test]
fn what_is_written_is_read_again() {
    each_random(3000, |seed, random| {
        let value = random.value(6);
        let text = write_string(&value);
        let read = read_str(&text).unwrap_or_else(|error| unreachable!("seed {seed}: {error} in {text}"));
        assert_eq!(read, value, "seed {seed}: {text}");
        assert_eq!(write_string(&read), text, "seed {seed}");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    });
}

#[test]
fn equality_does_not_depend_on_order() {
    each_random(500, |seed, random| {
        let members = random.distinct(30, 4);
        let mut shuffled = members.clone();
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, random.below(place + 1));
        }
        assert_eq!(Value::Set(members.clone().into()), Value::Set(shuffled.clone().into()), "seed {seed}");
        let map = |keys: &[Value]| Value::Map(keys.iter().map(|key| (key.clone(), key.clone())).collect());
        assert_eq!(map(&members), map(&shuffled), "seed {seed}");
        if let Some(last) = shuffled.last_mut() {
            *last = Value::string("something that is not in it");
            assert_ne!(Value::Set(members.into()), Value::Set(shuffled.into()), "seed {seed}");
        }
    });
}

#[test]
fn doubles_are_dropped_whatever_their_number() {
    each_random(300, |seed, random| {
        let length = random.below(40);
        let items: Vec<Value> = (0..length).map(|_| random.value(2)).collect();
        let mut expected: Vec<(Value, Value)> = Vec::new();
        for (item, place) in items.iter().zip(0_u32..) {
            match expected.iter_mut().find(|(key, _)| key == item) {
                Some((_, value)) => *value = place.into(),
                None => expected.push((item.clone(), place.into())),
            }
        }
        let flat = items.iter().zip(0_u32..).flat_map(|(item, place)| [item.clone(), place.into()]);
        let tagged = |tag: &str, rep| write_string(&Value::Tagged(Arc::new(Tagged { tag: tag.into(), rep })));
        let map = read_str(&tagged("cmap", Value::vector(flat))).expect("a map");
        let set = read_str(&tagged("set", Value::vector(items.clone()))).expect("a set");
        let keys: Vec<Value> = expected.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(map.as_map(), Some(expected.as_slice()), "seed {seed}");
        assert_eq!(set.as_set(), Some(keys.as_slice()), "seed {seed}");
    });
}

#[test]
fn a_snapshot_goes_on_where_it_was_taken() {
    each_random(300, |seed, random| {
        let (first, second) = (random.value(4), random.value(4));
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
        assert_eq!(whole, write_string(&map), "seed {seed}");
    });
}

#[test]
fn remembered_slots_and_used_memory_change_nothing() {
    let mut memory = CacheSnapshot::default();
    for seed in 1..=10 {
        let mut random = Random(seed);
        // More names than the cache has slots, so that it begins anew in between.
        let names: Vec<String> = (0..6000).map(|_| format!("n/{}", random.below(2500))).collect();
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
        assert_eq!(text, plain, "seed {seed}");
    }
}

#[test]
fn cut_and_changed_texts_are_read_or_refused() {
    each_random(400, |seed, random| {
        let text = write_string(&random.value(5));
        for _ in 0..50 {
            let end = text.floor_char_boundary(random.below(text.len()));
            let cut = text.get(..end).expect("a boundary");
            assert!(read_str(cut).is_err() || cut.parse::<f64>().is_ok(), "seed {seed}: {cut}");
        }
        for _ in 0..50 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=random.below(3) {
                let place = random.below(bytes.len());
                let byte = random.pick(b"\"\\[]{},:^~#0189 -.eu\xff");
                if let Some(changed) = bytes.get_mut(place) {
                    *changed = byte;
                }
            }
            if let Ok(value) = transit::read_slice(&bytes) {
                let once = write_string(&value);
                let again = read_str(&once).expect("what was written");
                assert_eq!(write_string(&again), once, "seed {seed}");
            }
        }
    });
}
