//! The hash of ClojureScript 1.12 (datascript.md 3.2): Murmur3 over 32-bit wrapping arithmetic.

use std::cell::Cell;

use transit::Value;

thread_local! {
    /// Elements of collections hashed since the last call of [`take_hashed`]. To compare a map with a stored one hashes
    /// the stored one, however large: a comparison cannot return what it cost, so it is counted here.
    static HASHED: Cell<u64> = const { Cell::new(0) };
}

/// How many elements of collections were hashed since this was asked last.
#[inline]
pub(crate) fn take_hashed() -> u64 {
    HASHED.take()
}

fn note(count: i32) {
    HASHED.set(HASHED.get().saturating_add(count.unsigned_abs().into()));
}

/// Hash of a value; decides the index position of maps and sets. Opaque values hash as the string of their text.
pub fn hash(value: &Value) -> i32 {
    match value {
        Value::Nil => 0,
        Value::Bool(true) => 1231,
        Value::Bool(false) => 1237,
        Value::Int(number) => hash_integer(*number),
        Value::Float(number) => hash_float(*number),
        Value::String(text) => hash_string(text),
        Value::Keyword(keyword) => hash_named(keyword.namespace(), keyword.name()).wrapping_add(GOLDEN_RATIO),
        Value::Symbol(symbol) => hash_named(symbol.namespace(), symbol.name()),
        Value::Uuid(uuid) => hash_string(uuid.hyphenated().encode_lower(&mut [0; 36])),
        Value::Instant(ms) => truncate(*ms),
        Value::Vector(items) | Value::List(items) => hash_ordered(items.iter().map(hash)),
        Value::Set(members) => hash_unordered(members.iter().map(hash)),
        Value::Map(entries) => {
            hash_unordered(entries.iter().map(|(key, value)| hash_ordered([hash(key), hash(value)].into_iter())))
        }
        Value::Scalar(scalar) => hash_string(&scalar.rep),
        Value::Tagged(tagged) => combine(hash_string(&tagged.tag), hash(&tagged.rep)),
    }
}

/// 0x9e3779b9 as a signed number.
const GOLDEN_RATIO: i32 = 0x9e37_79b9_u32.cast_signed();

fn mix_key(key: i32) -> i32 {
    key.wrapping_mul(0xcc9e_2d51_u32.cast_signed()).rotate_left(15).wrapping_mul(0x1b87_3593)
}

fn mix_hash(hash: i32, key: i32) -> i32 {
    (hash ^ key).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64_u32.cast_signed())
}

fn finish(hash: i32, length: i32) -> i32 {
    let mut h = (hash ^ length).cast_unsigned();
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    h.cast_signed()
}

fn combine(seed: i32, hash: i32) -> i32 {
    seed ^ hash.wrapping_add(GOLDEN_RATIO).wrapping_add(seed.wrapping_shl(6)).wrapping_add(seed >> 2)
}

/// Java's `String.hashCode` over UTF-16 units.
fn hash_units(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |h, unit| h.wrapping_mul(31).wrapping_add(unit.into()))
}

fn hash_string(text: &str) -> i32 {
    match hash_units(text) {
        0 => 0,
        h => finish(mix_hash(0, mix_key(h)), 4),
    }
}

fn hash_chars(text: &str) -> i32 {
    let mut units = text.encode_utf16();
    let mut h = 0;
    let mut length = 0_i32;
    while let Some(first) = units.next() {
        let Some(second) = units.next() else {
            h ^= mix_key(first.into());
            length = length.wrapping_add(1);
            break;
        };
        h = mix_hash(h, mix_key(i32::from(first) | i32::from(second) << 16));
        length = length.wrapping_add(2);
    }
    finish(h, length.wrapping_mul(2))
}

fn hash_named(namespace: Option<&str>, name: &str) -> i32 {
    combine(hash_chars(name), namespace.map_or(0, hash_units))
}

fn hash_integer(number: i64) -> i32 {
    i32::try_from(number % 2_147_483_647).unwrap_or_default()
}

fn hash_float(number: f64) -> i32 {
    if number.is_nan() {
        return 2_146_959_360;
    }
    if number.is_infinite() {
        return if number > 0.0 { 2_146_435_072 } else { -1_048_576 };
    }
    // Each half of the little-endian bytes read as big-endian: the halves of the number with its bytes reversed.
    let bits = number.to_bits().swap_bytes();
    truncate((bits ^ (bits >> 32)).cast_signed())
}

/// The low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "they are what is asked for")]
fn truncate(number: i64) -> i32 {
    number as i32
}

fn hash_ordered(hashes: impl Iterator<Item = i32>) -> i32 {
    let (h, count) =
        hashes.fold((1_i32, 0_i32), |(h, count), item| (h.wrapping_mul(31).wrapping_add(item), count.wrapping_add(1)));
    note(count);
    finish(mix_hash(0, mix_key(h)), count)
}

fn hash_unordered(hashes: impl Iterator<Item = i32>) -> i32 {
    let (h, count) = hashes.fold((0_i32, 0_i32), |(h, count), item| (h.wrapping_add(item), count.wrapping_add(1)));
    note(count);
    finish(mix_hash(0, mix_key(h)), count)
}
