//! Fractional index keys: `:block/order` (sync.md 11.6).
//!
//! A key is an integer part, whose first letter tells its length, and a fraction, both in base 62; keys sort as texts.
//! The server only judges keys; [`between`] makes them, as clients do.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ZERO: char = '0';
/// The integer part that nothing precedes; alone it is no key.
const LEAST: &str = "A00000000000000000000000000";

/// Why no key can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// One of the bounds is no key.
    #[error("invalid order key: {0}")]
    Invalid(String),
    /// The lower bound does not come first.
    #[error("{0} >= {1}")]
    Order(String, String),
    /// No key comes before the upper bound.
    #[error("cannot decrement any more")]
    Exhausted,
}

/// Whether clients accept a text as an order key. Only the first letter and the last digit are looked at, as they do.
pub fn is_valid(key: &str) -> bool {
    split(key).is_some_and(|(_, fraction)| key != LEAST && !fraction.ends_with(ZERO))
}

/// A key between two keys, or before or after one, or the first of all.
///
/// # Errors
///
/// When a bound is no key, they are not in order, or nothing comes before the upper one.
pub fn between(lower: Option<&str>, upper: Option<&str>) -> Result<String, OrderError> {
    for key in [lower, upper].into_iter().flatten() {
        if !is_valid(key) || !key.bytes().all(|byte| DIGITS.contains(&byte)) {
            return Err(OrderError::Invalid(key.to_owned()));
        }
    }
    if let (Some(lower), Some(upper)) = (lower, upper)
        && lower >= upper
    {
        return Err(OrderError::Order(lower.to_owned(), upper.to_owned()));
    }
    match (lower.and_then(split), upper.and_then(split)) {
        (None, None) => Ok("a0".to_owned()),
        (None, Some((integer, fraction))) => {
            if integer == LEAST {
                Ok(format!("{integer}{}", midpoint("", Some(fraction))))
            } else if fraction.is_empty() {
                decremented(integer).ok_or(OrderError::Exhausted)
            } else {
                Ok(integer.to_owned())
            }
        }
        (Some((integer, fraction)), None) => {
            Ok(incremented(integer).unwrap_or_else(|| format!("{integer}{}", midpoint(fraction, None))))
        }
        (Some((low, low_fraction)), Some((high, high_fraction))) => {
            if low == high {
                return Ok(format!("{low}{}", midpoint(low_fraction, Some(high_fraction))));
            }
            match incremented(low) {
                Some(next) if upper.is_some_and(|upper| next.as_str() < upper) => Ok(next),
                _ => Ok(format!("{low}{}", midpoint(low_fraction, None))),
            }
        }
    }
}

/// `count` keys between two keys, ascending.
///
/// # Errors
///
/// As [`between`].
pub fn n_between(lower: Option<&str>, upper: Option<&str>, count: usize) -> Result<Vec<String>, OrderError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if lower.is_some() && upper.is_some() {
        let middle = between(lower, upper)?;
        let mut keys = n_between(lower, Some(&middle), count / 2)?;
        let rest = n_between(Some(&middle), upper, count - count / 2 - 1)?;
        keys.push(middle);
        keys.extend(rest);
        return Ok(keys);
    }
    let mut keys: Vec<String> = Vec::with_capacity(count);
    for _ in 0..count {
        let last = keys.last().map(String::as_str);
        let key = if upper.is_none() { between(last.or(lower), None) } else { between(None, last.or(upper)) }?;
        keys.push(key);
    }
    if upper.is_some() {
        keys.reverse();
    }
    Ok(keys)
}

/// Integer part and fraction, if the text is long enough to have the former.
fn split(key: &str) -> Option<(&str, &str)> {
    let length = match key.bytes().next()? {
        head @ b'a'..=b'z' => usize::from(head - b'a') + 2,
        head @ b'A'..=b'Z' => usize::from(b'Z' - head) + 2,
        _ => return None,
    };
    if key.is_ascii() {
        return key.split_at_checked(length);
    }
    // Clients count UTF-16 units.
    let mut units = 0;
    let past = key.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > length
    });
    (units >= length).then(|| key.split_at(past.map_or(key.len(), |(at, _)| at)))
}

fn digit(index: usize) -> char {
    DIGITS.get(index).copied().map_or(ZERO, char::from)
}

/// The place of a digit in the order of digits.
fn value(digit: char) -> usize {
    DIGITS.iter().position(|byte| char::from(*byte) == digit).unwrap_or(0)
}

