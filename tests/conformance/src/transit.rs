//! Transit texts as plain JSON: cache codes are replaced by what they stand for (datascript.md 2).

use serde_json::Value;

/// Slots of the cache; when all are used, it starts again from the first.
const SLOTS: usize = 44 * 44;

/// The value of a text, with every repeated text spelled out. Tags and maps stay the arrays that they are.
pub fn expand(text: &str) -> Value {
    let value = serde_json::from_str(text).expect("Transit is JSON");
    Reader::default().value(value, false)
}

#[derive(Default)]
struct Reader {
    cache: Vec<String>,
}

impl Reader {
    fn value(&mut self, value: Value, key: bool) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, key)),
            Value::Array(items) => {
                let is_map = items.first().is_some_and(|first| first == "^ ");
                let item = |(place, item)| {
                    let key = is_map && place % 2 == 1;
                    self.value(item, key)
                };
                Value::Array(items.into_iter().enumerate().map(item).collect())
            }
            other => other,
        }
    }

    fn text(&mut self, text: String, key: bool) -> String {
        if let Some(code) = text.strip_prefix('^').filter(|code| *code != " ") {
            return self.cache[number(code.as_bytes())].clone();
        }
        if text.chars().count() > 3 && (key || ["~:", "~$", "~#"].iter().any(|tag| text.starts_with(tag))) {
            if self.cache.len() == SLOTS {
                self.cache.clear();
            }
            self.cache.push(text.clone());
        }
        text
    }
}

fn number(code: &[u8]) -> usize {
    code.iter().fold(0, |number, digit| 44 * number + usize::from(digit - b'0'))
}

/// The value under a keyword of a map that is an array.
pub fn get<'a>(map: &'a Value, keyword: &str) -> Option<&'a Value> {
    let pairs = map.as_array()?.get(1..)?;
    pairs
        .chunks_exact(2)
        .find(|pair| pair[0].as_str().and_then(|key| key.strip_prefix("~:")) == Some(keyword))
        .map(|pair| &pair[1])
}
