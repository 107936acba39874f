//! Secrets within texts (agents.md 3.15).

use std::fmt;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";
/// A secret value shorter than this is not looked for: it would be found in words that have nothing to do with it.
pub const MIN_SECRET_BYTES: usize = 8;
/// What the tokens of GitHub begin with.
const TOKEN_PREFIXES: [&str; 6] = ["ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_"];
/// Within a word (`weighs_more`) only what is this long counts as a token.
const TOKEN_IN_WORD_BYTES: usize = 20;
const USER: &str = "x-access-token:";
const BEARER: &str = "bearer ";

/// Finds secrets in texts: those that it was given, and those that their form gives away.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

impl Redactor {
    /// A redactor that knows these values: keys of the environment, tokens of the session. They are the operator's and the
    /// service's, so their number is small.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES).collect();
        // The longest first: a secret may be the beginning of another one.
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets, or nothing if there are none in it. One pass over the text for its form, and one for each
    /// known secret.
    pub fn clean(&self, text: &str) -> Option<String> {
        let mut clean = by_form(text);
        for secret in &self.secrets {
            let now = clean.as_deref().unwrap_or(text);
            if now.contains(secret.as_str()) {
                clean = Some(now.replace(secret.as_str(), REDACTED));
            }
        }
        clean
    }
}

fn by_form(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut clean = String::new();
    let mut copied = 0;
    let mut at = 0;
    // Every step moves on by at least a byte, and what `secret_at` looks at is skipped if it is one.
    while at < bytes.len() {
        match secret_at(bytes, at) {
            Some(secret) => {
                // Both ends stand beside ASCII characters or at the ends of the text, so these are ends of characters.
                clean.push_str(text.get(copied..secret.start).unwrap_or_default());
                clean.push_str(REDACTED);
                copied = secret.end;
                at = secret.end;
            }
            None => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    clean.push_str(text.get(copied..).unwrap_or_default());
    Some(clean)
}

/// The part of the text to be taken out, if a secret is announced at this byte.
fn secret_at(bytes: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let rest = bytes.get(at..)?;
    // Whatever is looked for begins with one of these letters.
    if !matches!(rest.first()?, b'g' | b'x' | b'X' | b'b' | b'B') {
        return None;
    }
    if let Some(prefix) = TOKEN_PREFIXES.iter().find(|prefix| rest.starts_with(prefix.as_bytes())) {
        let start = at + prefix.len();
        let end = run(bytes, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        let in_word = at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        let named = bytes.get(start).is_some_and(u8::is_ascii_alphanumeric);
        return (named && (!in_word || end - start >= TOKEN_IN_WORD_BYTES)).then_some(at..end);
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

fn announces(rest: &[u8], word: &str) -> bool {
    rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    from + bytes.get(from..).unwrap_or_default().iter().take_while(|byte| belongs(**byte)).count()
}
