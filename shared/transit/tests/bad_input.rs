//! Input that no writer gives: typed errors, limits, and what is tolerated.

use transit::{ErrorKind, Limits, Reader, Token, Value, read_slice, read_str, read_with, write_string};

#[test]
fn errors_tell_kind_and_place() {
    use ErrorKind::*;
    for (text, kind, offset) in [
        ("", UnexpectedEnd, 0),
        (" \n", UnexpectedEnd, 2),
        ("[1,", UnexpectedEnd, 3),
        ("[1", UnexpectedEnd, 2),
        ("[", UnexpectedEnd, 1),
        ("[\"a", UnexpectedEnd, 3),
        ("nul", UnexpectedEnd, 0),
        ("nil", UnexpectedCharacter, 0),
        ("[1,]", UnexpectedCharacter, 3),
        ("[,1]", UnexpectedCharacter, 1),
        ("[1 2]", UnexpectedCharacter, 3),
        ("]", UnexpectedCharacter, 0),
        ("'a'", UnexpectedCharacter, 0),
        ("\u{feff}1", UnexpectedCharacter, 0),
        ("[1}", UnexpectedCharacter, 2),
        ("{1:2}", UnexpectedCharacter, 1),
        ("{\"a\"}", UnexpectedCharacter, 4),
        ("{\"a\":1,}", UnexpectedCharacter, 7),
        ("1 2", TrailingText, 2),
        ("[] x", TrailingText, 3),
        ("[\"\\x\"]", InvalidEscape, 2),
        ("[\"\\u00g0\"]", InvalidEscape, 2),
        ("[\"\t\"]", ControlCharacter, 2),
        ("01", InvalidNumber, 2),
        ("[1.]", InvalidNumber, 3),
        ("[-]", InvalidNumber, 2),
        ("[1e+]", InvalidNumber, 4),
        ("[1e400]", InvalidNumber, 6),
        ("[-1e400]", InvalidNumber, 7),
        ("[\"~d1e400\"]", InvalidNumber, 1),
        ("[\"^ \",\"~d-1e400\",1]", InvalidNumber, 6),
        ("+1", UnexpectedCharacter, 0),
        ("NaN", UnexpectedCharacter, 0),
        ("[\"^0\"]", UnknownCacheCode, 1),
        ("[\"^\"]", UnknownCacheCode, 1),
        ("[\"~:ab\",\"^1\"]", UnknownCacheCode, 8),
        ("[\"~:ab\",\"^0000\"]", UnknownCacheCode, 8),
        ("[\"~:ab\",\"^é\"]", UnknownCacheCode, 8),
        ("[[\"^ \",\"abcd\",1],\"^0\"]", MisplacedCacheCode, 17),
        ("[[\"^ \",\"~m1234\",1],[\"~#cmap\",[\"^0\",1]]]", MisplacedCacheCode, 30),
        ("[\"^ \",[1],2]", WrongShape, 6),
        ("[\"^ \",[\"~#set\",[1]],2]", WrongShape, 6),
        ("\"~#set\"", MisplacedTag, 0),
        ("[1,\"~#set\"]", MisplacedTag, 3),
        ("[\"~#set\"]", MisplacedTag, 8),
        ("[\"~#set\",[1],2]", MisplacedTag, 12),
        ("[\"^ \",\"~#set\",1]", MisplacedTag, 6),
        ("{\"~#set\":[1],\"b\":2}", MisplacedTag, 12),
        ("{\"a\":1,\"~#set\":[1]}", MisplacedTag, 7),
        ("[[\"~#set\",[]],1,\"^0\"]", MisplacedTag, 16),
        ("[\"~#set\",1]", WrongShape, 10),
        ("[\"~#set\",[\"^ \"]]", WrongShape, 14),
        ("[\"~#list\",null]", WrongShape, 14),
        ("[\"~#cmap\",[1]]", WrongShape, 13),
        ("[\"~#with-meta\",[1]]", WrongShape, 18),
        ("[\"~#with-meta\",[1,2,3]]", WrongShape, 21),
    ] {
        let error = read_str(text).expect_err(text);
        assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
    }
    assert_eq!(read_slice(b"[\"a\xff\"]").expect_err("not UTF-8").to_string(), "invalid UTF-8 at byte 3");
}

