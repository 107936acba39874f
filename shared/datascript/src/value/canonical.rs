//! One text of bytes for all spellings of a value.

use transit::Value;

/// The canonical bytes of a value: the same for two values exactly if an index holds them for one value. Vectors and lists
/// of the same elements are, collections without order in whatever order they were given, and NaN and NaN.
///
/// Costs the size of the value for each level of sets and maps in it, of which Transit bounds the number.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.push(0),
        Value::Bool(value) => out.extend([1, u8::from(*value)]),
        Value::Int(number) => fixed(2, number.to_be_bytes(), out),
        Value::Float(number) => {
            let number = if number.is_nan() { f64::NAN } else { *number };
            fixed(3, number.to_bits().to_be_bytes(), out);
        }
        Value::String(text) => named(4, text, out),
        Value::Keyword(keyword) => named(5, keyword.as_str(), out),
        Value::Symbol(symbol) => named(6, symbol.as_str(), out),
        Value::Uuid(uuid) => fixed(7, *uuid.as_bytes(), out),
        Value::Instant(ms) => fixed(8, ms.to_be_bytes(), out),
        Value::Scalar(scalar) => {
            fixed(9, u32::from(scalar.tag).to_be_bytes(), out);
            named(9, &scalar.rep, out);
        }
        Value::Tagged(tagged) => {
            named(10, &tagged.tag, out);
            write(&tagged.rep, out);
        }
        Value::Vector(items) | Value::List(items) => {
            length(11, items.len(), out);
            for item in items.iter() {
                write(item, out);
            }
        }
        Value::Set(members) => unordered(12, members, write, out),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value), out: &mut Vec<u8>| {
                write(key, out);
                write(value, out);
            };
            unordered(13, entries, entry, out);
        }
    }
}

fn fixed<const N: usize>(kind: u8, bytes: [u8; N], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(bytes);
}

fn length(kind: u8, length: usize, out: &mut Vec<u8>) {
    fixed(kind, (length as u64).to_be_bytes(), out);
}

fn named(kind: u8, text: &str, out: &mut Vec<u8>) {
    length(kind, text.len(), out);
    out.extend(text.as_bytes());
}

/// Entries in the order of their own bytes. No entry's bytes are the beginning of another's.
fn unordered<T>(kind: u8, entries: &[T], write: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    length(kind, entries.len(), out);
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(entries.len());
    for entry in entries {
        write(entry, &mut bytes);
        ends.push(bytes.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let mut parts: Vec<&[u8]> = starts.zip(&ends).filter_map(|(start, end)| bytes.get(start..*end)).collect();
    parts.sort_unstable();
    for part in parts {
        out.extend(part);
    }
}
