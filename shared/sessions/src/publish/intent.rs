//! Chat messages that ask for a push or a pull request (agents.md 10.5).
//!
//! The whole message must be such a request, or it goes to the agent. In doubt it goes to the agent.

/// Longest message that is looked at, in characters.
pub const MAX_MESSAGE_CHARS: usize = 120;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Push the branch.
    Push,
    /// Push the branch and open a pull request.
    PullRequest,
}

impl Intent {
    /// The name in `audit.log`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::PullRequest => "pr",
        }
    }
}

const POLITE: &[&[&str]] = &[
    &["please"],
    &["pls"],
    &["can", "you"],
    &["could", "you"],
    &["would", "you"],
    &["will", "you"],
    &["let's"],
    &["ok"],
    &["now"],
    &["go", "ahead", "and"],
];
const CLOSING: &[&[&str]] = &[&["please"], &["now"], &["for", "me"], &["thanks"]];
const DOUBTFUL: &[&[&str]] = &[
    &["don't"],
    &["do", "not"],
    &["not", "yet"],
    &["before"],
    &["after"],
    &["without"],
    &["when"],
    &["if"],
    &["why"],
    &["how"],
    &["what"],
];

/// What a user's message asks for, if it is nothing but a request to publish.
pub fn intent(message: &str) -> Option<Intent> {
    let message = message.trim();
    // This bounds everything below: at most 120 characters, so at most 60 words.
    if message.chars().nth(MAX_MESSAGE_CHARS).is_some() || message.contains(['\n', '\r']) || message.contains("```") {
        return None;
    }
    let text = message.to_lowercase().replace('\u{2019}', "'");
    let text =
        text.trim_end_matches(|character: char| matches!(character, '.' | '!' | '?') || character.is_whitespace());
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    let is_doubtful = |phrase: &[&str]| words.windows(phrase.len()).any(|window| window == phrase);
    if DOUBTFUL.iter().any(|phrase| is_doubtful(phrase)) {
        return None;
    }
    let request = trimmed(&words);
    if is_pull_request(request) {
        Some(Intent::PullRequest)
    } else if is_push(request) {
        Some(Intent::Push)
    } else {
        None
    }
}

/// The words without polite ones in front and behind.
fn trimmed<'a, 'b>(mut words: &'a [&'b str]) -> &'a [&'b str] {
    // Each turn drops at least one word.
    while let Some(rest) = POLITE.iter().find_map(|phrase| words.strip_prefix(*phrase)) {
        words = rest;
    }
    while let Some(rest) = CLOSING.iter().find_map(|phrase| words.strip_suffix(*phrase)) {
        words = rest;
    }
    words
}

fn is_pull_request(words: &[&str]) -> bool {
    if words == ["pr"] {
        return true;
    }
    let words = words.strip_prefix(&["push", "and"]).unwrap_or(words);
    let Some(words) = one_of(words, &["submit", "create", "open", "make", "raise", "send"]) else { return false };
    let words = optional(words, &["a", "the", "an"]);
    let words = optional(words, &["new", "draft"]);
    let noun: [&[&str]; 3] = [&["pr"], &["pull", "request"], &["merge", "request"]];
    let Some(tail) = noun.iter().find_map(|noun| words.strip_prefix(*noun)) else { return false };
    match tail {
        [] => true,
        [join, which, what] => {
            ["for", "with", "of"].contains(join)
                && ["this", "the", "these", "my"].contains(which)
                && ["branch", "change", "changes", "work", "task"].contains(what)
        }
        _ => false,
    }
}

fn is_push(words: &[&str]) -> bool {
    if words == ["git", "push"] {
        return true;
    }
    let Some(words) = one_of(words, &["push"]) else { return false };
    let words = optional(words, &["it", "this", "the", "my", "these", "all"]);
    let words = optional(words, &["branch", "change", "changes", "commit", "commits", "code", "work"]);
    matches!(words, [] | ["to", "github" | "origin" | "remote"] | ["to", "the", "remote"])
}

/// The words after the first, when that is one of some words.
fn one_of<'a, 'b>(words: &'a [&'b str], allowed: &[&str]) -> Option<&'a [&'b str]> {
    words.split_first().filter(|(first, _)| allowed.contains(first)).map(|(_, rest)| rest)
}

fn optional<'a, 'b>(words: &'a [&'b str], allowed: &[&str]) -> &'a [&'b str] {
    one_of(words, allowed).unwrap_or(words)
}
