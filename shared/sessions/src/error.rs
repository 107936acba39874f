//! Every refusal of the agents service, and the one place where each gets its status and its text (agents.md 2.3, 2.8).

use std::borrow::Cow;

use database::DbError;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use web::{Cors, Refusal};

use crate::publish::{ForceRefused, Refused};
use crate::session::NoTransition;
use crate::session::decide::{Busy, SetBudgetError};
use crate::workspace::PathError;

/// What pages of other origins may ask, and see of the answers (agents.md 2.1).
pub const CORS: Cors = Cors {
    allow_headers: "content-type,content-encoding,authorization,x-amz-meta-checksum,x-amz-meta-type,\
        idempotency-key,last-event-id",
    allow_methods: "GET,POST,PUT,DELETE,OPTIONS,HEAD",
    expose_headers: "content-type,content-encoding,content-length,cache-control,x-asset-type",
};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody is known to ask, or somebody without a name where one is needed.
    #[error("unauthorized")]
    Unauthorized,
    /// A login with `ChatGPT` is needed (agents.md 12.4).
    #[error("chatgpt login required")]
    LoginRequired,
    /// The stored login has expired.
    #[error("chatgpt login expired, reconnect required")]
    LoginExpired,
    /// The caller may not do this.
    #[error("forbidden")]
    Forbidden,
    /// A branch may not be overwritten.
    #[error(transparent)]
    Force(#[from] ForceRefused),
    /// No such thing, or none that the caller may know of.
    #[error("not found")]
    NotFound,
    /// The body is missing.
    #[error("missing body")]
    MissingBody,
    /// The body is not what the route takes.
    #[error("invalid body")]
    InvalidBody,
    /// The address of a webhook may not be called.
    #[error("invalid url")]
    InvalidUrl,
    /// The message is none.
    #[error("invalid message")]
    InvalidMessage,
    /// A runner that calls us cannot have this name.
    #[error("invalid runner id")]
    InvalidRunnerId,
    /// Runners can only be called, they cannot call: the operator has not bound their objects (session-mailbox.md 7.2).
    #[error("mailbox transport is off")]
    MailboxOff,
    /// A runner that calls us says by that that it is there.
    #[error("runner uses the mailbox")]
    RunnerUsesMailbox,
    /// A session cannot have this id.
    #[error("invalid session id")]
    InvalidSessionId,
    /// No repository is named.
    #[error("missing repo url")]
    MissingRepository,
    /// The branch cannot be pushed to.
    #[error("invalid head branch")]
    InvalidHead,
    /// A login could not be stored.
    #[error("failed to import chatgpt credentials")]
    ImportFailed,
    /// The status of the session does not allow it.
    #[error(transparent)]
    Transition(#[from] NoTransition),
    /// The session has ended.
    #[error("session is not writable")]
    NotWritable,
    /// A limit of the budget is used up.
    #[error("budget reached: {}", .0.as_str())]
    BudgetReached(crate::session::budget::Kind),
    /// Something goes on in the session that must not be broken off.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// New limits are below what was used.
    #[error("budget below use")]
    BudgetBelowUse,
    /// A turn runs that is not to be broken off.
    #[error("turn is running")]
    TurnRunning,
    /// A runner that calls us does not answer.
    #[error("runner is offline")]
    RunnerOffline,
    /// There is no runtime to do it with.
    #[error("session runtime unavailable")]
    RuntimeUnavailable,
    /// The sandbox is paused and is not resumed for this.
    #[error("session runtime paused")]
    RuntimePaused,
    /// The path of a file is none, or leads elsewhere.
    #[error("invalid path")]
    InvalidPath,
    /// The file is larger than what is given out.
    #[error("file too large")]
    FileTooLarge,
    /// The provider does not do this; its own words.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No runner of the user takes the session.
    #[error("local runner unavailable, register or heartbeat your runner and retry")]
    RunnerUnavailable,
    /// An approval was decided before.
    #[error("approval is already decided")]
    ApprovalDecided,
    /// The webhook is disabled: nothing is sent to it any more.
    #[error("webhook is disabled")]
    WebhookDisabled,
    /// The first request with this idempotency key, or another one for the same thing, goes on.
    #[error("request in progress")]
    RequestInProgress,
    /// The idempotency key was used for another body.
    #[error("idempotency key was used for another request")]
    KeyReused,
    /// The GitHub App is not installed for the repository; where it can be.
    #[error("the app is not installed")]
    NotInstalled {
        /// Where a person installs it.
        install_url: Option<String>,
    },
    /// The body is too large.
    #[error("request too large")]
    RequestTooLarge,
    /// The message is too large.
    #[error("message too large")]
    MessageTooLarge,
    /// Too many messages wait.
    #[error("order queue is full")]
    QueueFull,
    /// The user has too many active sessions.
    #[error("too many active sessions")]
    TooManySessions,
    /// Too many streams are open.
    #[error("too many streams")]
    TooManyStreams,
    /// Too many terminals are open.
    #[error("too many terminals")]
    TooManyTerminals,
    /// The user has too many runners.
    #[error("too many runners")]
    TooManyRunners,
    /// The user has too many webhooks.
    #[error("too many webhooks")]
    TooManyWebhooks,
    /// The user asks too often; when to ask again, in seconds.
    #[error("rate limited")]
    RateLimited(u32),
    /// Credentials cannot be stored: the operator has set no key (agents.md 12.6).
    #[error("secrets key not configured")]
    SecretsKey,
    /// The operator has yet to apply the migrations of the database.
    #[error("database migrations are missing: apply migrations/agents")]
    NotMigrated,
    /// The check of the GitHub App failed; why, for logs.
    #[error("the installation could not be checked: {0}")]
    InstallationCheck(String),
    /// A terminal could not be opened; why, for logs.
    #[error("the terminal could not be opened: {0}")]
    Terminal(String),
    /// A runner could not be registered; why, for logs.
    #[error("the runner could not be registered: {0}")]
    Register(String),
    /// A push or a snapshot failed. The text is answered: it is one of our own, without secrets.
    #[error("{0}")]
    Failed(String),
    /// A request about the observation of a database is refused (pg-sync.md 4.2).
    #[error(transparent)]
    PgSync(#[from] crate::pg_sync::PgSyncError),
    /// A request about transcripts is refused (transcripts.md 4.4).
    #[error("{refused}")]
    Transcript {
        /// Why.
        refused: transcripts::Refused,
        /// Whether the answer names the reason for programs too; clients of 7.2 are told the text alone.
        with_code: bool,
    },
    /// Something else failed; what, for logs.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A refusal about transcripts, in the form of the routes of 7.2 or of our own.
    pub fn transcript(refused: transcripts::Refused, is_alias: bool) -> Self {
        Self::Transcript { refused, with_code: !is_alias }
    }

    /// Whether only somebody who has a token is refused so.
    pub fn is_of_known_sender(&self) -> bool {
        !matches!(self, Self::Unauthorized | Self::NotFound)
    }
}

/// The status of a refusal about transcripts.
fn transcript_status(refused: &transcripts::Refused) -> StatusCode {
    use transcripts::Refused;
    match refused {
        Refused::Unauthorized => StatusCode::UNAUTHORIZED,
        Refused::Scope | Refused::RunMismatch | Refused::RunNotInSession => StatusCode::FORBIDDEN,
        Refused::NotFound => StatusCode::NOT_FOUND,
        Refused::Invalid(_) => StatusCode::BAD_REQUEST,
        Refused::CompletedExists | Refused::StaleAttempt | Refused::Divergent => StatusCode::CONFLICT,
        Refused::EpochGone => StatusCode::GONE,
        Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Quota => StatusCode::INSUFFICIENT_STORAGE,
        Refused::DigestMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Range => StatusCode::RANGE_NOT_SATISFIABLE,
        Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refused::BodyMissing | Refused::NoKeys | Refused::NoStore => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<database::local::SqlError> for Error {
    fn from(error: database::local::SqlError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Where a full queue or too many of something is tried again, in seconds.
const RETRY_S: u32 = 60;

impl From<SetBudgetError> for Error {
    fn from(error: SetBudgetError) -> Self {
        match error {
            SetBudgetError::Invalid(_) => Self::InvalidBody,
            SetBudgetError::BelowUse => Self::BudgetBelowUse,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotWritable => Self::NotWritable,
            Refused::Forbidden => Self::Forbidden,
            Refused::MissingRepository => Self::MissingRepository,
            Refused::RuntimeUnavailable => Self::RuntimeUnavailable,
            Refused::InvalidHead => Self::InvalidHead,
        }
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Invalid => Self::InvalidPath,
            PathError::Hidden => Self::NotFound,
        }
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        Self::Internal(error.to_string())
    }
}

fn not_installed(install_url: Option<&str>) -> String {
    let text = "GitHub App is not installed for this repository. Install it and retry";
    install_url.map_or_else(|| format!("{text}."), |url| format!("{text}: {url}"))
}

impl Refusal for Error {
    fn answer(&self) -> (StatusCode, Cow<'static, str>) {
        let status = match self {
            Self::Unauthorized | Self::LoginRequired | Self::LoginExpired => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Force(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MissingBody
            | Self::InvalidBody
            | Self::InvalidUrl
            | Self::InvalidPath
            | Self::InvalidMessage
            | Self::InvalidSessionId
            | Self::InvalidRunnerId
            | Self::MissingRepository
            | Self::InvalidHead
            | Self::BudgetBelowUse
            | Self::ImportFailed => StatusCode::BAD_REQUEST,
            Self::Transition(_)
            | Self::NotWritable
            | Self::BudgetReached(_)
            | Self::Busy(_)
            | Self::RuntimeUnavailable
            | Self::RuntimePaused
            | Self::Unsupported(_)
            | Self::RunnerUnavailable
            | Self::MailboxOff
            | Self::RunnerUsesMailbox
            | Self::TurnRunning
            | Self::RunnerOffline
            | Self::ApprovalDecided
            | Self::WebhookDisabled
            | Self::RequestInProgress => StatusCode::CONFLICT,
            Self::Transcript { refused, .. } => transcript_status(refused),
            Self::PgSync(refused) => refused.status(),
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotInstalled { .. } => StatusCode::PRECONDITION_FAILED,
            Self::RequestTooLarge | Self::MessageTooLarge | Self::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::QueueFull
            | Self::TooManySessions
            | Self::TooManyStreams
            | Self::TooManyTerminals
            | Self::TooManyRunners
            | Self::TooManyWebhooks
            | Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::SecretsKey | Self::NotMigrated => StatusCode::SERVICE_UNAVAILABLE,
            Self::InstallationCheck(_)
            | Self::Terminal(_)
            | Self::Register(_)
            | Self::Failed(_)
            | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let text = match self {
            Self::NotInstalled { install_url } => not_installed(install_url.as_deref()).into(),
            Self::InstallationCheck(_) => "failed to verify GitHub App installation".into(),
            Self::Terminal(_) => "failed to open terminal".into(),
            Self::Register(_) => "failed to register runner".into(),
            Self::Internal(_) => "server error".into(),
            other => other.to_string().into(),
        };
        (status, text)
    }

    fn event(&self) -> Option<&'static str> {
        match self {
            Self::InstallationCheck(_) => Some("agents/installation-check-failed"),
            Self::Terminal(_) => Some("agents/terminal-failed"),
            Self::Register(_) => Some("agents/register-failed"),
            Self::Failed(_) => Some("agents/work-failed"),
            Self::Internal(_) => Some("agents/internal-error"),
            Self::SecretsKey | Self::Transcript { refused: transcripts::Refused::NoKeys, .. } => {
                Some("agents/secrets-key-missing")
            }
            Self::Transcript { refused: transcripts::Refused::BodyMissing, .. } => {
                Some("agents/transcript-body-missing")
            }
            _ => None,
        }
    }

    fn members(&self) -> serde_json::Map<String, serde_json::Value> {
        if let Self::PgSync(refused) = self { refused.members() } else { serde_json::Map::new() }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Transcript { refused, with_code: true } => Some(refused.code()),
            _ => None,
        }
    }

    fn describe(&self, headers: &mut HeaderMap) {
        let seconds = match self {
            Self::RateLimited(seconds) => *seconds,
            Self::QueueFull
            | Self::TooManySessions
            | Self::TooManyStreams
            | Self::TooManyTerminals
            | Self::TooManyRunners
            | Self::TooManyWebhooks => RETRY_S,
            Self::RequestInProgress | Self::Transcript { refused: transcripts::Refused::Busy, .. } => 1,
            _ => return,
        };
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}
