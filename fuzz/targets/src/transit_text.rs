//! Transit texts: the reader, the writer, and the two readers compared with each other.

use std::sync::Arc;

use serde::de::IgnoredAny;
use transit::{ErrorKind, Keyword, Limits, ReadError, Reader, Scalar, Symbol, Token, Value};

use crate::Trace;

/// Pieces of Transit.
pub(crate) const DICTIONARY: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "[]",
    "[\"^ \"",
    "\"^0\"",
    "\"^1\"",
    "\"^10\"",
    "\"~:ab\"",
    "\"~:db/add\"",
    "\"~$ab\"",
    "[\"~#set\",[",
    "[\"~#list\",[",
    "[\"~#cmap\",[",
    "[\"~#'\",",
    "[\"~#ab\",",
    "[\"~#u\",\"",
    "[\"~#with-meta\",[",
    "[\"~#datascript/Datom\",[1,\"~:a\",2,536870913]]",
    "{\"~#set\":[",
    "\"~u66b8d8f0-0000-4000-8000-000000000001\"",
    "\"~m1\"",
    "\"~b!\"",
    "\"~bAAE=\"",
    "\"~bA\"",
    "\"~i\"",
    "\"~i1.5\"",
    "\"~i18446744073709551617\"",
    "\"~zfoo\"",
    "\"~dx\"",
    "\"~d1e400\"",
    "1e400",
    "\"~sx\"",
    "\"~t2020-01-02T03:04:05\"",
    "\"~mx\"",
    "[\"~#u\",5]",
    "[\"~#b\",\"!\"]",
    "[\"~#i\",null]",
    "[\"~#error\",[\"^ \",\"~:message\",\"m\",\"~:data\",null]]",
    "[\"~#js/Error\",5]",
    "[\"~#datascript/DB\",",
    "[\"~#datascript/Entity\",",
    "[\"~#toString\",",
    "[\"~#link\",",
    "\"__proto__\"",
    "\"~i9007199254740993\"",
    "\"~d1.5\"",
    "\"~zNaN\"",
    "\"~z-INF\"",
    "\"~t2020-01-02T03:04:05.678Z\"",
    "\"~?t\"",
    "\"~_\"",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\u0000",
    "\\\"",
    "\\\\",
    "null",
    "true",
    "false",
    "1e21",
    "-0.0",
    "é",
    "😀",
    "\"~~",
    "\"~^",
    "\"~`",
];

/// The tree reader and the token reader accept and refuse the same texts. A text that is read is JSON, and reads as the
/// same value after it was written again. Tighter limits only refuse more.
pub fn transit(data: &[u8]) -> Trace {
    let text = match str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => {
            let refused = transit::read_slice(data).err();
            assert_eq!(refused, Some(ReadError { kind: ErrorKind::InvalidUtf8, offset: error.valid_up_to() }));
            return Trace::default();
        }
    };
    let tree = transit::read_str(text);
    check_tokens(text, &tree);
    check_limits(text, &tree);
    check_strict(text, &tree);
    match tree {
        Ok(value) => {
            check_json(text);
            check_writing(&value)
        }
        Err(error) => {
            assert!(error.offset <= text.len(), "{error} in {} bytes", text.len());
            Trace::default().step(error.kind as u64 + 1).amount(error.offset)
        }
    }
}

/// A text that is read is JSON for another parser too.
fn check_json(text: &str) {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        // The other parser has a tighter limit on depth.
        assert!(error.to_string().starts_with("recursion limit exceeded"), "read, but not JSON: {error}");
    }
}

fn check_writing(value: &Value) -> Trace {
    let written = transit::write_string(value);
    check_json(&written);
    let read = transit::read_str(&written);
    let Ok(read) = read else { panic!("written, but not read: {read:?}: {written}") };
    let mut shape = Shape::default();
    shape.add(value);
    assert_eq!(transit::write_string(&read), written, "written otherwise");
    assert!(same(&read, value), "read as {read:?}, was {value:?}");
    assert_eq!(read == *value, !shape.has_nan, "{read:?} against {value:?}");
    shape.trace
}

/// What is in a value.
#[derive(Default)]
struct Shape {
    has_nan: bool,
    trace: Trace,
}

impl Shape {
    fn add(&mut self, value: &Value) {
        let kind = match value {
            Value::Nil => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(number) => {
                self.has_nan |= number.is_nan();
                3
            }
            Value::String(_) => 4,
            Value::Keyword(_) => 5,
            Value::Symbol(_) => 6,
            Value::Uuid(_) => 7,
            Value::Instant(_) => 8,
            Value::Scalar(_) => 9,
            Value::Vector(_) => 10,
            Value::List(_) => 11,
            Value::Set(_) => 12,
            Value::Map(_) => 13,
            Value::Tagged(_) => 14,
        };
        self.trace = self.trace.step(kind);
        match value {
            Value::Vector(items) | Value::List(items) | Value::Set(items) => {
                self.trace = self.trace.amount(items.len());
                items.iter().for_each(|item| self.add(item));
            }
            Value::Map(entries) => {
                self.trace = self.trace.amount(entries.len());
                for (key, value) in entries.iter() {
                    self.add(key);
                    self.add(value);
                }
            }
            Value::Tagged(tagged) => self.add(&tagged.rep),
            _ => {}
        }
    }
}

