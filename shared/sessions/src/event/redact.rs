//! Secrets within texts (agents.md 3.15).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;

use super::forms::forms;
use super::split::MIN_OPEN_BYTES;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";
/// A secret value shorter than this is not looked for: it would be found in words that have nothing to do with it.
pub const MIN_SECRET_BYTES: usize = 8;
/// Secrets that are made on the way and remembered.
const MAX_LEARNED: usize = 16;
/// What the tokens of GitHub begin with, and those of runners (session-mailbox.md 7.2).
const TOKEN_PREFIXES: [&str; 7] = ["ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_", crate::mailbox::TOKEN_PREFIX];
/// Within a word (`weighs_more`) only what is this long counts as a token.
const TOKEN_IN_WORD_BYTES: usize = 20;
/// What a signed token in three parts begins with: `{"` in base64.
const JWT: &str = "eyJ";
/// The shortest part of one that is taken for a token's.
const JWT_PART_BYTES: usize = 8;
const USER: &str = "x-access-token:";
const BEARER: &str = "bearer ";

/// Finds secrets in texts: those that it was given, in every form of [`super::forms`], and those that their form gives away.
#[derive(Clone, Default)]
pub struct Redactor {
    /// What it was given.
    given: Vec<String>,
    /// What is looked for, by its first two bytes; of each the longest first, as a secret may be the beginning of another one.
    known: BTreeMap<[u8; 2], Vec<String>>,
    /// What it has learned on the way, the latest last; at most [`MAX_LEARNED`].
    learned: VecDeque<String>,
    /// First bytes of what is looked for: a bit for each.
    starts: [u64; 4],
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.given.len() + self.learned.len())
    }
}

impl Redactor {
    /// A redactor that knows these values: keys of the environment, tokens of the session. They are the operator's and the
    /// service's, so their number is small.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut it = Self { given: secrets.into_iter().collect(), ..Self::default() };
        it.look_for_all();
        it
    }

    /// Looks for what it has now, and for nothing else.
    fn look_for_all(&mut self) {
        self.known.clear();
        self.starts = [0; 4];
        for secret in self.given.clone().iter().chain(&self.learned.clone()) {
            self.know(secret);
        }
    }

    /// From now on this value, which was made on the way, is looked for too. The last few of them are.
    pub fn learn(&mut self, secret: &str) {
        if self.learned.iter().any(|known| known == secret) {
            return;
        }
        self.learned.push_back(secret.to_owned());
        if self.learned.len() > MAX_LEARNED {
            self.learned.pop_front();
            self.look_for_all();
        } else {
            self.know(secret);
        }
    }

    /// The same with what another one has learned lately.
    #[must_use]
    pub fn with_learned(mut self, other: &Self) -> Self {
        for secret in &other.learned {
            self.learn(secret);
        }
        self
    }

    fn know(&mut self, secret: &str) {
        if secret.len() < MIN_SECRET_BYTES {
            return;
        }
        for form in forms(secret) {
            let (Some(&first), Some(&second)) = (form.as_bytes().first(), form.as_bytes().get(1)) else { continue };
            if let Some(word) = self.starts.get_mut(usize::from(first >> 6)) {
                *word |= 1 << (first & 63);
            }
            let place = self.known.entry([first, second]).or_default();
            if !place.contains(&form) {
                place.push(form);
                place.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            }
        }
    }

    /// The text without secrets, or nothing if there are none in it: one pass over the text.
    pub fn clean(&self, text: &str) -> Option<String> {
        self.without_secrets(text, 0)
    }

    /// The text behind a byte, where a character begins, without secrets; also those that began before it.
    pub(super) fn clean_after(&self, text: &str, from: usize) -> String {
        self.without_secrets(text, from).unwrap_or_else(|| text.get(from..).unwrap_or_default().to_owned())
    }

    fn without_secrets(&self, text: &str, from: usize) -> Option<String> {
        let bytes = text.as_bytes();
        let mut clean = String::new();
        let mut copied = from;
        let mut at = 0;
        // Every step moves on by at least a byte, and what is looked at is skipped if it is a secret.
        while at < bytes.len() {
            match secret_at(bytes, at).or_else(|| self.known_at(bytes, at)) {
                Some(secret) if secret.end <= from => at = secret.end,
                Some(secret) => {
                    // Both ends stand beside ASCII characters, at the ends of the text or of a known text, so these are ends of characters.
                    clean.push_str(text.get(copied..secret.start.max(from)).unwrap_or_default());
                    clean.push_str(REDACTED);
                    copied = secret.end;
                    at = secret.end;
                }
                None => at += 1,
            }
        }
        if copied == from {
            return None;
        }
        clean.push_str(text.get(copied..).unwrap_or_default());
        Some(clean)
    }

    /// Where the end of a text begins that may be the beginning of a secret, or the whole of one that goes on; the length of the text
    /// if it has no such end.
    pub(super) fn open_end(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        // As above: every step moves on.
        while at + MIN_OPEN_BYTES <= bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if is_open_form(bytes, at) || self.begins_known(rest) {
                return at;
            }
            let whole = secret_at(bytes, at).or_else(|| self.known_at(bytes, at));
            at = whole.map_or(at + 1, |secret| secret.end);
        }
        text.len()
    }

    /// Whether this is the beginning of a known secret, and not all of it.
    fn begins_known(&self, rest: &[u8]) -> bool {
        let (Some(&first), Some(&second)) = (rest.first(), rest.get(1)) else { return false };
        let is_start = self.starts.get(usize::from(first >> 6)).is_some_and(|word| word >> (first & 63) & 1 == 1);
        let same = if is_start { self.known.get(&[first, second]) } else { None };
        same.into_iter().flatten().any(|known| known.len() > rest.len() && known.as_bytes().starts_with(rest))
    }

    /// The known secret that begins at this byte.
    fn known_at(&self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        let first = *bytes.get(at)?;
        if self.starts.get(usize::from(first >> 6)).is_none_or(|word| word >> (first & 63) & 1 == 0) {
            return None;
        }
        let (rest, second) = (bytes.get(at..)?, *bytes.get(at + 1)?);
        let found = self.known.get(&[first, second])?.iter().find(|known| rest.starts_with(known.as_bytes()))?;
        Some(at..at + found.len())
    }
}

