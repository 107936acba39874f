//! Places in a log, as clients are given them.

use std::fmt;
use std::str::FromStr;

/// Digits of each of the two numbers.
const DIGITS: usize = 16;

/// The place behind a message. As text it has one form: `<incarnation>_<seq>`, 16 digits each, so texts compare as places do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    /// Which of the logs that had this name one after the other: a later one has a larger number.
    pub incarnation: u64,
    /// The number of the message, 0 before the first.
    pub seq: u64,
}

/// A text that is no [`Offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoOffset;

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}_{:0width$}", self.incarnation, self.seq, width = DIGITS)
    }
}

impl FromStr for Offset {
    type Err = NoOffset;

    fn from_str(text: &str) -> Result<Self, NoOffset> {
        let number = |digits: &str| {
            let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or(NoOffset)
        };
        let (incarnation, seq) = text.split_once('_').ok_or(NoOffset)?;
        Ok(Self { incarnation: number(incarnation)?, seq: number(seq)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_text() {
        let offset = Offset { incarnation: 1_790_000_000_000, seq: 12 };
        assert_eq!(offset.to_string(), "0001790000000000_0000000000000012");
        assert_eq!(offset.to_string().parse(), Ok(offset));
        let others = ["", "-1", "now", "1_2", "0001790000000000_000000000000001", "0001790000000000_+000000000000012"];
        for other in others {
            assert_eq!(other.parse::<Offset>(), Err(NoOffset), "{other}");
        }
    }

    #[test]
    fn texts_compare_as_places_do() {
        let places = [(1, 9), (1, 10), (2, 0), (10, 0)].map(|(incarnation, seq)| Offset { incarnation, seq });
        assert!(places.is_sorted());
        assert!(places.map(|place| place.to_string()).is_sorted());
    }
}
