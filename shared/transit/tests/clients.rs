//! Strict reading against clients' own verdicts: `tests/clients/verdicts.jsonl`, which the script beside it makes with
//! Logseq's reader and writer.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use transit::{ErrorKind, Limits, ReadError, Value, read_str, read_with, write_string};

mod support;
use support::{has_key, same};

/// What clients read and we refuse all the same.
struct Class {
    kind: ErrorKind,
    /// The text has one of these.
    marks: &'static [&'static str],
    /// It is about where values stand: some are read alike, but no writer places them so.
    is_shape: bool,
    /// Why: no writer gives such texts, which is common to all, and what clients make of them.
    reason: &'static str,
}

const CLASSES: [Class; 9] = [
    Class {
        kind: ErrorKind::InvalidNumber,
        is_shape: false,
        marks: &["~i", "~d", "~#i", "~#d", "1e4", "1e9", "e308"],
        reason: "clients take texts that are no numbers for 0, NaN or the digits they begin with, texts beyond 64 bits for \
                 other integers, and 1e400 for infinite, which JSON cannot say",
    },
    Class {
        kind: ErrorKind::InvalidInstant,
        is_shape: false,
        marks: &["~m", "~t", "~#m", "~#t"],
        reason: "clients take texts that are no instants for dates that are none, for the digits they begin with, or for an \
                 instant of their own time zone",
    },
    Class {
        kind: ErrorKind::InvalidBinary,
        is_shape: false,
        marks: &["~b", "~#b"],
        reason: "clients take base64 without padding or with white space and write it otherwise: two texts for one value",
    },
    Class {
        kind: ErrorKind::ReservedTag,
        is_shape: false,
        marks: &["~s", "\"~\"", "~#"],
        reason: "clients write the value under these tags without them, call a method of all objects, or build a database",
    },
    Class {
        kind: ErrorKind::ReservedKey,
        is_shape: false,
        marks: &["__proto__"],
        reason: "a client that writes the key writes into all objects; it does not where it drops the map",
    },
    Class {
        kind: ErrorKind::UnknownCacheCode,
        is_shape: false,
        marks: &["\"^"],
        reason: "clients take a code of nothing for nil, or for what another text left in that slot",
    },
    Class {
        kind: ErrorKind::MisplacedCacheCode,
        is_shape: true,
        marks: &["\"^"],
        reason: "each repetition would be written in full: a few bytes of a client for as many as it likes of ours",
    },
    Class {
        kind: ErrorKind::MisplacedTag,
        is_shape: true,
        marks: &["~#"],
        reason: "what is quoted within a value is a bare array in clients, which is equal to no other; a tag that stands \
                 where none can is lost where they drop what it is in",
    },
    Class {
        kind: ErrorKind::WrongShape,
        is_shape: true,
        marks: &["~#", "[\"^ \",", "{"],
        reason: "clients read what they can of a value that is not of the shape that their handlers expect: a set of a \
                 string's characters, an error without its keys, nil; within a collection as a map's key their cache \
                 counts otherwise",
    },
];

