//! Query parameters with a grammar of their own.

use crate::errors::InvalidSince;

/// `since` of a pull (sync.md 5.1): the integer that JavaScript's `parseInt` finds at the start of the text; absent
/// is 0.
///
/// # Errors
/// Without leading digits, or when negative.
pub fn parse_since(value: Option<&str>) -> Result<i64, InvalidSince> {
    let Some(text) = value else { return Ok(0) };
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, _) = digits.split_at(end);
    if digits.is_empty() {
        return Err(InvalidSince);
    }
    // What does not fit lies beyond every counter.
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 53);
    if negative && magnitude > 0 { Err(InvalidSince) } else { Ok(magnitude) }
}

/// Parameters of a snapshot upload (sync.md 10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadQuery<'a> {
    /// The rows replace the graph's; else they are added to it.
    pub reset: bool,
    /// The upload ends with this request.
    pub finished: bool,
    /// The checksum of the uploaded database, used only when finished. Never empty; not checked for its form.
    pub checksum: Option<&'a str>,
}

impl<'a> UploadQuery<'a> {
    /// Reads the three parameters as they stand in the query.
    pub fn new(reset: Option<&str>, finished: Option<&str>, checksum: Option<&'a str>) -> Self {
        Self {
            reset: !matches!(reset, Some("false" | "0")),
            finished: matches!(finished, Some("true" | "1")),
            checksum: checksum.filter(|text| !text.is_empty()),
        }
    }
}
