//! What the output of a push says (agents.md 5.3.9).

use crate::repository::BranchName;

/// The id of a commit: 40 or 64 small hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitId(String);

impl CommitId {
    /// Reads an id; none when the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (matches!(text.len(), 40 | 64) && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a successful push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReport {
    /// The commit that the branch is at now.
    pub commit: CommitId,
    /// The branch was not there before, so it is this session's from now on.
    pub is_new: bool,
}

impl PushReport {
    /// Reads the output of the push command; none when it does not say what was pushed.
    pub fn parse(stdout: &str, head: &BranchName) -> Option<Self> {
        let reference = format!("refs/heads/{head}");
        let mut commit = None;
        let mut is_new = false;
        // One walk over an output that is bounded (agents.md 2.8).
        for line in stdout.lines() {
            if let Some(id) = line.strip_prefix("agent-commit ") {
                commit = CommitId::parse(id);
            } else if let Some(rest) = line.strip_prefix("*\t") {
                let references = rest.split('\t').next().unwrap_or_default();
                is_new |= references.rsplit(':').next() == Some(reference.as_str());
            }
        }
        commit.map(|commit| Self { commit, is_new })
    }
}

/// The reason of a failed push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The token was not accepted.
    Auth,
    /// There is nothing to push.
    NoCommits,
    /// The remote branch has commits that are not here.
    RemoteRejected,
    /// A force push did not find the branch as its lease says, or GitHub protects the branch.
    ForceRefused,
    /// The provider of the runtime does not push.
    Unsupported,
    /// Anything else.
    Unknown,
}

impl FailureClass {
    /// The `reason` of `git.push.failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::NoCommits => "no-commits",
            Self::RemoteRejected => "remote-rejected",
            Self::ForceRefused => "force-refused",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
        }
    }
}

/// The class of a failed push, from the error's message and the command's output, at most 256 KiB each.
pub fn classify(message: &str, stderr: &str, stdout: &str, force: bool) -> FailureClass {
    let text = format!("{message}\n{stderr}\n{stdout}").to_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if force && has(&["stale info", "protected branch"]) {
        FailureClass::ForceRefused
    } else if has(&["authentication failed", "could not read username", "permission denied", "repository not found"]) {
        FailureClass::Auth
    } else if has(&["src refspec", "does not match any"]) {
        FailureClass::NoCommits
    } else if has(&["non-fast-forward", "[rejected]", "fetch first"]) {
        FailureClass::RemoteRejected
    } else {
        FailureClass::Unknown
    }
}
