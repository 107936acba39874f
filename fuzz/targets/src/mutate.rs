//! Random changes to inputs.

use std::ops::Range;

/// A generator of random numbers (xorshift64*): small, and the same on every machine for a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = usize::try_from(self.next() >> 33).unwrap_or_default();
        number.checked_rem(bound).unwrap_or_default()
    }

    /// One of the choices.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }
}

/// Makes new inputs of old ones.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    dictionaries: &'static [&'static [&'static str]],
}

/// The places of JSON values in a text, as far as it is JSON.
fn values(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut open = Vec::new();
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let start = place;
        place += 1;
        match byte {
            b'[' | b'{' => open.push(start),
            b']' | b'}' => spans.extend(open.pop().map(|start| start..place)),
            b'"' => {
                while let Some(&byte) = bytes.get(place) {
                    place += 1;
                    match byte {
                        b'\\' => place += 1,
                        b'"' => break,
                        _ => {}
                    }
                }
                place = place.min(bytes.len());
                spans.push(start..place);
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                let more = bytes
                    .iter()
                    .skip(place)
                    .take_while(|byte| matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z'));
                place += more.count();
                spans.push(start..place);
            }
            _ => {}
        }
    }
    spans
}

/// The longest input that mutation makes.
const MAX_BYTES: usize = 64 * 1024;

impl Mutator {
    /// A mutator that also inserts words of dictionaries.
    pub fn new(random: Random, dictionaries: &'static [&'static [&'static str]]) -> Self {
        Self { random, dictionaries }
    }

    fn word(&mut self) -> &'static str {
        let dictionary = self.random.pick(self.dictionaries).copied().unwrap_or_default();
        self.random.pick(dictionary).copied().unwrap_or_default()
    }

    /// An input of the pool with some changes.
    pub fn mutant(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.random.pick(pool).cloned().unwrap_or_default();
        for _ in 0..=self.random.below(6) {
            if self.random.below(2) == 0 {
                self.change_value(&mut bytes, pool);
            } else {
                self.change(&mut bytes, pool);
            }
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let place = self.random.below(bytes.len() + 1);
        let end = (place + self.length()).min(bytes.len());
        match self.random.below(9) {
            0 => {
                let bit = 1 << self.random.below(8);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= bit;
                }
            }
            1 => {
                let value = u8::try_from(self.random.below(256)).unwrap_or_default();
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            2 => drop(bytes.drain(place..end)),
            3 => {
                let copy = bytes.get(place..end).unwrap_or_default().to_vec();
                let times = 1 + self.random.below(3);
                let target = self.random.below(bytes.len() + 1);
                bytes.splice(target..target, copy.repeat(times));
            }
            4 | 5 => {
                let word = self.word();
                bytes.splice(place..place, word.bytes());
            }
            6 => {
                let word = self.word();
                bytes.splice(place..end, word.bytes());
            }
            7 => {
                let number = [
                    "0",
                    "-1",
                    "1",
                    "255",
                    "65536",
                    "536870912",
                    "2147483648",
                    "4294967296",
                    "9007199254740993",
                    "1e400",
                    "0.5",
                ];
                let word = self.random.pick(&number).copied().unwrap_or_default();
                let digits = bytes.iter().skip(place).take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(place..place + digits, word.bytes());
            }
            _ => {
                let other = self.random.pick(pool).map_or(&[][..], Vec::as_slice);
                let from = self.random.below(other.len() + 1);
                let part = other.get(from..(from + self.length()).min(other.len())).unwrap_or_default().to_vec();
                bytes.splice(place..place, part);
            }
        }
    }

    /// Changes one JSON value for another, or removes or repeats it, so that what was well-formed mostly stays so.
    fn change_value(&mut self, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let spans = values(bytes);
        let Some(span) = self.random.pick(&spans).cloned() else { return };
        let followed = bytes.get(span.end) == Some(&b',');
        match self.random.below(6) {
            0 => drop(bytes.drain(span.start..span.end + usize::from(followed))),
            1 => {
                let mut copy = bytes.get(span.clone()).unwrap_or_default().to_vec();
                copy.push(b',');
                bytes.splice(span.start..span.start, copy);
            }
            2 => {
                let word = self.word();
                bytes.splice(span, word.bytes());
            }
            choice => {
                let other =
                    if choice == 3 { &bytes[..] } else { self.random.pick(pool).map_or(&[][..], Vec::as_slice) };
                let others = values(other);
                let part =
                    self.random.pick(&others).and_then(|part| other.get(part.clone())).unwrap_or_default().to_vec();
                bytes.splice(span, part);
            }
        }
    }

    /// A length: mostly short, sometimes long.
    fn length(&mut self) -> usize {
        let bound = [2, 8, 40, 400];
        let bound = self.random.pick(&bound).copied().unwrap_or_default();
        1 + self.random.below(bound)
    }
}
