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

/// A JSON number text, or that of `~d`, as the nearest number: none for what is no number, and for one beyond their range.
/// (JavaScript takes the latter for infinite, which JSON cannot say again.)
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    if is_plain(text) { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

/// Whether a text is a number, be it beyond their range.
pub(crate) fn is_overflow(text: &str) -> bool {
    is_plain(text) && text.parse().is_ok_and(f64::is_infinite)
}

fn is_plain(text: &str) -> bool {
    // The standard parser also takes words such as `inf`.
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
}

/// The integer that JavaScript readers take the text of `~i` for, where they do: the digits it begins with, up to 2^53 − 1;
/// of a greater one each eight characters for themselves, whatever they are, and the low 64 bits of all.
pub(crate) fn js_integer(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let magnitude = match digits(rest.as_bytes()) {
        None => return None,
        Some(number) if number <= MAX_SAFE_INTEGER => number,
        Some(_) if rest.contains('-') || !rest.is_ascii() => return None,
        Some(_) => rest.as_bytes().chunks(8).fold(0_i64, |sum, chunk| {
            let scale = chunk.iter().fold(1_i64, |scale, _| scale * 10);
            sum.wrapping_mul(scale).wrapping_add(digits(chunk).unwrap_or_default())
        }),
    };
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// The number that a text begins with, after a plus sign perhaps; the greatest for any that is too great.
fn digits(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = digits.get(..count).filter(|digits| !digits.is_empty())?;
    Some(digits.iter().fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))))
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
    fn numbers_beyond_the_range_are_none() {
        for text in ["1e400", "-1e400", "1e99999999999999999999", &"9".repeat(400)] {
            assert_eq!(parse_float(text), None, "{text}");
        }
        assert_eq!(parse_float("1e-400"), Some(0.0));
    }

    #[test]
    fn integer_texts_as_javascript_takes_them() {
        for (text, number) in [
            ("42", Some(42)),
            ("-007", Some(-7)),
            ("+7", Some(7)),
            ("1.5", Some(1)),
            ("1e+21", Some(1)),
            ("12345678.5", Some(12_345_678)),
            ("1e-7", Some(1)),
            ("1-2", Some(1)),
            ("9007199254740993.5", Some(900_719_925_474_099_300)),
            ("9007199254740993-5", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("18446744073709551617", Some(1)),
            ("x", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(js_integer(text), number, "{text}");
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