/// The part of the text to be taken out, if a secret is announced at this byte.
fn secret_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    // Whatever is looked for begins with one of these letters.
    if !matches!(rest.first()?, b'g' | b'l' | b'x' | b'X' | b'b' | b'B' | b'e') {
        return None;
    }
    if let Some(prefix) = TOKEN_PREFIXES.iter().find(|prefix| rest.starts_with(prefix.as_bytes())) {
        let start = at + prefix.len();
        let end = run(bytes, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        let in_word = at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        let named = bytes.get(start).is_some_and(u8::is_ascii_alphanumeric);
        return (named && (!in_word || end - start >= TOKEN_IN_WORD_BYTES)).then_some(at..end);
    }
    if rest.starts_with(JWT.as_bytes()) {
        return signed_token(bytes, at);
    }
    if announces(rest, USER) {
        let start = at + USER.len();
        let end = run(bytes, start, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'@' | b'"' | b'\'' | b'/'));
        return (end > start).then_some(start..end);
    }
    if announces(rest, BEARER) {
        let start = at + BEARER.len();
        let end = run(bytes, start, |byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        return (end > start).then_some(start..end);
    }
    None
}

/// Whether a secret that its form gives away may begin at this byte and go on behind the end of the text.
fn is_open_form(bytes: &[u8], at: usize) -> bool {
    let Some(rest) =
        bytes.get(at..).filter(|rest| matches!(rest.first(), Some(b'g' | b'l' | b'x' | b'X' | b'b' | b'B' | b'e')))
    else {
        return false;
    };
    let begins = |word: &str, rest: &[u8]| {
        rest.len() >= MIN_OPEN_BYTES
            && word.as_bytes().get(..rest.len()).is_some_and(|start| start.eq_ignore_ascii_case(rest))
    };
    if TOKEN_PREFIXES.iter().any(|prefix| begins(prefix, rest)) || begins(USER, rest) || begins(BEARER, rest) {
        return true;
    }
    if rest.starts_with(JWT.as_bytes()) {
        return rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    }
    if announces(rest, USER) || announces(rest, BEARER) {
        return secret_at(bytes, at).is_none_or(|secret| secret.end == bytes.len());
    }
    secret_at(bytes, at).is_some_and(|secret| secret.end == bytes.len())
}

/// A token of three parts in base64 that begins here: one of a user, a run or a viewer.
fn signed_token(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let in_word = at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
    if in_word {
        return None;
    }
    let mut from = at;
    for part in 0..3 {
        let end = run(bytes, from, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if end - from < JWT_PART_BYTES {
            return None;
        }
        if part == 2 {
            return Some(at..end);
        }
        if bytes.get(end) != Some(&b'.') {
            return None;
        }
        from = end + 1;
    }
    None
}

fn announces(rest: &[u8], word: &str) -> bool {
    rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    from + bytes.get(from..).unwrap_or_default().iter().take_while(|byte| belongs(**byte)).count()
}
