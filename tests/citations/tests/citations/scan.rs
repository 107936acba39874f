//! Finds citations in a text.

use std::fmt;

use crate::spec::is_decision;
use crate::text::Text;

/// What a text refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cited {
    /// A section of a document: `sync.md 11.4`.
    Section { document: String, number: String },
    /// A decision: `D-62`.
    Decision(String),
    /// A file or folder of the project.
    File(String),
    /// A section of nobody knows which document.
    Nameless(String),
}

impl Cited {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Section { .. } => "section",
            Self::Decision(_) => "decision",
            Self::File(_) => "file",
            Self::Nameless(_) => "nameless",
        }
    }
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section { document, number } => write!(f, "{document} {number}"),
            Self::Decision(text) | Self::File(text) | Self::Nameless(text) => f.write_str(text),
        }
    }
}

/// Folders at the top: a path that begins with one is meant to exist.
const TOP: [&str; 8] = ["benches/", "docs/", "fuzz/", "migrations/", "shared/", "sync-worker/", "tests/", "xtask/"];

/// Words before a number that make it a section of the document it stands in.
const BEFORE_OWN_NUMBER: [&str; 6] = ["as in ", " in ", " of ", " see ", " by ", " beyond "];

/// Words after a number that make it a quantity.
const UNITS: [&str; 8] = ["%", "KiB", "MiB", "kB", "KB", "MB", "ms", "s"];

/// All citations of a text, each with its line.
pub(crate) fn citations(text: &Text) -> Vec<(usize, Cited)> {
    let whole = text.as_str();
    let mut found = Vec::new();
    // Numbers before this place belong to a citation that was found already.
    let mut taken = 0;
    for (at, word) in words(whole) {
        if at >= taken {
            let before = found.len();
            look_at(text, at, word, &mut found);
            taken = found[before..].iter().map(|(at, _)| at + 1).max().unwrap_or(taken);
        }
    }
    found.into_iter().map(|(at, cited)| (text.line(at), cited)).collect()
}

/// What one word begins, with the place of each part.
fn look_at(text: &Text, at: usize, word: &str, found: &mut Vec<(usize, Cited)>) {
    let whole = text.as_str();
    let end = at + word.len();
    let name = word.rsplit('/').next().unwrap_or(word);
    if name.strip_suffix(".md").is_some_and(|stem| !stem.is_empty()) {
        let numbers = numbers(whole, skip_introduction(whole, end));
        if numbers.is_empty() && text.is_prose(at) {
            found.push((at, Cited::File(word.to_owned())));
        }
        found.extend(numbers.iter().map(|(at, number)| (*at, section(name, number))));
    } else if word == "anchors" {
        let next = whole[end..].trim_start().split(' ').next().unwrap_or_default();
        if next.starts_with(|c: char| c.is_ascii_uppercase()) && next.contains('.') {
            found.push((at, Cited::Nameless(format!("anchors {next}"))));
        }
    } else if matches!(word, "section" | "sections") {
        let numbers = numbers(whole, skip_introduction(whole, end));
        if let Some(own) = text.spec_name() {
            found.extend(numbers.iter().map(|(at, number)| (*at, section(own, number))));
        } else if let Some((_, number)) = numbers.first()
            && text.is_prose(at)
            && !is_of_an_rfc(&whole[..at])
        {
            found.push((at, Cited::Nameless(format!("section {number}"))));
        }
    } else if word.split('/').any(is_decision) {
        let decisions = word.split('/').filter(|part| is_decision(part));
        found.extend(decisions.map(|id| (at, Cited::Decision(id.to_owned()))));
    } else if let Some(own) = text.spec_name() {
        if is_own_number(whole, at, word) {
            found.push((at, section(own, word)));
        }
    } else if text.extension() == "md" && whole[..at].ends_with('`') && is_path(word) {
        found.push((at, Cited::File(word.to_owned())));
    }
}

