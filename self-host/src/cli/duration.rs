//! Durations: a number and `s`, `m`, `h` or `d`.

use std::time::Duration;

use super::failure::Failure;

/// Reads a duration.
pub(super) fn parse(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("{text:?} is no duration such as 30s, 5m, 24h or 90d"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// Milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("0s", 0), ("30s", 30), ("5m", 300), ("24h", 86_400), ("90d", 7_776_000)] {
            assert_eq!(parse(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "s", "5", "5 m", "-1s", "1.5h", "5w", "5é", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
