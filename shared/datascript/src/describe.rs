//! Short texts of values for error messages.

use std::fmt::Write as _;

use transit::Value;

/// Greatest length of a description, in bytes, give or take one scalar.
const LIMIT: usize = 200;

/// An entity reference or operation as it is shown in error messages, cut to a bounded length.
pub(crate) fn describe(value: &Value) -> String {
    let mut out = String::new();
    write(value, 2, &mut out);
    out
}

fn write(value: &Value, depth: u32, out: &mut String) {
    if out.len() > LIMIT {
        return;
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Nil => write!(out, "nil"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{number}"),
        Value::String(text) => write!(out, "\"{}\"", clip(text)),
        Value::Keyword(keyword) => write!(out, ":{}", clip(keyword.as_str())),
        Value::Symbol(symbol) => write!(out, "{}", clip(symbol.as_str())),
        Value::Uuid(uuid) => write!(out, "#uuid \"{uuid}\""),
        Value::Instant(ms) => write!(out, "#inst {ms}"),
        Value::Vector(items) => return sequence(items, ('[', ']'), depth, out),
        Value::List(items) => return sequence(items, ('(', ')'), depth, out),
        Value::Set(_) => write!(out, "#{{…}}"),
        Value::Map(_) => write!(out, "{{…}}"),
        Value::Scalar(scalar) => write!(out, "#{} \"{}\"", scalar.tag, clip(&scalar.rep)),
        Value::Tagged(tagged) => write!(out, "#{} …", clip(&tagged.tag)),
    };
}

fn sequence(items: &[Value], (open, close): (char, char), depth: u32, out: &mut String) {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        if depth == 0 || out.len() > LIMIT {
            out.push('…');
            break;
        }
        write(item, depth - 1, out);
    }
    out.push(close);
}

fn clip(text: &str) -> &str {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= 100).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}
