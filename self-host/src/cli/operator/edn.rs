//! EDN, as far as logs of upstream's server have it, read as the values that Transit has.

use transit::{Limits, Value};

/// Collections within each other.
const DEPTH: usize = 64;

/// A reader of one text.
struct Reader<'a> {
    rest: &'a str,
}

/// Reads one value; what follows it is left alone.
///
/// # Errors
/// Where the text stops being EDN, or is deeper than anything that is logged.
pub(super) fn read(text: &str) -> Result<Value, String> {
    Reader { rest: text }.value(DEPTH)
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        // A comma is white space.
        self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// A text up to what no name holds.
    fn token(&mut self) -> &'a str {
        let is_end = |c: char| c.is_whitespace() || ",()[]{}\"".contains(c);
        let (token, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        token
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("it is too deep")?;
        match self.next().ok_or("it ends too early")? {
            '"' => self.string().map(|text| Value::string(&text)),
            '[' => Ok(Value::vector(self.items(1, ']', depth)?)),
            '(' => Ok(Value::List(self.items(1, ')', depth)?.into())),
            '{' => {
                let items = self.items(1, '}', depth)?;
                let pairs = items.chunks(2).map(|pair| match pair {
                    [key, value] => Ok((key.clone(), value.clone())),
                    _ => Err("a map has a key without a value".to_owned()),
                });
                Ok(Value::Map(pairs.collect::<Result<_, _>>()?))
            }
            '#' if self.rest.starts_with("#{") => Ok(Value::Set(self.items(2, '}', depth)?.into())),
            '#' => {
                let tag = self.token();
                let value = self.value(depth)?;
                tagged(tag, &value)
            }
            ':' => {
                let name = self.token().trim_start_matches(':');
                Ok(Value::keyword(name))
            }
            _ => self.word(),
        }
    }

    fn items(&mut self, open: usize, close: char, depth: usize) -> Result<Vec<Value>, String> {
        self.skip(open);
        let mut items = Vec::new();
        // Each round takes something of the text.
        while self.next().ok_or("a collection is not closed")? != close {
            items.push(self.value(depth)?);
        }
        self.skip(1);
        Ok(items)
    }

    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\\' => text.push(match chars.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some('u') => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&digits, 16).map_err(|error| error.to_string())?;
                        // Half of a pair is what no text holds.
                        char::from_u32(code).unwrap_or('\u{fffd}')
                    }
                    Some(c) => c,
                    None => break,
                }),
                c => text.push(c),
            }
        }
        Err("a text is not closed".into())
    }

    fn word(&mut self) -> Result<Value, String> {
        match self.token() {
            "" => Err(format!("{:?} is out of place", self.rest.chars().next().unwrap_or_default())),
            "nil" => Ok(Value::Nil),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            word => {
                let number: f64 =
                    word.trim_end_matches(['N', 'M']).parse().map_err(|_| format!("{word:?} is no value"))?;
                Ok(Value::number(number))
            }
        }
    }
}

fn tagged(tag: &str, value: &Value) -> Result<Value, String> {
    let text = value.as_str().ok_or_else(|| format!("{tag} is followed by no text"))?;
    let as_transit = match tag {
        "#uuid" => format!("[\"~u{text}\"]"),
        "#inst" => format!("[\"~t{text}\"]"),
        _ => return Err(format!("{tag} is unknown")),
    };
    let read = transit::read_with(&as_transit, Limits::CLIENT).map_err(|error| error.to_string())?;
    read.as_vector().and_then(|items| items.first().cloned()).ok_or_else(|| format!("{tag} {text:?} is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_hold_is_read() {
        let text = r#" {:a/b "x\n\"\u00e4", :c [1 -2.5 nil true :k], :d #{(:e)} :u #uuid "66b8d8f0-0000-4000-8000-000000000001"} rest"#;
        let read = read(text).unwrap();
        assert_eq!(read.get("a/b").and_then(Value::as_str), Some("x\n\"ä"));
        let list = [Value::Int(1), Value::Float(-2.5), Value::Nil, Value::Bool(true), Value::keyword("k")];
        assert_eq!(read.get("c").and_then(Value::as_vector), Some(&list[..]));
        assert!(read.get("u").and_then(Value::as_uuid).is_some());
    }

    #[test]
    fn what_is_no_edn_is_refused_and_never_a_panic() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{:a}", "[1", "\"x", "]", "\"\\u12", "abc", "#uuid 1", "#x \"\"", "\"\\", &deep] {
            assert!(read(text).is_err(), "{text:.20}");
        }
    }
}