/// Texts that clients write as they are, or read as the value that we would read, so that there must be a good reason to
/// refuse them.
const REFUSED_THOUGH_ALIKE: [(&str, &str); 7] = [
    (r#"["~mNaN"]"#, "a date that is none: it sorts among instants anywhere"),
    (r#"["^ ","~mNaN",1]"#, "the same"),
    (r#"{"~mNaN":1}"#, "the same"),
    (r#"[["~#m","NaN"]]"#, "the same"),
    (r#"[["~#datascript/Datom",[1,2,3,4]]]"#, "no datom has a number for its attribute"),
    (r#"[["~#_","~"]]"#, "elsewhere the same text is a tag without a name"),
    (r#"[["~#?","~"]]"#, "the same"),
];

/// What clients make of a text.
enum Verdict {
    Refused,
    /// It is read, and cannot be written again.
    Unwritable,
    /// It is read and written so.
    Written(String),
}

fn verdicts() -> Vec<(String, Verdict)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/verdicts.jsonl");
    let file = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parse = |line: &str| {
        let mut case: Vec<Json> = serde_json::from_str(line).expect("a JSON array");
        let verdict = case.pop().expect("an element");
        let text = case.pop().as_ref().and_then(Json::as_str).expect("a text").to_owned();
        let verdict = match verdict {
            Json::Bool(false) => Verdict::Refused,
            Json::Null => Verdict::Unwritable,
            Json::Bool(true) => Verdict::Written(text.clone()),
            Json::String(written) => Verdict::Written(written),
            other => panic!("{text}: an unknown verdict {other}"),
        };
        (text, verdict)
    };
    file.lines().map(parse).collect()
}

fn read(text: &str) -> Result<Value, ReadError> {
    read_with(text, Limits::CLIENT)
}

#[test]
fn what_clients_cannot_read_or_write_is_refused() {
    let mut refused = 0;
    for (text, verdict) in verdicts() {
        if !matches!(verdict, Verdict::Written(_)) {
            refused += 1;
            let ours = read(&text);
            assert!(ours.is_err(), "clients refuse {text}, we read {ours:?}");
        }
    }
    assert!(refused > 1000, "{refused} verdicts");
}

#[test]
fn what_is_read_is_the_value_of_clients() {
    let mut read_by_both = 0;
    for (text, verdict) in verdicts() {
        let (Verdict::Written(written), Ok(ours)) = (verdict, read(&text)) else { continue };
        read_by_both += 1;
        // A key that is a number but no safe integer is written so that it is lost (DS-9).
        if has_key(&ours, |key| matches!(key, Value::Float(number) if number.is_finite())) {
            continue;
        }
        let theirs = read(&written).unwrap_or_else(|error| panic!("{text}: they write {written}: {error}"));
        assert!(same(&ours, &theirs), "{text}: we read {ours:?}, they write {written}");
    }
    assert!(read_by_both > 1000, "{read_by_both} verdicts");
}

#[test]
fn what_only_we_refuse_has_a_reason() {
    let mut seen = [0; CLASSES.len()];
    for (text, verdict) in verdicts() {
        let (Verdict::Written(written), Err(error)) = (verdict, read(&text)) else { continue };
        let class = CLASSES.iter().position(|class| class.kind == error.kind);
        let class = class.unwrap_or_else(|| panic!("{text}: refused without a reason: {error}"));
        let Class { marks, reason, .. } = CLASSES[class];
        assert!(marks.iter().any(|mark| text.contains(mark)), "{text}: {error}, but not because {reason}");
        seen[class] += 1;
        // Read without our reason it is the same value: then it has to be one that no writer gives, or that is dropped.
        let alike = match (read_str(&text), read_str(&written)) {
            (Ok(ours), Ok(theirs)) => same(&ours, &theirs),
            _ => false,
        };
        let listed = REFUSED_THOUGH_ALIKE.iter().any(|(listed, _)| *listed == text);
        if text == written || (alike && !CLASSES[class].is_shape && !text.contains("~#with-meta")) {
            assert!(listed, "{text}: a client writes {written}, we refuse it: {error}");
        }
    }
    for (class, seen) in CLASSES.iter().zip(seen) {
        assert!(seen > 0, "nothing was refused because {}", class.reason);
    }
}

#[test]
fn strict_reading_only_refuses() {
    for (text, _) in verdicts() {
        if let Ok(strict) = read(&text) {
            let lenient = read_str(&text).unwrap_or_else(|error| panic!("{text}: only read strictly: {error}"));
            assert!(same(&strict, &lenient), "{text}: strictly {strict:?}, else {lenient:?}");
            let written = write_string(&strict);
            let again = read(&written).unwrap_or_else(|error| panic!("{text}: we write {written}: {error}"));
            assert!(same(&strict, &again), "{text}: we write {written}");
        }
    }
}

/// What older rows may hold is read as it always was, and written again as it was.
#[test]
fn stored_values_that_clients_refuse_stay_readable() {
    for text in [
        r#"["~b!"]"#,
        r#"["~bA"]"#,
        r#"["~i"]"#,
        r#"["~zfoo"]"#,
        r#"["~dx"]"#,
        r#"["~mnow"]"#,
        r#"["~tsoon"]"#,
        r#"["~sx"]"#,
        r#"[["~#u",5]]"#,
        r#"[["~#i",null]]"#,
        r#"[["~#z",5]]"#,
        r#"[["~#~","x"]]"#,
        r#"[["~#datascript/Datom",[1]]]"#,
        r#"[["~#datascript/DB",null]]"#,
        r#"[["~#toString",5]]"#,
        r#"["^ ","~b!",1]"#,
        r#"["^ ","__proto__",1]"#,
    ] {
        assert!(read(text).is_err(), "{text}");
        let stored = read_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(write_string(&stored), text);
    }
}
