//! Instants of the verbose form: ISO 8601 texts.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Milliseconds since the epoch of a text such as `2020-01-02T03:04:05.678Z`: a date, optionally a time, optionally a
/// fraction of a second (cut to milliseconds), and `Z` or an offset such as `+01:30`. A time without either is UTC.
/// `None` when the text is not of that form.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let (year_text, rest) = date.split_at_checked(date.len().checked_sub(6)?)?;
    let year = match year_text.strip_prefix(['+', '-']) {
        Some(digits) if digits.len() == 6 => {
            let year = number(digits)?;
            match year_text.starts_with('-') {
                // There is one year 0.
                true if year == 0 => return None,
                true => -year,
                false => year,
            }
        }
        None if year_text.len() == 4 => number(year_text)?,
        _ => return None,
    };
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    let (month, day) = (two_digits(month, 1, 12)?, two_digits(day, 1, 31)?);
    if day > days_in_month(year, month) {
        return None;
    }
    let of_day = match time {
        Some(time) => time_of_day(time)?,
        None => 0,
    };
    Some(days_since_epoch(year, month, day) * DAY + of_day)
}

/// Milliseconds since midnight UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => text.split_at_checked(at)?,
        None => (text, "Z"),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hour = two_digits(parts.next()?, 0, 24)?;
    let minute = two_digits(parts.next()?, 0, 59)?;
    let second = parts.next().map_or(Some(0), |text| two_digits(text, 0, 59))?;
    if parts.next().is_some() {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms = fraction.bytes().chain([b'0'; 3]).take(3).fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'));
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    if of_day > DAY {
        return None;
    }
    Some(of_day - offset_minutes(offset)? * 60_000)
}

fn offset_minutes(text: &str) -> Option<i64> {
    let sign = match text.chars().next()? {
        'Z' | 'z' => return (text.len() == 1).then_some(0),
        '+' => 1,
        _ => -1,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    Some(sign * (two_digits(hours, 0, 23)? * 60 + two_digits(minutes, 0, 59)?))
}

fn number(digits: &str) -> Option<i64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn two_digits(text: &str, least: i64, most: i64) -> Option<i64> {
    if text.len() != 2 {
        return None;
    }
    number(text).filter(|number| (least..=most).contains(number))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Years begin in March here, so that the leap day is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn iso_texts() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2020-01-02T03:04:05.678Z", 1_577_934_245_678),
            ("2020-01-02T03:04:05.6789Z", 1_577_934_245_678),
            ("2020-01-02T03:04:05Z", 1_577_934_245_000),
            ("2020-01-02T04:34:05.678+01:30", 1_577_934_245_678),
            ("2020-01-02", 1_577_923_200_000),
            ("2000-02-29T24:00:00Z", 951_868_800_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("-000001-01-01T00:00:00Z", -62_198_755_200_000),
            ("+275760-09-13T00:00:00.000Z", 8_640_000_000_000_000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn other_texts() {
        for text in [
            "",
            "2020",
            "2020-1-2",
            "2020-13-01",
            "2020-02-30",
            "2020-01-02T",
            "2020-01-02T25:00:00Z",
            "2020-01-02T24:00:01Z",
            "2020-01-02T24:00:00.001Z",
            "-000000-01-01",
            "2020-01-02T03:04:05.Z",
            "2020-01-02T03:04:05+1:00",
            "2020-01-02T03:04:05Zx",
            "x020-01-02",
            "é-01-02",
            "12-01-02T00:00",
            "2020-01-02T03:04:05:06Z",
            "+2020-01-02",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
