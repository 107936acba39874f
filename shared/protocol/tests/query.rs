//! Query parameters (sync.md 5.1, 10.4).

use protocol::InvalidSince;
use protocol::query::{UploadQuery, parse_since};

#[test]
fn since_is_read_as_javascript_reads_integers() {
    for (text, since) in [
        ("0", 0),
        ("2", 2),
        ("1.9", 1),
        ("2abc", 2),
        (" 1", 1),
        ("\u{feff}\n\u{a0}1", 1),
        ("0x10", 0),
        ("1e3", 1),
        ("+3", 3),
        ("-0", 0),
        ("007", 7),
        ("99999999999999999999999", 1 << 53),
    ] {
        assert_eq!(parse_since(Some(text)), Ok(since), "{text:?}");
    }
    assert_eq!(parse_since(None), Ok(0));
    for text in ["", " ", "abc", "-1", "-", "+", "+-1", "--1", ".5", "-99999999999999999999999", "١"] {
        assert_eq!(parse_since(Some(text)), Err(InvalidSince), "{text:?}");
    }
}

#[test]
fn upload_flags() {
    let flags = |reset, finished| {
        let query = UploadQuery::new(reset, finished, None);
        (query.reset, query.finished)
    };
    assert_eq!(flags(None, None), (true, false));
    assert_eq!(flags(Some("false"), Some("true")), (false, true));
    assert_eq!(flags(Some("0"), Some("1")), (false, true));
    assert_eq!(flags(Some("no"), Some("yes")), (true, false));
    assert_eq!(flags(Some(""), Some("")), (true, false));
    assert_eq!(UploadQuery::new(None, None, Some("")).checksum, None);
    assert_eq!(UploadQuery::new(None, None, Some("ab")).checksum, Some("ab"));
}
