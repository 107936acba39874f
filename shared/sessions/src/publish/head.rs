//! Which branch is pushed, and which one a pull request goes into (agents.md 10.2).

use super::texts::summary_line;
use crate::repository::{BranchName, first_valid};

const MAX_SLUG_CHARS: usize = 54;
const SUFFIX_CHARS: usize = 8;

const FIX: &[&str] = &["fix", "bug", "issue", "error", "hotfix", "regression", "broken", "crash"];
const PERF: &[&str] = &["perf", "performance", "optimise", "optimize", "latency", "faster", "speed", "throughput"];

/// The first wish that is a valid name and not `avoid`; else `main` or `master`, whichever is not; else the first valid wish.
fn pick(wishes: &[Option<&str>], avoid: Option<&BranchName>) -> Option<BranchName> {
    let names: Vec<BranchName> = wishes.iter().filter_map(|wish| BranchName::wish(*wish)).collect();
    let usual = ["main", "master"].into_iter().filter_map(|name| BranchName::wish(Some(name)));
    names.iter().cloned().chain(usual).find(|name| Some(name) != avoid).or_else(|| names.into_iter().next())
}

/// The base that a push is measured against.
pub fn push_base(requested: Option<&str>, task: Option<&str>) -> Option<BranchName> {
    pick(&[requested, task, Some("main")], None)
}

/// The base of the pull request, never the head itself where another can be had. A base that was asked for goes before the
/// detected default branch (B42).
pub fn pull_request_base(
    requested: Option<&str>,
    task: Option<&str>,
    detected: Option<&str>,
    head: &BranchName,
) -> Option<BranchName> {
    pick(&[requested, task, detected, Some("main")], Some(head))
}

/// What a generated branch name is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The title of the session's node (`source.node-title`, B40).
    pub node_title: Option<&'a str>,
    /// The project's title, used when the node has none.
    pub project_title: Option<&'a str>,
    /// The title that the request brings.
    pub title: Option<&'a str>,
    /// The text of the pull request that the request brings.
    pub body: Option<&'a str>,
    /// The session's id.
    pub session_id: &'a str,
}

/// A branch name made from titles and the session's id. It consists of `a-z`, `0-9`, `-` and one slash, so it is valid.
pub fn generated(names: &Names<'_>) -> Option<BranchName> {
    let is_filled = |text: &&str| !text.trim().is_empty();
    let task = names.node_title.filter(is_filled).or(names.project_title);
    let summary = names.body.and_then(summary_line);
    let texts: Vec<&str> = [task, names.title, summary.as_deref()].into_iter().flatten().filter(is_filled).collect();
    let suffix: String = names
        .session_id
        .chars()
        .map(|character| character.to_ascii_lowercase())
        .filter(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
        .take(SUFFIX_CHARS)
        .collect();
    let suffix = if suffix.is_empty() { "session" } else { suffix.as_str() };
    let slug: String = slug(&texts).chars().take(MAX_SLUG_CHARS.saturating_sub(suffix.len() + 1)).collect();
    BranchName::wish(Some(&format!("{}/{}-{suffix}", prefix(&texts), slug.trim_end_matches('-'))))
}

fn prefix(texts: &[&str]) -> &'static str {
    let text = texts.join(" ").to_lowercase();
    let has =
        |words: &[&str]| text.split(|character: char| !character.is_alphanumeric()).any(|word| words.contains(&word));
    if has(FIX) {
        "fix"
    } else if has(PERF) {
        "perf"
    } else {
        "feat"
    }
}

fn slug(texts: &[&str]) -> String {
    let mut parts: Vec<String> = Vec::new();
    // At most three texts; their lengths are those of the request, which is bounded.
    for text in texts {
        let mut part = String::new();
        for character in text.to_lowercase().chars().filter(|character| !matches!(character, '\'' | '`' | '"')) {
            if character.is_ascii_lowercase() || character.is_ascii_digit() {
                part.push(character);
            } else if !part.is_empty() && !part.ends_with('-') {
                part.push('-');
            }
        }
        let part = part.trim_end_matches('-').to_owned();
        if !part.is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() { "update".to_owned() } else { parts.join("-") }
}

/// What the head branch is chosen from.
#[derive(Clone, Copy, Debug)]
pub struct HeadChoice<'a> {
    /// The branch that the request names, already checked.
    pub requested: Option<&'a BranchName>,
    /// Whether a pull request is asked for.
    pub create_pr: bool,
    /// Whether a message of the chat asked, in which case the base is never pushed to.
    pub from_chat: bool,
    /// The setting `AGENT_PUSH_TO_BASE`: a push without a named branch goes to the base.
    pub push_to_base: bool,
    /// The branches that the checkpoint remembers (`bundle-head-branch`, `head-branch`), the best first.
    pub checkpoint: [Option<&'a str>; 2],
    /// The base of the push.
    pub base: Option<&'a BranchName>,
    /// What a generated name is made of.
    pub names: Names<'a>,
}

impl HeadChoice<'_> {
    /// The branch that is pushed.
    pub fn choose(&self) -> Option<BranchName> {
        let generated = || generated(&self.names);
        if let Some(requested) = self.requested {
            // A pull request needs two branches.
            let is_base = self.create_pr && Some(requested) == self.base;
            return if is_base { generated() } else { Some(requested.clone()) };
        }
        if self.push_to_base && !self.create_pr && !self.from_chat {
            return first_valid(self.checkpoint).or_else(|| self.base.cloned());
        }
        generated()
    }
}
