//! How a publish request ended (agents.md 2.6.7, 10.4).

/// The end of a publish request that pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Only a push was asked for.
    Pushed,
    /// The pull request is made.
    Created,
    /// There was an open pull request of this branch already.
    Existing,
    /// The branch is pushed, and a person has to make the pull request.
    Manual,
}

impl Outcome {
    /// The `status` of the answer.
    pub fn status(self) -> &'static str {
        match self {
            Self::Pushed => "pushed",
            Self::Created | Self::Existing => "pr-created",
            Self::Manual => "manual-pr-required",
        }
    }

    /// The `message` of the answer.
    pub fn message(self) -> &'static str {
        match self {
            Self::Pushed => "branch pushed",
            Self::Created => "branch pushed and pull request created",
            Self::Existing => "branch pushed; existing pull request found",
            Self::Manual => "branch pushed; pull request API failed, use manual URL",
        }
    }

    /// Whether the work is handed over, so that the runtime is put to sleep.
    pub fn ends_runtime(self) -> bool {
        matches!(self, Self::Created | Self::Existing)
    }
}

/// What is known about the pull request after the push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestState {
    /// GitHub made it.
    Created,
    /// GitHub answered with an error, so an open one is looked for.
    Refused {
        /// Whether one was found.
        open_one_found: bool,
    },
    /// There was no token, or GitHub was not reached (B43).
    NotAsked,
}

/// The end of a publish request that asked for a pull request.
pub fn after_pull_request(state: PullRequestState) -> Outcome {
    match state {
        PullRequestState::Created => Outcome::Created,
        PullRequestState::Refused { open_one_found: true } => Outcome::Existing,
        PullRequestState::Refused { open_one_found: false } | PullRequestState::NotAsked => Outcome::Manual,
    }
}
