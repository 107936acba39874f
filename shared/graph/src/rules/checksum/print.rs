//! Values as ClojureScript prints them: what the digest is fed for values that no well-behaved client stores.

use datascript::Value;
use transit::number;

/// The text of a value within a collection. Strings are quoted there; entries keep their order, where the reference
/// implementation goes by hash in collections of more than eight.
pub(super) fn print(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(_) | Value::Float(_) => number::write_js(out, value.as_f64().unwrap_or_default()),
        Value::String(text) => quote(text, out),
        Value::Keyword(keyword) => {
            out.push(':');
            out.push_str(keyword.as_str());
        }
        Value::Symbol(symbol) => out.push_str(symbol.as_str()),
        Value::Uuid(uuid) => {
            out.push_str("#uuid \"");
            out.push_str(uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
            out.push('"');
        }
        Value::Vector(items) => sequence("[", items, "]", out),
        Value::List(items) => sequence("(", items, ")", out),
        Value::Set(items) => sequence("#{", items, "}", out),
        Value::Map(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                print(key, out);
                out.push(' ');
                print(value, out);
            }
            out.push('}');
        }
        Value::Instant(_) | Value::Scalar(_) | Value::Tagged(_) => out.push_str(&transit::write_string(value)),
    }
}

fn sequence(open: &str, items: &[Value], close: &str, out: &mut String) {
    out.push_str(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        print(item, out);
    }
    out.push_str(close);
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections() {
        let mut text = String::new();
        let value = transit::read_str(r#"["^ ","~:a",[1,"x\"y",null,true],"b",["~#list",[1.5,"~$s"]]]"#).unwrap();
        print(&value, &mut text);
        assert_eq!(text, r#"{:a [1 "x\"y" nil true], "b" (1.5 s)}"#);
    }
}
