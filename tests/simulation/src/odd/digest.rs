//! A digest of facts that another program can compute (`tests/reader/odd-rows.mjs` does).

use std::fmt::Write as _;

use datascript::Value;

use super::facts::Fact;

/// Two sums over the facts, in any order.
pub(crate) fn digest(facts: &[Fact]) -> String {
    let (mut f, mut d) = (0_u32, 0_u32);
    let mut text = String::new();
    for fact in facts {
        text.clear();
        // Writing to a string does not fail.
        let _ = write!(text, "{} ", fact.e);
        sized(&mut text, "k", fact.a.as_str());
        text.push(' ');
        canonical(&mut text, &fact.v);
        let _ = write!(text, " {}", fact.tx);
        let (mut h, mut k) = (2_166_136_261_u32, 5381_u32);
        for unit in text.encode_utf16() {
            h = (h ^ u32::from(unit)).wrapping_mul(16_777_619);
            k = k.wrapping_mul(33).wrapping_add(u32::from(unit));
        }
        (f, d) = (f.wrapping_add(h), d.wrapping_add(k));
    }
    format!("{f:x}-{d:x}")
}

/// The same text for equal values, whatever the order of sets and maps; different types give different texts.
fn canonical(out: &mut String, value: &Value) {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(_) | Value::Float(_) => {
            out.push('n');
            transit::number::write_js(out, value.as_f64().unwrap_or_default());
        }
        Value::String(text) => sized(out, "s", text),
        Value::Keyword(keyword) => sized(out, "k", keyword.as_str()),
        Value::Symbol(symbol) => sized(out, "y", symbol.as_str()),
        Value::Uuid(uuid) => sized(out, "u", &uuid.hyphenated().to_string()),
        Value::Instant(ms) => {
            let _ = write!(out, "m{ms}");
        }
        Value::Vector(items) => joined(out, "[", &texts(items), "]"),
        Value::List(items) => joined(out, "(", &texts(items), ")"),
        Value::Set(items) => joined(out, "#{", &sorted(texts(items)), "}"),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{} {}", text(key), text(value)));
            joined(out, "{", &sorted(entries.collect()), "}");
        }
        Value::Scalar(scalar) if scalar.tag == 'u' => sized(out, "u", &scalar.rep),
        Value::Scalar(scalar) => sized(out, &format!("t{}", scalar.tag), &scalar.rep),
        Value::Tagged(tagged) => {
            let _ = write!(out, "#{} ", tagged.tag);
            canonical(out, &tagged.rep);
        }
    }
}

fn text(value: &Value) -> String {
    let mut out = String::new();
    canonical(&mut out, value);
    out
}

fn texts(items: &[Value]) -> Vec<String> {
    items.iter().map(text).collect()
}

/// By UTF-16 units, as JavaScript sorts.
fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    texts
}

fn joined(out: &mut String, open: &str, texts: &[String], close: &str) {
    out.push_str(open);
    out.push_str(&texts.join(","));
    out.push_str(close);
}

fn sized(out: &mut String, mark: &str, text: &str) {
    let _ = write!(out, "{mark}{}:{text}", text.encode_utf16().count());
}
