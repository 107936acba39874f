//! What came of a request for a shape, told apart by what follows from it (pg-sync.md 4.6).

use sha2::{Digest as _, Sha256};

/// The longest text of a failure that is kept, in bytes.
pub const MAX_DETAIL_BYTES: usize = 500;
/// The longest time that a service can ask for before the next request, in milliseconds.
const MAX_RETRY_AFTER_MS: i64 = 3_600_000;
/// How many bytes of an error's body tell whether it is the same error.
const EQUAL_BYTES: usize = 200;

/// An answer of the service, or that there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx, whole.
    Success(Success),
    /// 409: the log was replaced.
    Rotated,
    /// Another 4xx, or a redirect, which is not followed.
    Refused(Refusal),
    /// 408, 429 or 5xx.
    Busy {
        /// The status.
        status: u16,
        /// How long to wait at least, in milliseconds.
        retry_after_ms: Option<i64>,
        /// What it says.
        detail: String,
    },
    /// No whole answer: no connection, a body that was cut off, silence.
    Broken(String),
    /// The body is longer than what is read.
    TooLarge,
}

/// A whole answer with status 2xx.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// Header `electric-handle`.
    pub handle: Option<String>,
    /// Header `electric-offset`.
    pub offset: Option<String>,
    /// Header `electric-cursor`.
    pub cursor: Option<String>,
    /// Header `electric-schema`.
    pub schema: Option<String>,
    /// Whether there is a header `electric-up-to-date`.
    pub is_up_to_date: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// Why the service refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The body, cut and without the secret.
    pub detail: String,
}

impl Answer {
    /// Sorts an answer by its status. `header` finds a header by name; `secret` is what no stored text may hold.
    pub fn of<'h>(status: u16, header: impl Fn(&str) -> Option<&'h str>, body: Vec<u8>, secret: Option<&str>) -> Self {
        let text = |name: &str| header(name).map(str::to_owned);
        match status {
            200..=299 => Self::Success(Success {
                handle: text("electric-handle"),
                offset: text("electric-offset"),
                cursor: text("electric-cursor"),
                schema: text("electric-schema"),
                is_up_to_date: header("electric-up-to-date").is_some(),
                body,
            }),
            409 => Self::Rotated,
            408 | 429 | 500.. => Self::Busy {
                status,
                retry_after_ms: header("retry-after").and_then(seconds),
                detail: detail(&body, secret),
            },
            _ => Self::Refused(Refusal { status, detail: detail(&body, secret) }),
        }
    }
}

/// Whole seconds in milliseconds, not more than an hour. A date is not read: Electric sends none.
fn seconds(text: &str) -> Option<i64> {
    let seconds: u32 = text.trim().parse().ok()?;
    Some(i64::from(seconds).saturating_mul(1_000).min(MAX_RETRY_AFTER_MS))
}

/// What may be kept and shown of a body: its beginning, with nothing in it that could be the secret.
///
/// A service may repeat the address it was asked by, which holds the secret, also in encoded forms. A body that holds the secret
/// in any of them is not shown at all: what stands around it may be half of another form.
pub fn detail(body: &[u8], secret: Option<&str>) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(16 * 1024)).unwrap_or_default());
    if secret.is_some_and(|secret| holds(&text, secret)) {
        return "the answer holds the secret and is not shown".to_owned();
    }
    let end = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let end = end.take_while(|end| *end <= MAX_DETAIL_BYTES).last().unwrap_or(0);
    let shown: String =
        text.get(..end).unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shown
}

/// Whether a text holds a secret as it is, as JSON, or percent-encoded in part or as a whole.
fn holds(text: &str, secret: &str) -> bool {
    let decoded = |text: &str, plus: bool| {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
            let pair = hex(after.first()).zip(hex(after.get(1)));
            match (first, pair) {
                (b'%', Some((high, low))) => {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = after.get(2..).unwrap_or_default();
                    continue;
                }
                (b'+', _) if plus => bytes.push(b' '),
                _ => bytes.push(*first),
            }
            rest = after;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let quoted = serde_json::Value::from(secret).to_string();
    let quoted = quoted.trim_matches('"');
    !secret.is_empty()
        && [text.to_owned(), decoded(text, false), decoded(text, true)]
            .iter()
            .any(|text| text.contains(secret) || text.contains(quoted))
}

/// What tells whether an unreadable answer is the same as the one before.
pub(crate) fn mark(body: &[u8]) -> String {
    let hash = Sha256::digest(body.get(..body.len().min(EQUAL_BYTES)).unwrap_or_default());
    base16ct::lower::encode_string(hash.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, retry_after: Option<&'static str>, body: &str) -> Answer {
        Answer::of(status, |name| retry_after.filter(|_| name == "retry-after"), body.into(), Some("a b&c\"d"))
    }

    #[test]
    fn statuses() {
        assert!(matches!(of(200, None, "[]"), Answer::Success(_)));
        assert_eq!(of(409, None, "[]"), Answer::Rotated);
        for status in [301, 307, 400, 401, 403, 404, 413] {
            assert_eq!(of(status, None, "no"), Answer::Refused(Refusal { status, detail: "no".into() }));
        }
        for (status, header, wait) in [
            (429, Some("5"), Some(5_000)),
            (503, Some(" 10 "), Some(10_000)),
            (503, Some("4294967295"), Some(3_600_000)),
            (503, Some("-1"), None),
            (500, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (502, None, None),
            (408, None, None),
        ] {
            assert_eq!(of(status, header, ""), Answer::Busy { status, retry_after_ms: wait, detail: String::new() });
        }
    }

    #[test]
    fn no_text_holds_the_secret() {
        for body in [
            "bad a b&c\"d",
            "bad ?secret=a%20b%26c%22d",
            "?secret=a+b%26c%22d",
            "a b%26c\"d",
            "{\"url\":\"a b&c\\\"d\"}",
            "%61%20%62%26%63%22%64",
        ] {
            assert_eq!(
                detail(body.as_bytes(), Some("a b&c\"d")),
                "the answer holds the secret and is not shown",
                "{body}"
            );
        }
        assert_eq!(detail(b"a\nb", Some("c")), "a b");
        assert_eq!(detail("ä".repeat(300).as_bytes(), None), "ä".repeat(250));
        assert_eq!(detail(b"x", Some("")), "x");
    }
}