/// Equality that also tells lists from vectors, counts NaN as equal to itself, and compares the order, which writing
/// keeps.
fn same(a: &Value, b: &Value) -> bool {
    let all = |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b));
    match (a, b) {
        (Value::Vector(a), Value::Vector(b)) | (Value::List(a), Value::List(b)) | (Value::Set(a), Value::Set(b)) => {
            all(a, b)
        }
        (Value::Vector(_) | Value::List(_), _) => false,
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        (Value::Tagged(a), Value::Tagged(b)) => a.tag == b.tag && same(&a.rep, &b.rep),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        _ => a == b,
    }
}

/// A text that is read with a client's limits is refused or gives the same value. That value is written so that it can
/// be read with these limits again, and the depth of the written text was predicted.
fn check_strict(text: &str, tree: &Result<Value, ReadError>) {
    let Ok(strict) = transit::read_with(text, Limits::CLIENT) else { return };
    match tree {
        Ok(lenient) => assert!(same(&strict, lenient), "{strict:?} strictly, else {lenient:?}"),
        Err(error) => panic!("{strict:?} strictly, else {error}"),
    }
    let written = transit::write_string(&strict);
    assert_eq!(strict.written_depth().max(usize::from(written.starts_with('['))), depth(&written), "{written}");
    // Repeats by cache codes count more in a shorter text, so the limit may be passed.
    let again = transit::read_with(&written, Limits { max_repeats: 1000, ..Limits::CLIENT });
    match again {
        Ok(again) => assert!(same(&strict, &again), "{again:?} again, was {strict:?}"),
        Err(error) => panic!("{written}, written of a client's, is not one: {error}"),
    }
}

/// How deep the arrays of a JSON text are nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// Tighter limits refuse the text, or give the same value.
fn check_limits(text: &str, tree: &Result<Value, ReadError>) {
    for limits in [
        Limits { max_depth: 3, ..Limits::STORED },
        Limits { max_values: 5, ..Limits::STORED },
        Limits { max_bytes: 20, ..Limits::STORED },
        Limits { max_repeats: 0, ..Limits::STORED },
    ] {
        match (transit::read_with(text, limits), tree) {
            (Ok(tight), Ok(wide)) => assert!(same(&tight, wide), "{tight:?} within {limits:?}, else {wide:?}"),
            (Ok(tight), Err(error)) => panic!("{tight:?} within {limits:?}, else {error}"),
            (Err(tight), Ok(_)) => {
                let by_limit =
                    matches!(tight.kind, ErrorKind::TooDeep | ErrorKind::TooManyValues | ErrorKind::TooLarge);
                assert!(by_limit, "{tight} within {limits:?}, else a value");
            }
            (Err(_), Err(_)) => {}
        }
    }
    if text.len() > 20 {
        let short = Limits { max_bytes: 20, ..Limits::STORED };
        assert_eq!(transit::read_with(text, short).map_err(|error| error.kind).err(), Some(ErrorKind::TooLarge));
    }
}

/// The tokens give the same value as the tree reader, or end in the same error.
fn check_tokens(text: &str, tree: &Result<Value, ReadError>) {
    let mut reader = Reader::new(text);
    let built = build_next(&mut reader).and_then(|value| reader.finish().map(|()| value).map_err(Stop::Error));
    match (built, tree) {
        (Ok(built), Ok(tree)) => assert!(same(&built, tree), "tokens give {built:?}, the tree is {tree:?}"),
        (Ok(built), Err(error)) => panic!("tokens give {built:?}, the tree {error}"),
        // A wrong shape may be found before or after another error.
        (Err(_), Err(error)) if error.kind == ErrorKind::WrongShape => {}
        (Err(Stop::Error(ours)), Err(error)) => assert_eq!(ours, *error),
        (Err(Stop::Shape), Err(error)) => panic!("tokens give a wrong shape, the tree {error}"),
        (Err(_), Ok(tree)) => panic!("tokens give an error, the tree {tree:?}"),
    }
    let mut reader = Reader::new(text);
    let skipped = reader.skip_value();
    assert!(skipped == Ok(true) || tree.is_err());
}

