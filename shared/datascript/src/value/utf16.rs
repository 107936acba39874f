//! String order by UTF-16 code units, as JavaScript compares.

use std::cmp::Ordering;

/// Lead bytes from here on start U+E000 and above.
const HIGH_BMP: u8 = 0xEE;
/// Lead bytes from here on start the characters beyond U+FFFF, whose first UTF-16 unit is a surrogate.
const ASTRAL: u8 = 0xF0;

/// Compares two texts by their UTF-16 code units (datascript.md 3.3) without converting them.
///
/// UTF-8 sorts by code point. UTF-16 differs in one respect only: surrogates (U+D800–U+DFFF), hence all characters beyond
/// U+FFFF, sort before U+E000–U+FFFF. The first byte in which two texts differ is a lead byte of both, or lies within
/// characters of the same lead; only in the former case, with one side astral and the other U+E000–U+FFFF, the byte
/// order is turned round.
pub fn compare_utf16(a: &str, b: &str) -> Ordering {
    match first_difference(a.as_bytes(), b.as_bytes()) {
        None => a.len().cmp(&b.len()),
        Some((x, y)) if x >= HIGH_BMP && y >= HIGH_BMP && (x >= ASTRAL) != (y >= ASTRAL) => y.cmp(&x),
        Some((x, y)) => x.cmp(&y),
    }
}

/// The first pair of differing bytes within the common length; eight bytes a step.
fn first_difference(a: &[u8], b: &[u8]) -> Option<(u8, u8)> {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words = a_words.len().min(b_words.len());
    for (x, y) in a_words.iter().zip(b_words) {
        if x != y {
            return x.iter().zip(y).find(|(x, y)| x != y).map(|(x, y)| (*x, *y));
        }
    }
    // At most one side has whole words left, and then the other has less than one.
    let a_rest = a.get(words * 8..).unwrap_or(a_rest);
    let b_rest = b.get(words * 8..).unwrap_or(b_rest);
    a_rest.iter().zip(b_rest).find(|(x, y)| x != y).map(|(x, y)| (*x, *y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_utf16_units() {
        let parts =
            ["", "a", "b", "ab", "é", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}", "12345678"];
        let mut texts: Vec<String> = Vec::new();
        for x in parts {
            for y in parts {
                for z in parts {
                    texts.push(format!("{x}{y}{z}"));
                }
            }
        }
        for a in &texts {
            for b in &texts {
                let expected = a.encode_utf16().cmp(b.encode_utf16());
                assert_eq!(compare_utf16(a, b), expected, "{a:?} {b:?}");
            }
        }
    }
}