/// Whether a text ends like `RFC 9110, `.
fn is_of_an_rfc(before: &str) -> bool {
    before.trim_end_matches([' ', ',']).trim_end_matches(|c: char| c.is_ascii_digit()).ends_with("RFC ")
}

fn section(document: &str, number: &str) -> Cited {
    Cited::Section { document: document.to_owned(), number: number.to_owned() }
}

/// Runs of letters, digits, `_`, `-`, `.` and `/`, without punctuation at their end.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(inside)?;
        let length = text[start..].find(|c| !inside(c)).unwrap_or(text.len() - start);
        from = start + length;
        Some((start, text[start..from].trim_end_matches(['.', '/', '-'])))
    })
}

fn is_path(word: &str) -> bool {
    let source = [".rs", ".mjs", ".sql", ".toml"].iter().any(|extension| word.ends_with(extension));
    source || TOP.iter().any(|folder| word.starts_with(folder))
}

/// Whether a number within a document of the specification is one of its sections: `(7.5)`, `as in 7.5`.
fn is_own_number(text: &str, at: usize, word: &str) -> bool {
    let Some((chapter, rest)) = word.split_once('.') else {
        return false;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(chapter) || !digits(rest) || chapter.len() > 2 || rest.len() > 2 {
        return false;
    }
    let before = &text[..at];
    let after = &text[at + word.len()..];
    let unit = after.trim_start().split(|c: char| !c.is_alphanumeric() && c != '%').next().unwrap_or_default();
    !UNITS.contains(&unit)
        && (before.ends_with('(') && after.starts_with([')', ',', ';', ' '])
            || BEFORE_OWN_NUMBER.iter().any(|words| before.ends_with(words)))
}

/// Skips what may stand between the name of a document and a number: a backtick, a comma, "section".
fn skip_introduction(text: &str, mut at: usize) -> usize {
    for part in ["`", ",", " ", "chapter ", "section ", "sections "] {
        if text[at..].starts_with(part) {
            at += part.len();
        }
    }
    at
}

/// The numbers of a list such as `7.5, 7.6 rule 3 and 11.4–11.8`, each with its place. Numbers of rules and steps are
/// passed over.
fn numbers(text: &str, mut at: usize) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    while let Some(number) = number(&text[at..]) {
        found.push((at, number));
        at = skip_parts(text, at + number.len());
        let Some(next) = separator(&text[at..]) else { break };
        at += next;
    }
    found
}

/// The number that a text begins with: `7`, `7.5`; none where more than a number follows.
fn number(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].trim_end_matches('.');
    let goes_on = text[number.len()..].starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '%'));
    (number.starts_with(|c: char| c.is_ascii_digit()) && !goes_on).then_some(number)
}

/// Passes over what narrows a section down: ` rule 3`, ` rules 5 to 10`, ` step 2`, `, step 2`, ` b–d`.
fn skip_parts(text: &str, at: usize) -> usize {
    for word in [" rules ", " rule ", " steps ", " step ", ", step ", ", rule "] {
        let Some(rest) = text[at..].strip_prefix(word) else { continue };
        let mut inner = at + text[at..].len() - rest.len();
        while let Some(part) = number(&text[inner..]).filter(|part| !part.contains('.')) {
            inner += part.len();
            match separator(&text[inner..]) {
                Some(next) if number(&text[inner + next..]).is_some_and(|part| !part.contains('.')) => inner += next,
                _ => break,
            }
        }
        return inner;
    }
    let letters = text[at..].strip_prefix(' ').map_or("", |rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '–').unwrap_or(rest.len());
        &rest[..end]
    });
    if letters.chars().count() == 1 || letters.contains('–') { at + 1 + letters.len() } else { at }
}

/// The length of what may stand between two numbers of a list, where another number follows.
fn separator(text: &str) -> Option<usize> {
    [", and ", ", ", " and ", " or ", " to ", "–", "; "]
        .iter()
        .find(|separator| text.starts_with(**separator))
        .map(|separator| separator.len())
        .filter(|length| number(&text[*length..]).is_some())
}
