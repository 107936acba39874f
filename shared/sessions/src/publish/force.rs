//! Force pushes reach only branches that the session made and nobody else has moved (agents.md 10.2, B62).

use super::push::CommitId;
use crate::command::Lease;
use crate::repository::BranchName;

/// The setting `AGENT_PROTECTED_BRANCHES`: a comma list of patterns. `*` stands for any text, slashes included, and `?` for
/// one character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedBranches(Vec<String>);

impl ProtectedBranches {
    /// Reads the setting. Blank patterns are left out.
    pub fn parse(setting: &str) -> Self {
        Self(setting.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect())
    }

    fn contain(&self, name: &BranchName) -> bool {
        self.0.iter().any(|pattern| glob(pattern, name.as_str()))
    }
}

/// Whether a name fits a pattern. The work is bounded by the product of both lengths: the name is at most 200 characters
/// long, and the pattern is the operator's.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // Where to go on when what follows the last star did not fit.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before = pattern.clone();
        match (pattern.next(), name.clone().next()) {
            (None, None) => return true,
            (Some('*'), _) => retry = Some((before, name.clone())),
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                name.next();
            }
            _ => {
                let Some((star, mut taken)) = retry.take() else { return false };
                if taken.next().is_none() {
                    return false;
                }
                (pattern, name) = (star, taken);
            }
        }
    }
}

/// What a force push is judged by.
#[derive(Clone, Copy, Debug)]
pub struct ForceFacts<'a> {
    /// The repository's default branch, asked with the push token. No answer counts as a refusal.
    pub default_branch: Option<&'a BranchName>,
    /// The session's base branch.
    pub base: Option<&'a BranchName>,
    /// Branches that the operator protects.
    pub protected: &'a ProtectedBranches,
    /// Where this session's last push left the head, if the session made that branch.
    pub last_pushed: Option<&'a CommitId>,
}

/// A refused force push: 403, with this text (agents.md 2.6.7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceRefused {
    /// Known before anything happens.
    #[error("force push to {0} is not allowed")]
    NotAllowed(BranchName),
    /// Said by git or by GitHub's branch protection.
    #[error("force push refused: {0} was not created by this session or has changed since")]
    NotOurs(BranchName),
}

/// What the remote branch must be for a force push of this head, or why there is none.
pub fn lease(head: &BranchName, facts: &ForceFacts<'_>) -> Result<Lease, ForceRefused> {
    let is_usual = matches!(head.as_str(), "main" | "master");
    let is_default = facts.default_branch.is_none_or(|default| default == head);
    if is_usual || is_default || facts.base == Some(head) || facts.protected.contain(head) {
        return Err(ForceRefused::NotAllowed(head.clone()));
    }
    Ok(facts.last_pushed.map_or(Lease::Absent, |commit| Lease::At(commit.clone())))
}