/// The integer part after this one, or none after the greatest.
fn incremented(integer: &str) -> Option<String> {
    let (head, digits) = integer.split_at_checked(1)?;
    let mut digits: Vec<char> = digits.chars().collect();
    for place in digits.iter_mut().rev() {
        let next = value(*place) + 1;
        if next < DIGITS.len() {
            *place = digit(next);
            return Some(format!("{head}{}", digits.iter().collect::<String>()));
        }
        *place = ZERO;
    }
    match head {
        "Z" => Some("a0".to_owned()),
        "z" => None,
        _ => {
            let head = shifted(head, 1)?;
            if head > 'a' {
                digits.push(ZERO);
            } else {
                digits.pop();
            }
            Some(format!("{head}{}", digits.iter().collect::<String>()))
        }
    }
}

/// The integer part before this one, or none before the least.
fn decremented(integer: &str) -> Option<String> {
    let (head, digits) = integer.split_at_checked(1)?;
    let mut digits: Vec<char> = digits.chars().collect();
    for place in digits.iter_mut().rev() {
        if let Some(previous) = value(*place).checked_sub(1) {
            *place = digit(previous);
            return Some(format!("{head}{}", digits.iter().collect::<String>()));
        }
        *place = 'z';
    }
    match head {
        "a" => Some("Zz".to_owned()),
        "A" => None,
        _ => {
            let head = shifted(head, -1)?;
            if head < 'Z' {
                digits.push('z');
            } else {
                digits.pop();
            }
            Some(format!("{head}{}", digits.iter().collect::<String>()))
        }
    }
}

fn shifted(head: &str, by: i8) -> Option<char> {
    head.bytes().next().and_then(|byte| byte.checked_add_signed(by)).map(char::from)
}

/// A fraction strictly between two, the lower possibly empty, the upper possibly open. The bounds are in order and do not
/// end in a zero.
fn midpoint(lower: &str, upper: Option<&str>) -> String {
    let mut result = String::new();
    let mut lower = lower.chars();
    let mut upper = upper.map(str::chars);
    loop {
        let low = lower.next();
        let high = upper.as_mut().map(Iterator::next);
        match high {
            // A common prefix, an absent digit of the lower bound being a zero.
            Some(Some(high)) if high == low.unwrap_or(ZERO) => result.push(high),
            _ => {
                let from = low.map_or(0, value);
                let to = high.map_or(DIGITS.len(), |high| high.map_or(0, value));
                if to > from + 1 {
                    // Halves are rounded up.
                    result.push(digit((from + to).div_ceil(2)));
                    return result;
                }
                let more = upper.as_ref().is_some_and(|rest| rest.clone().next().is_some());
                if let (Some(Some(high)), true) = (high, more) {
                    result.push(high);
                    return result;
                }
                // Neighbouring digits: go on below the lower one, with nothing above.
                result.push(digit(from));
                upper = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity() {
        for key in ["a0", "Zz", "a0V", "b00", "zzzzzzzzzzzzzzzzzzzzzzzzzzz", "a0é", "A00000000000000000000000000V"] {
            assert!(is_valid(key), "{key}");
        }
        for key in ["", "a", "b0", "a00", "0a", "é", "A00000000000000000000000000", "aé0", "b\u{1F600}"] {
            assert!(!is_valid(key) || key == "b\u{1F600}", "{key}");
        }
        // Two UTF-16 units make an integer part of three long enough.
        assert!(is_valid("b\u{1F600}"));
        assert!(!is_valid("b\u{1F600}0"));
    }

    #[test]
    fn keys_between_neighbours_stay_between() {
        let (mut low, high) = ("a0".to_owned(), "a1".to_owned());
        for _ in 0..200 {
            let key = between(Some(&low), Some(&high)).unwrap();
            assert!(low < key && key < high && is_valid(&key), "{low} {key} {high}");
            low = key;
        }
    }

    #[test]
    fn ends_of_the_range() {
        let least = |fraction: &str| format!("{LEAST}{fraction}");
        assert_eq!(between(None, Some(&least("V"))).unwrap(), least("G"));
        assert_eq!(between(None, Some(&least("1"))).unwrap(), least("0V"));
        assert_eq!(between(Some("zz"), None), Err(OrderError::Invalid("zz".to_owned())));
        assert_eq!(between(Some("a1"), Some("a0")), Err(OrderError::Order("a1".to_owned(), "a0".to_owned())));
    }
}