enum Stop {
    Error(ReadError),
    /// The payload of a tag is not what the tag needs.
    Shape,
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

fn build_next(reader: &mut Reader<'_>) -> Result<Value, Stop> {
    match reader.next()? {
        Some(token) => build(reader, &token),
        None => panic!("the outermost value has no token"),
    }
}

/// The simplest way from tokens to values.
fn build(reader: &mut Reader<'_>, token: &Token<'_>) -> Result<Value, Stop> {
    Ok(match token {
        Token::Nil => Value::Nil,
        Token::Bool(value) => Value::Bool(*value),
        Token::Int(value) => Value::Int(*value),
        Token::Float(value) => Value::number(*value),
        Token::Uuid(value) => Value::Uuid(*value),
        Token::Instant(value) => Value::Instant(*value),
        Token::String(text) => Value::string(text),
        Token::Keyword(text) => Value::Keyword(Keyword::new(text)),
        Token::Symbol(text) => Value::Symbol(Symbol::new(text)),
        Token::Scalar { tag, rep } => Value::Scalar(Arc::new(Scalar { tag: *tag, rep: rep.as_str().into() })),
        Token::ArrayStart => Value::vector(items(reader, &Token::ArrayEnd)?),
        Token::MapStart => Value::Map(distinct(pairs(items(reader, &Token::MapEnd)?)?)),
        Token::TagStart(tag) => {
            let rep = tagged_items(reader, tag)?;
            match reader.next()? {
                Some(Token::TagEnd) => rep,
                other => panic!("a tagged value ends with {other:?}"),
            }
        }
        Token::ArrayEnd | Token::MapEnd | Token::TagEnd => panic!("a value begins with {token:?}"),
    })
}

fn items(reader: &mut Reader<'_>, end: &Token<'_>) -> Result<Vec<Value>, Stop> {
    let mut items = Vec::new();
    loop {
        match reader.next()? {
            Some(token) if token == *end => return Ok(items),
            Some(token) => items.push(build(reader, &token)?),
            None => panic!("the text ends within a collection"),
        }
    }
}

fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>, Stop> {
    let mut pairs = Vec::new();
    let mut items = items.into_iter();
    while let Some(key) = items.next() {
        pairs.push((key, items.next().ok_or(Stop::Shape)?));
    }
    Ok(pairs)
}

/// The last value of each key at the place of its first, found by looking at all others.
fn distinct(pairs: Vec<(Value, Value)>) -> Arc<[(Value, Value)]> {
    let mut entries: Vec<(Value, Value)> = Vec::new();
    for (key, value) in pairs {
        match entries.iter_mut().find(|(other, _)| equal_keys(other, &key)) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    entries.into()
}

/// Keys are compared as values, but NaN equals itself: so their written forms are compared.
fn equal_keys(a: &Value, b: &Value) -> bool {
    a == b || (transit::write_string(a) == transit::write_string(b) && same(a, b))
}

/// The value under a tag that has a meaning, by way of its array; any other tagged value.
fn tagged_items(reader: &mut Reader<'_>, tag: &str) -> Result<Value, Stop> {
    let array = |reader: &mut Reader<'_>| match reader.next()? {
        Some(Token::ArrayStart) => items(reader, &Token::ArrayEnd),
        _ => Err(Stop::Shape),
    };
    Ok(match tag {
        "list" => Value::List(array(reader)?.into()),
        "set" => {
            let members = array(reader)?.into_iter().map(|member| (member, Value::Nil)).collect();
            Value::Set(distinct(members).iter().map(|(member, _)| member.clone()).collect())
        }
        "cmap" => Value::Map(distinct(pairs(array(reader)?)?)),
        "with-meta" => {
            let Some(Token::ArrayStart) = reader.next()? else { return Err(Stop::Shape) };
            let value = match reader.next()? {
                Some(token) if token != Token::ArrayEnd => build(reader, &token)?,
                _ => return Err(Stop::Shape),
            };
            // The metadata is not looked at.
            if !reader.skip_value()? || reader.next()? != Some(Token::ArrayEnd) {
                return Err(Stop::Shape);
            }
            value
        }
        "datascript/Entity" => build_next(reader)?,
        tag => opaque(tag, build_next(reader)?),
    })
}

/// A tag without a meaning; the long form of a scalar, whose tag is one UTF-16 unit, is read as the short one.
fn opaque(tag: &str, rep: Value) -> Value {
    if let (1, Value::String(text)) = (tag.encode_utf16().count(), &rep)
        && !matches!(tag, "~" | "^" | "`" | "#")
    {
        let mut short = String::from("[");
        transit::json::write_str(&mut short, &format!("~{tag}{text}"));
        short.push(']');
        if let Ok(Value::Vector(items)) = transit::read_str(&short) {
            return items.first().cloned().unwrap_or_default();
        }
    }
    Value::Tagged(Arc::new(transit::Tagged { tag: tag.into(), rep }))
}