#[test]
fn tolerated_forms_read_like_the_ordinary_ones() {
    for (text, ordinary) in [
        (" [ 1 , 2 ] \n", "[1,2]"),
        ("[\"^ \",\"~:a\"]", "[\"^ \",\"~:a\",null]"),
        ("[\"^ \"]", "{}"),
        ("{\"~:a\": 1, \"b\": [1]}", "[\"^ \",\"~:a\",1,\"b\",[1]]"),
        ("{\"~#set\": [1, 2]}", "[\"~#set\",[1,2]]"),
        ("{\"~#'\": \"~:a\"}", "[\"~#'\",\"~:a\"]"),
        ("[\"\\u007e#set\",[1]]", "[\"~#set\",[1]]"),
        ("[\"~\\u0023set\",[1]]", "[\"~#set\",[1]]"),
        ("[\"\\u005e \",1,2]", "[\"^ \",1,2]"),
        ("[\"^\\u0020\",1,2]", "[\"^ \",1,2]"),
        ("[\"~\\u003aab\",\"^\\u0030\"]", "[\"~:ab\",\"^0\"]"),
        ("[\"^ x\",\"^ \"]", "[\"~^ x\",\"~^ \"]"),
        ("[\"~\"]", "[\"~~\"]"),
        ("[\"~u66B8D8F0-0000-4000-8000-00000000000A\"]", "[\"~u66b8d8f0-0000-4000-8000-00000000000a\"]"),
        ("[\"~uABC\"]", "[\"~uabc\"]"),
        ("[\"~t1970-01-01T00:00:00.001Z\"]", "[\"~m1\"]"),
        ("[[\"~#u\",\"66b8d8f0-0000-4000-8000-00000000000a\"]]", "[\"~u66b8d8f0-0000-4000-8000-00000000000a\"]"),
        ("[[\"~#m\",\"1\"],[\"~#:\",\"a/b\"]]", "[\"~m1\",\"~:a/b\"]"),
        ("[\"~i+007\",\"~i-0\",\"~i2.5\",\"~d2.5\",\"~d1e2\"]", "[7,0,2,2.5,100]"),
        ("[\"~i9007199254740992\"]", "[\"~i0009007199254740992\"]"),
        ("[\"~?t\",\"~?f\",\"~?x\",\"~_\",\"~_x\"]", "[true,false,false,null,null]"),
        ("[\"~cA\",\"~'x\"]", "[\"A\",\"x\"]"),
        ("[\"a\\ud800b\"]", "[\"a\u{fffd}b\"]"),
        ("[\"~#with-meta\",[[1],null]]", "[1]"),
        ("[\"~#datascript/Entity\",{\"~:db/id\":1}]", "{\"~:db/id\":1}"),
        (
            "[[\"~#set\",[1]],[\"^0\",[2,2]],[\"~#x\",1],[\"~#long\",1],[\"^1\",2]]",
            "[[\"~#set\",[1]],[\"~#set\",[2]],[\"~#x\",1],[\"~#long\",1],[\"~#long\",2]]",
        ),
        ("[\"^ \",\"abcd\",1,\"~i12\",2,\"~i123\",3]", "[\"^ \",\"abcd\",1,\"~i12\",2,\"~i123\",3]"),
        ("[[\"^ \",\"~i12\",1],[\"^ \",\"^0\",2]]", "[[\"^ \",\"~i12\",1],[\"^ \",\"~i12\",2]]"),
    ] {
        let value = read_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = read_str(ordinary).unwrap_or_else(|error| panic!("{ordinary}: {error}"));
        assert_eq!(write_string(&value), write_string(&expected), "{text}");
    }
}

#[test]
fn unknown_scalars_keep_their_text() {
    for text in
        ["~Xabc", "~zfoo", "~mnow", "~ix", "~dx", "~tsoon", "~😀x", "~bAAE=", "~rhttp://x", "~n1", "~f1.5", "~X"]
    {
        let array = format!("[\"{text}\"]");
        assert_eq!(write_string(&read_str(&array).expect(text)), array);
    }
}

