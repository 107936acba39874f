//! Names of branches: an allow-list that is a part of what git takes (agents.md 9.2, B58).

use std::fmt;

/// Longest name of a branch, in characters.
pub const MAX_BRANCH_CHARS: usize = 200;
/// Most names in a list of branches (agents.md 2.8).
pub const MAX_BRANCHES: usize = 1_000;

/// A branch name that passed the rules of agents.md 9.2. It never begins with `-`, so no command takes it for an option,
/// and has no character that means anything to a shell within quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchName(String);

/// Why a text is not a branch name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BranchError {
    /// Nothing but blanks.
    #[error("branch name is blank")]
    Blank,
    /// Longer than [`MAX_BRANCH_CHARS`].
    #[error("branch name is too long")]
    TooLong,
    /// `HEAD` and `@` mean something else to git.
    #[error("branch name is reserved")]
    Reserved,
    /// A character that is not on the list, or a sequence of allowed ones that git refuses (`..`, `//`).
    #[error("branch name has a character or sequence that is not allowed")]
    Character,
    /// It begins with `-`, `/` or `.`, or ends with `/` or `.`.
    #[error("branch name begins or ends with a character that is not allowed there")]
    Edge,
    /// A part between slashes begins with `.` or ends with `.lock`.
    #[error("branch name has a part that is not allowed")]
    Part,
}

impl BranchName {
    /// Checks a name. Blanks around it are dropped.
    pub fn parse(text: &str) -> Result<Self, BranchError> {
        let name = text.trim();
        if name.is_empty() {
            return Err(BranchError::Blank);
        }
        // Only ASCII passes below, so bytes are characters. This bounds every walk that follows.
        if name.len() > MAX_BRANCH_CHARS {
            return Err(BranchError::TooLong);
        }
        if name == "HEAD" || name == "@" {
            return Err(BranchError::Reserved);
        }
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b'+' | b'@' | b'#');
        if !name.bytes().all(allowed) || name.contains("..") || name.contains("//") {
            return Err(BranchError::Character);
        }
        if name.starts_with(['-', '/', '.']) || name.ends_with(['/', '.']) {
            return Err(BranchError::Edge);
        }
        if name.split('/').any(|part| part.starts_with('.') || part.strip_suffix(".lock").is_some()) {
            return Err(BranchError::Part);
        }
        Ok(Self(name.to_owned()))
    }

    /// A name that is only a wish or a report: the requested base, what a list holds, the detected default. What is not
    /// valid counts as absent.
    pub fn wish(text: Option<&str>) -> Option<Self> {
        text.and_then(|text| Self::parse(text).ok())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that no rule was asked about, for tests of what happens behind the door.
    #[cfg(test)]
    pub(crate) fn unchecked(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The branch that a publish request names. Blank is absent; what is not valid is an error and never replaced, for nobody
/// wants a push to another branch than the one named (agents.md 9.2).
pub fn requested_head(text: Option<&str>) -> Result<Option<BranchName>, BranchError> {
    match text.map(BranchName::parse) {
        None | Some(Err(BranchError::Blank)) => Ok(None),
        Some(Ok(name)) => Ok(Some(name)),
        Some(Err(error)) => Err(error),
    }
}

/// The first of some wishes that is a valid name.
pub fn first_valid<'a>(wishes: impl IntoIterator<Item = Option<&'a str>>) -> Option<BranchName> {
    wishes.into_iter().find_map(BranchName::wish)
}

/// The names of a repository's branches as GitHub listed them, without invalid ones and repetitions, in GitHub's order, at
/// most [`MAX_BRANCHES`].
pub fn branch_list<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<BranchName> {
    let mut seen = std::collections::BTreeSet::new();
    // The answers of GitHub are bounded in bytes (agents.md 2.8), and the list by its limit.
    names
        .into_iter()
        .filter_map(|name| BranchName::parse(name).ok())
        .filter(|name| seen.insert(name.clone()))
        .take(MAX_BRANCHES)
        .collect()
}
