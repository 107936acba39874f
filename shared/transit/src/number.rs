//! Number texts.

use crate::value::MAX_SAFE_INTEGER;

/// Appends a number as ECMAScript prints it (datascript.md 2.2): shortest digits, `1e+21`, `1e-7`, `-0` as `0`. NaN and
/// infinities come out by their names, which JSON does not know.
pub fn write_js(out: &mut String, number: f64) {
    out.push_str(ryu_js::Buffer::new().format(number));
}

/// Appends an integer.
pub(crate) fn write_int(out: &mut String, number: i64) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// A JSON number text, or that of `~d`, as the nearest number. Overflow is infinite, as in JavaScript.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    // The standard parser also takes words such as `inf`.
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { text.parse().ok() } else { None }
}

/// What stands after `~i`: digits up to the first other character, as JavaScript's `parseInt` takes them.
pub(crate) enum Integer {
    /// A number within ±(2^53 − 1).
    Safe(i64),
    /// The digits of any other, without sign of plus and leading zeros.
    Big(String),
}

/// Parses the text of `~i`; `None` when it begins with no digit.
pub(crate) fn parse_integer(text: &str) -> Option<Integer> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    let digits = rest.get(..end).filter(|digits| !digits.is_empty())?;
    let digits = digits.trim_start_matches('0');
    let magnitude = if digits.is_empty() { Some(0) } else { digits.parse::<i64>().ok() };
    Some(match magnitude {
        Some(magnitude) if magnitude <= MAX_SAFE_INTEGER => {
            Integer::Safe(if negative { -magnitude } else { magnitude })
        }
        _ => Integer::Big(format!("{}{digits}", if negative { "-" } else { "" })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecmascript_texts() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            let mut out = String::new();
            write_js(&mut out, number);
            assert_eq!(out, text);
            assert_eq!(parse_float(text), Some(number));
        }
    }

    #[test]
    fn integer_texts() {
        let show = |text| match parse_integer(text) {
            Some(Integer::Safe(number)) => number.to_string(),
            Some(Integer::Big(digits)) => format!("big {digits}"),
            None => "none".to_owned(),
        };
        assert_eq!(show("42"), "42");
        assert_eq!(show("-007"), "-7");
        assert_eq!(show("1.5"), "1");
        assert_eq!(show("9007199254740991"), "9007199254740991");
        assert_eq!(show("+09007199254740992"), "big 9007199254740992");
        assert_eq!(show("-99999999999999999999"), "big -99999999999999999999");
        assert_eq!(show("-0"), "0");
        assert_eq!(show(""), "none");
        assert_eq!(show("-"), "none");
        assert_eq!(show("x1"), "none");
    }
}
