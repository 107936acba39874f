//! Whether a session may publish at all, in the order of agents.md 10.1.

use crate::repository::{BranchName, Repository, RepositoryError, requested_head};

/// What is known when somebody asks to publish an existing session.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the list, and none follows from the others")]
pub struct Admission<'a> {
    /// The session is completed, failed or canceled.
    pub is_terminal: bool,
    /// The session's capability `push-enabled`.
    pub push_enabled: bool,
    /// The session's capability `pr-enabled`.
    pub pr_enabled: bool,
    /// Whether a pull request is asked for.
    pub create_pr: bool,
    /// The session's repository.
    pub repo_url: Option<&'a str>,
    /// The session has a runtime to push from.
    pub has_runtime: bool,
    /// The branch that the request names.
    pub head_branch: Option<&'a str>,
}

/// Why a session does not publish. Nothing has happened yet: no event, no call. The display is the text of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 409.
    #[error("session is not writable")]
    NotWritable,
    /// 403: pushing is switched off, or a pull request is asked for and those are. The second is checked before the push
    /// as well (B4).
    #[error("forbidden")]
    Forbidden,
    /// 400.
    #[error("missing repo url")]
    MissingRepository,
    /// 409.
    #[error("session runtime unavailable")]
    RuntimeUnavailable,
    /// 400.
    #[error("invalid head branch")]
    InvalidHead,
}

/// The branch that the request names, when all conditions hold. A repository that is not on GitHub is found later, when a
/// token is asked for: the reference says so with an event (agents.md 10.4).
pub fn admit(facts: &Admission<'_>) -> Result<Option<BranchName>, Refused> {
    if facts.is_terminal {
        return Err(Refused::NotWritable);
    }
    if !facts.push_enabled || (facts.create_pr && !facts.pr_enabled) {
        return Err(Refused::Forbidden);
    }
    if Repository::parse(facts.repo_url.unwrap_or_default()) == Err(RepositoryError::Blank) {
        return Err(Refused::MissingRepository);
    }
    if !facts.has_runtime {
        return Err(Refused::RuntimeUnavailable);
    }
    requested_head(facts.head_branch).map_err(|_| Refused::InvalidHead)
}
