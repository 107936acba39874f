//! Why a request about transcripts is refused (transcripts.md 4.4).

/// Each has a code of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token is none, has expired, or its run has ended too long ago.
    #[error("unauthorized")]
    Unauthorized,
    /// The token does not allow this.
    #[error("forbidden")]
    Scope,
    /// The run is another one than the token's.
    #[error("run does not match the token")]
    RunMismatch,
    /// The run belongs to another session, or to none.
    #[error("run is not of this session")]
    RunNotInSession,
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// The body is not what the route takes.
    #[error("{0}")]
    Invalid(&'static str),
    /// The run is completed already.
    #[error("run is completed already")]
    CompletedExists,
    /// A later attempt was stored, or another sandbox has the session.
    #[error("stale attempt")]
    StaleAttempt,
    /// The content does not go on with what is stored.
    #[error("content differs from the stored snapshot")]
    Divergent,
    /// The conversation was reset after this run began.
    #[error("the conversation was reset")]
    EpochGone,
    /// The body is larger than allowed.
    #[error("transcript too large")]
    TooLarge,
    /// With it the user would have more stored than the operator allows.
    #[error("quota exceeded")]
    Quota,
    /// The body is not what its digest says.
    #[error("digest does not match")]
    DigestMismatch,
    /// The range does not lie within the content.
    #[error("range not satisfiable")]
    Range,
    /// Too many uploads at the same time.
    #[error("too many uploads")]
    Busy,
    /// The content cannot be found, nor that of an earlier run.
    #[error("transcript is not readable")]
    BodyMissing,
    /// The operator has set no keys for run tokens.
    #[error("secrets key not configured")]
    NoKeys,
    /// There is no store.
    #[error("transcripts are not configured")]
    NoStore,
}

impl Refused {
    /// The word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Scope => "scope",
            Self::RunMismatch => "run_mismatch",
            Self::RunNotInSession => "run_not_in_session",
            Self::NotFound => "not_found",
            Self::Invalid(_) => "invalid",
            Self::CompletedExists => "completed_exists",
            Self::StaleAttempt => "stale_attempt",
            Self::Divergent => "divergent",
            Self::EpochGone => "epoch_gone",
            Self::TooLarge => "too_large",
            Self::Quota => "quota",
            Self::DigestMismatch => "digest_mismatch",
            Self::Range => "range",
            Self::Busy => "busy",
            Self::BodyMissing => "transcript_body_missing",
            Self::NoKeys => "no_keys",
            Self::NoStore => "not_configured",
        }
    }
}
