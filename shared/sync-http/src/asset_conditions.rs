//! What of a stored file is sent: the conditions and ranges of a request (RFC 9110, sections 13 and 14; D-71).

use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName};

use web::ByteRange;

/// What is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Selection {
    /// Everything.
    Whole,
    /// These bytes.
    Part(ByteRange),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the file has no such bytes.
    Unsatisfiable,
}

/// Whether a request asks for more than the whole file, so that the file must be known before it is read.
pub(crate) fn are_there(headers: &HeaderMap) -> bool {
    headers.contains_key(RANGE) || headers.contains_key(IF_NONE_MATCH)
}

/// Chooses what is sent of a file of `size` bytes with that (strong, quoted) tag. Ranges are for reading alone: HEAD has none.
pub(crate) fn select(headers: &HeaderMap, size: u64, etag: &str, reads: bool) -> Selection {
    if all(headers, IF_NONE_MATCH).any(|tags| names(tags, etag)) {
        return Selection::NotModified;
    }
    let mut ranges = all(headers, RANGE);
    let (Some(range), None, true) = (ranges.next(), ranges.next(), reads) else { return Selection::Whole };
    // Part of the file that the client has the rest of, or else all of the one that is there now.
    if all(headers, IF_RANGE).any(|tag| tag.trim() != etag) {
        return Selection::Whole;
    }
    parse(range, size)
}

/// All values of a header that are text. How many there are is bounded by the size of a request's headers.
fn all(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// Whether a list of tags names this one; a weak tag names the same file.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// One range of bytes. Several of them, and what is none, are answered with everything.
fn parse(range: &str, size: u64) -> Selection {
    let Some((first, last)) = bounds(range) else { return Selection::Whole };
    let (first, end) = match (position(first), position(last)) {
        (Some(first), Some(last)) if last < first => return Selection::Whole,
        (Some(first), Some(last)) => (first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(length)) if first.is_empty() => (size.saturating_sub(length), size),
        _ => return Selection::Whole,
    };
    if first >= end {
        return Selection::Unsatisfiable;
    }
    Selection::Part(ByteRange { first, length: end - first })
}

/// What stands before and after the dash of a range of bytes.
fn bounds(range: &str) -> Option<(&str, &str)> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    unit.trim().eq_ignore_ascii_case("bytes").then(|| (first.trim(), last.trim()))
}

/// A number, if the text is one. What is beyond all files is the greatest number.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: HeaderName, value: &str) -> Selection {
        select(&HeaderMap::from_iter([(name, value.parse().unwrap())]), 10, "\"tag\"", true)
    }

    #[test]
    fn one_range_is_part_of_the_file() {
        let part = |first, length| Selection::Part(ByteRange { first, length });
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 10)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=2-4", part(2, 3)),
            ("BYTES = 2 - 4 ", part(2, 3)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=9-18446744073709551615", part(9, 1)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=4-2", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=1", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(chosen(RANGE, range), expected, "{range}");
        }
        let empty = HeaderMap::from_iter([(RANGE, "bytes=0-".parse().unwrap())]);
        assert_eq!(select(&empty, 0, "\"tag\"", true), Selection::Unsatisfiable);
        assert_eq!(select(&empty, 10, "\"tag\"", false), Selection::Whole, "HEAD has no ranges");
        let mut twice = empty;
        twice.append(RANGE, "bytes=1-".parse().unwrap());
        assert_eq!(select(&twice, 10, "\"tag\"", true), Selection::Whole);
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        for (tags, expected) in [
            ("\"tag\"", Selection::NotModified),
            ("W/\"tag\"", Selection::NotModified),
            ("*", Selection::NotModified),
            ("\"a\", \"tag\"", Selection::NotModified),
            ("tag", Selection::Whole),
            ("\"a\"", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(chosen(IF_NONE_MATCH, tags), expected, "{tags}");
        }
    }

    #[test]
    fn the_rest_of_another_file_is_no_use() {
        let resumed = |tag: &str| {
            let headers =
                HeaderMap::from_iter([(RANGE, "bytes=5-".parse().unwrap()), (IF_RANGE, tag.parse().unwrap())]);
            select(&headers, 10, "\"tag\"", true)
        };
        assert_eq!(resumed("\"tag\""), Selection::Part(ByteRange { first: 5, length: 5 }));
        for other in ["\"other\"", "W/\"tag\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(resumed(other), Selection::Whole, "{other}");
        }
    }
}
