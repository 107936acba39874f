//! What a request to read says.

use url::form_urlencoded;

use crate::Offset;

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest message that is kept.
    Start,
    /// Behind the newest.
    Now,
    /// Behind this place.
    After(Offset),
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What there is.
    CatchUp,
    /// What there is, or what comes next.
    LongPoll,
    /// What there is and what comes, as server-sent events.
    Events,
}

/// A request to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// From where on.
    pub from: From,
    /// How.
    pub mode: Mode,
    /// The cursor of the answer before, which the client echoes.
    pub cursor: Option<u64>,
    /// What the client has already, as it names it.
    pub if_none_match: Option<String>,
}

/// A query that means nothing (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither `-1`, nor `now`, nor a place that was given out.
    #[error("offset is malformed")]
    Offset,
    /// There are several.
    #[error("offset is repeated")]
    Repeated,
    /// A live request says from where on.
    #[error("live needs an offset")]
    NoOffset,
    /// No mode of ours.
    #[error("live is unknown")]
    Live,
}

impl Asked {
    /// Reads a query and the header `if-none-match`. Unknown parameters are passed over, and a cursor that is no number counts as
    /// none. The work is that of the query's length, which whoever takes requests bounds.
    pub fn read(query: &str, if_none_match: Option<&str>) -> Result<Self, Malformed> {
        let (mut offset, mut live, mut cursor) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "offset" if offset.is_some() => return Err(Malformed::Repeated),
                "offset" => offset = Some(value),
                "live" => live = Some(value),
                "cursor" => cursor = value.parse().ok(),
                _ => {}
            }
        }
        let mode = match live.as_deref() {
            None => Mode::CatchUp,
            Some("long-poll") => Mode::LongPoll,
            Some("sse") => Mode::Events,
            Some(_) => return Err(Malformed::Live),
        };
        let from = match offset.as_deref() {
            None if mode != Mode::CatchUp => return Err(Malformed::NoOffset),
            None | Some("-1") => From::Start,
            Some("now") => From::Now,
            Some(text) => From::After(text.parse().map_err(|_| Malformed::Offset)?),
        };
        Ok(Self { from, mode, cursor, if_none_match: if_none_match.map(str::to_owned) })
    }

    /// Whether the client says that it has this already.
    pub(crate) fn has(&self, etag: &str) -> bool {
        self.if_none_match.as_deref().is_some_and(|tags| {
            tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_from_where_and_how() {
        let read = |query: &str| Asked::read(query, None).map(|asked| (asked.from, asked.mode, asked.cursor));
        let after = From::After(Offset { incarnation: 1, seq: 2 });
        let token = "offset=0000000000000001_0000000000000002";
        assert_eq!(read(""), Ok((From::Start, Mode::CatchUp, None)));
        assert_eq!(read("x=1&offset=-1"), Ok((From::Start, Mode::CatchUp, None)));
        assert_eq!(read("offset=now&live=sse"), Ok((From::Now, Mode::Events, None)));
        assert_eq!(read(&format!("{token}&live=long-poll&cursor=7")), Ok((after, Mode::LongPoll, Some(7))));
        assert_eq!(read(&format!("{token}&cursor=x")), Ok((after, Mode::CatchUp, None)));
    }

    #[test]
    fn others_mean_nothing() {
        let wrong = |query: &str| Asked::read(query, None).unwrap_err();
        let offsets = ["", "0,1", "0+1", "a/b", "..", "%00", "%0A", "-2", "NOW", "1", "0%201"];
        for offset in offsets {
            assert_eq!(wrong(&format!("offset={offset}")), Malformed::Offset, "{offset}");
        }
        assert_eq!(wrong("offset=-1&offset=-1"), Malformed::Repeated);
        assert_eq!(wrong("live=sse"), Malformed::NoOffset);
        assert_eq!(wrong("offset=-1&live=true"), Malformed::Live);
    }

    #[test]
    fn names_of_what_a_client_has() {
        let has = |tags: &str| Asked::read("", Some(tags)).unwrap().has("\"a\"");
        assert!(["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"].into_iter().all(has));
        assert!(!["", "a", "\"b\""].into_iter().any(has));
    }
}