#[test]
fn an_ordinary_array_of_two_does_not_disturb_the_cache() {
    let value = read_str(r#"[["~:foo/a",1],["^0",2],["key",["~:foo/b"]],["^1","^0"]]"#).expect("valid");
    let expected = r#"[["~:foo/a",1],["~:foo/a",2],["key",["~:foo/b"]],["~:foo/b","~:foo/a"]]"#;
    assert_eq!(value, read_str(expected).expect("valid"));
}

#[test]
fn strict_reading_tells_what_clients_refuse() {
    use ErrorKind::*;
    for (text, kind, offset) in [
        ("[\"~i\"]", InvalidNumber, 1),
        ("[\"~i18446744073709551617\"]", InvalidNumber, 1),
        ("[\"~i9007199254740993.5\"]", InvalidNumber, 1),
        ("[\"~dx\"]", InvalidNumber, 1),
        ("[\"~zfoo\"]", InvalidNumber, 1),
        ("[\"~mnow\"]", InvalidInstant, 1),
        ("[\"~m8640000000000001\"]", InvalidInstant, 1),
        ("[\"~t2020-01-02T03:04:05\"]", InvalidInstant, 1),
        ("[\"~b!\"]", InvalidBinary, 1),
        ("[\"^ \",\"~b!\",1]", InvalidBinary, 6),
        ("[\"~sx\"]", ReservedTag, 1),
        ("[\"~\"]", ReservedTag, 1),
        ("[\"~#__proto__\",1]", ReservedTag, 14),
        ("[\"^ \",\"__proto__\",1]", ReservedKey, 17),
        ("[[\"~#'\",1]]", MisplacedTag, 7),
        ("[\"~#'\",[1]]", MisplacedTag, 7),
        ("[\"~#u\",5]", WrongShape, 8),
        ("[\"~#error\",5]", WrongShape, 12),
        ("[\"~#datascript/Datom\",[1]]", WrongShape, 25),
    ] {
        assert!(read_str(text).is_ok(), "{text}");
        let error = read_with(text, Limits::CLIENT).expect_err(text);
        assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
    }
    for text in ["[\"~#'\",\"~i1.5\"]", "[\"~i1e+21\"]", "[\"~#with-meta\",[[1],null]]", "[\"~#link\",{\"a\":1}]"] {
        assert!(read_with(text, Limits::CLIENT).is_ok(), "{text}");
    }
}

#[test]
fn limits_hold() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (limits, depth) in [(Limits::CLIENT, 512), (Limits::STORED, 1024)] {
        assert!(read_with(&nested(depth), limits).is_ok());
        assert_eq!(read_with(&nested(depth + 1), limits).expect_err("too deep").kind, ErrorKind::TooDeep);
        let maps = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        assert!(read_with(&maps(depth), limits).is_ok());
        assert_eq!(read_with(&maps(depth + 1), limits).expect_err("too deep").kind, ErrorKind::TooDeep);
    }
    let unlimited = Limits { max_depth: usize::MAX, ..Limits::STORED };
    assert!(read_with(&nested(Limits::DEEPEST), unlimited).is_ok());
    assert_eq!(read_with(&nested(Limits::DEEPEST + 1), unlimited).expect_err("too deep").kind, ErrorKind::TooDeep);

    let short = Limits { max_bytes: 4, ..Limits::STORED };
    assert!(read_with("[12]", short).is_ok());
    assert_eq!(read_with("[123]", short).expect_err("too long").kind, ErrorKind::TooLarge);

    let few = Limits { max_values: 3, ..Limits::STORED };
    assert!(read_with("[1,2]", few).is_ok());
    assert_eq!(read_with("[1,2,3]", few).expect_err("too many").kind, ErrorKind::TooManyValues);

    let zeros = format!("[{}0]", "0,".repeat(1_000_000));
    assert_eq!(read_with(&zeros, Limits::CLIENT).expect_err("too many").kind, ErrorKind::TooManyValues);
    assert_eq!(read_str(&zeros).expect("a row").as_vector().map(<[Value]>::len), Some(1_000_001));
}

/// A keyword of 100 kB, or a key or a tag, stands for so many bytes with each code that repeats it.
#[test]
fn codes_stand_for_a_bounded_number_of_bytes() {
    let long = "x".repeat(100_000);
    let codes = |count: usize, code: &str| vec![code; count].join(",");
    for (first, code) in [
        (format!("\"~:{long}\""), "\"^0\""),
        (format!("\"~${long}\""), "\"^0\""),
        (format!("{{\"{long}\":1}}"), "{\"^0\":1}"),
        (format!("{{\"~X{long}\":1}}"), "{\"^0\":1}"),
        (format!("[\"~#{long}\",1]"), "[\"^0\",1]"),
    ] {
        let text = |count: usize| format!("[{first},{}]", codes(count, code));
        assert!(read_with(&text(16), Limits::CLIENT).is_ok(), "{code}");
        let refused = read_with(&text(10_000), Limits::CLIENT).expect_err(code);
        assert_eq!(refused.kind, ErrorKind::TooLarge, "{code}");
        // Ours are not refused, and are written as codes again.
        let stored = read_str(&text(10_000)).expect(code);
        assert!(write_string(&stored).len() < long.len() + 10_000 * 20, "{code}");
    }
    // An ordinary text is far from the bound: short keywords over and over.
    let usual = format!("[\"~:logseq.property.class/properties\",{}]", codes(10_000, "[1,\"^0\"]"));
    assert!(read_with(&usual, Limits::CLIENT).is_ok());
}

/// Texts whose time or memory would grow with the square of their length if equal keys were looked for pairwise, or if
/// codes copied what they repeat: minutes then, instead of a moment.
#[test]
fn hostile_texts_take_linear_time() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let count = 100_000;
    let nan = format!("[\"~#set\",[{}]]", list(count, &|_| "\"~zNaN\"".to_owned()));
    assert_eq!(read_str(&nan).expect("valid").as_set().expect("a set").len(), 1);
    let same = format!("{{{}}}", list(count, &|number| format!("\"key\":{number}")));
    assert_eq!(write_string(&read_str(&same).expect("valid")), format!("[\"^ \",\"key\",{}]", count - 1));
    let maps = format!("[\"~#set\",[{}]]", list(count, &|number| format!("[\"^ \",\"~:a\",{number}]")));
    assert_eq!(read_str(&maps).expect("valid").as_set().expect("a set").len(), count);

    let long = "x".repeat(1_000_000);
    for text in [
        format!("[[\"^ \",\"{long}\",1],{}]", list(count, &|_| "[\"^ \",\"^0\",1]".to_owned())),
        format!("[[\"^ \",\"~X{long}\",1],{}]", list(count, &|_| "[\"^ \",\"^0\",1]".to_owned())),
        format!("[[\"^ \",\"\\u0041{long}\",1],{}]", list(count, &|_| "{\"^0\":1}".to_owned())),
        format!("[\"~:\\u0041{long}\",{}]", list(count, &|_| "\"^0\"".to_owned())),
        format!("[[\"~#{long}\",1],{}]", list(count, &|_| "[\"^0\",1]".to_owned())),
    ] {
        let value = read_str(&text).expect("valid");
        assert_eq!(value.as_vector().expect("a vector").len(), count + 1);
        let mut reader = Reader::new(&text);
        while reader.next().expect("valid").is_some() {}
    }

    // Small collections inside one another that differ at the innermost place only.
    let mut deep = ("1".to_owned(), "2".to_owned());
    for _ in 0..15 {
        let join = |a: &str, b: &str| format!("[\"~#set\",[{a},{b}]]");
        deep = (join(&deep.0, &deep.1), join(&deep.0, "3"));
    }
    let both = read_str(&format!("[{},{}]", deep.0, deep.0)).expect("valid");
    let items = both.as_vector().expect("a vector");
    assert_eq!(items.first(), items.last());
}

#[test]
fn the_pull_reader_stops_where_the_text_does() {
    let mut reader = Reader::new("[1,[2,3],4]");
    assert_eq!(reader.next(), Ok(Some(Token::ArrayStart)));
    assert_eq!(reader.read_value(), Ok(Value::Int(1)));
    assert_eq!(reader.skip_value(), Ok(true));
    assert_eq!(reader.read_value(), Ok(Value::Int(4)));
    assert_eq!(reader.skip_value(), Ok(false));
    assert_eq!(reader.next(), Ok(None));
    assert_eq!(reader.skip_value(), Ok(false));
    assert!(reader.read_value().is_err());
    assert_eq!(reader.finish(), Ok(()));

    let mut reader = Reader::new("[1,2]");
    assert_eq!(reader.next(), Ok(Some(Token::ArrayStart)));
    assert_eq!(reader.finish().expect_err("unfinished").kind, ErrorKind::UnexpectedEnd);
}

/// A value as deep as rows may be, of every kind of collection, on three quarters of a WebAssembly module's stack.
#[test]
fn deep_values_need_little_stack() {
    let deepest = Limits::DEEPEST;
    let forms: [(&str, &str, usize); 8] = [
        ("[", "]", 1),
        ("[1,", "]", 1),
        ("[\"~#list\",[", "]]", 2),
        ("[\"~#set\",[", "]]", 2),
        ("[\"^ \",\"~:a\",", "]", 1),
        ("{\"~:a\":", "}", 1),
        ("[\"~#cmap\",[[],", "]]", 2),
        ("[\"~#x\",", "]", 1),
    ];
    for (open, close, depth) in forms {
        let count = deepest / depth - 1;
        let text = format!("{}[]{}", open.repeat(count), close.repeat(count));
        let work = move || {
            let value = read_str(&text).unwrap_or_else(|error| panic!("{open}: {error}"));
            let other = read_str(&text).unwrap_or_else(|error| panic!("{open}: {error}"));
            assert!(value == other, "{open}");
            assert!(value.written_depth() <= deepest, "{open}");
            let written = write_string(&value);
            assert!(read_str(&written).is_ok(), "{open}");
            drop((value, other));
        };
        let thread = std::thread::Builder::new().stack_size(768 * 1024).spawn(work).expect("a thread");
        thread.join().unwrap_or_else(|_| panic!("{open}"));
    }
    let quotes = format!("{}1{}", "[\"~#'\",".repeat(deepest), "]".repeat(deepest));
    assert_eq!(read_str(&quotes).expect_err("quotes of quotes").kind, ErrorKind::MisplacedTag);
}
