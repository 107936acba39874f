//! What goes wrong, and the one place that maps it to exit codes (self-host.md 1).

use std::borrow::Cow;

use daemon_lifecycle::Error as DaemonError;
use serde_json::{Map, Value, json};

use crate::auth::UsersError;
use crate::config::Problem;
use crate::serve::{ListenError, StartError, TlsError};
use crate::store::{DataDirError, FormatError, IndexError};

/// Exit codes.
pub(crate) mod exit {
    /// Failed.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage.
    pub(crate) const USAGE: u8 = 2;
    /// An address is in use, or a server cannot be reached.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A defect of the program or of whoever started it.
    pub(crate) const BUG: u8 = 70;
    /// The data directory cannot be created, or is read-only.
    pub(crate) const CANNOT_CREATE: u8 = 73;
    /// Input or output failed, or the index is damaged.
    pub(crate) const IO: u8 = 74;
    /// Locked by somebody else.
    pub(crate) const LOCKED: u8 = 75;
    /// The lock was lost while the server ran.
    pub(crate) const LOST: u8 = 76;
    /// Permissions.
    pub(crate) const REFUSED: u8 = 77;
    /// Configuration, or a data directory of a newer format.
    pub(crate) const CONFIG: u8 = 78;
    /// A second SIGINT.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// A second SIGTERM.
    pub(crate) const TERMINATED: u8 = 143;
}

/// A panic of whatever thread ends the program, with the code of a defect: what a thread has left half done nobody else finishes, and
/// whoever watches the program starts it again.
pub(super) fn end_at_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(exit::BUG.into());
    }));
}

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For machines.
    pub(crate) code: Cow<'static, str>,
    /// The exit code.
    pub(crate) exit: u8,
    /// For people: one line each.
    pub(crate) messages: Vec<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// More for machines.
    pub(crate) details: Map<String, Value>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(code: &'static str, exit: u8, message: impl std::fmt::Display) -> Self {
        Self { code: code.into(), exit, messages: vec![message.to_string()], hint: None, details: Map::new() }
    }

    /// The same with what to do about it.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new("usage", exit::USAGE, message)
    }

    /// The error object.
    pub(crate) fn json(&self) -> Value {
        let mut error = self.members();
        error.insert("code".into(), self.code.as_ref().into());
        error.insert("message".into(), self.message().into());
        json!({ "status": "error", "error": error })
    }

    /// All that is wrong, as one text.
    pub(crate) fn message(&self) -> String {
        self.messages.join("\n")
    }

    /// What there is beside code and message.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let mut members = self.details.clone();
        members.extend(self.hint.as_ref().map(|hint| ("hint".to_owned(), hint.as_str().into())));
        members
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        let messages = problems.iter().map(ToString::to_string).collect();
        Self { code: "configuration".into(), exit: exit::CONFIG, messages, hint: None, details: Map::new() }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let (code, exit) = match &error {
            DataDirError::Create { .. } => ("data-dir-cannot-be-created", exit::CANNOT_CREATE),
            DataDirError::ReadOnly(_) => ("data-dir-read-only", exit::CANNOT_CREATE),
            DataDirError::Refused { .. } => ("data-dir-refused", exit::REFUSED),
            DataDirError::Open(_) => ("data-dir-open", exit::REFUSED),
            DataDirError::Link(_) => ("data-dir-link", exit::REFUSED),
            DataDirError::Io { .. } => ("io", exit::IO),
        };
        Self::new(code, exit, error)
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        match &error {
            FormatError::TooNew { .. } => Self::new("data-dir-too-new", exit::CONFIG, error),
            FormatError::Io { .. } => Self::new("io", exit::IO, error),
        }
    }
}

impl From<DaemonError> for Failure {
    /// The crate has codes, exit codes and hints of its own, which mean here what they mean there.
    fn from(error: DaemonError) -> Self {
        let mut details = error.members();
        for name in ["code", "message", "hint"] {
            details.remove(name);
        }
        let hint = match &error {
            DaemonError::LockUnsupported { .. } => Some(
                "put the data directory on a local disk; where one machine alone uses it, `serve --allow-weak-lock` does without \
                 such locks, and verbs go beside that server"
                    .to_owned(),
            ),
            _ => error.hint(),
        };
        let (code, exit) = (error.code().to_owned().into(), error.exit());
        Self { code, exit, messages: vec![error.to_string()], hint, details }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match &error {
            IndexError::Damaged { .. } => Self::new("index-damaged", exit::IO, error)
                .with_hint("restore a backup, or see what `logseq-sync repair index-db` can read"),
            _ => Self::new("io", exit::IO, error),
        }
    }
}

impl From<UsersError> for Failure {
    fn from(error: UsersError) -> Self {
        let (code, exit) = match &error {
            UsersError::Exists(_) => ("user-exists", exit::FAILED),
            UsersError::Unknown(_) => ("user-not-found", exit::FAILED),
            UsersError::UnknownToken(_) => ("token-not-found", exit::FAILED),
            UsersError::Random(_) | UsersError::Sql(_) | UsersError::File(..) => ("io", exit::IO),
        };
        Self::new(code, exit, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::DataDir(error) => error.into(),
            StartError::Format(error) => error.into(),
            StartError::Daemon(error) => error.into(),
            StartError::Index(error) => error.into(),
            StartError::Users(error) => error.into(),
            StartError::Listen(error @ ListenError::Descriptor { .. }) => {
                Self::new("inherited-descriptors", exit::CONFIG, error)
            }
            StartError::Listen(ListenError::Bind { bind, cause }) => {
                let (code, exit) = match cause.kind() {
                    std::io::ErrorKind::AddrInUse | std::io::ErrorKind::AddrNotAvailable => {
                        ("address-in-use", exit::UNAVAILABLE)
                    }
                    std::io::ErrorKind::PermissionDenied => ("bind-refused", exit::REFUSED),
                    _ => ("io", exit::IO),
                };
                Self::new(code, exit, format!("{bind}: {cause}"))
            }
            StartError::Tls(error) => match &error {
                TlsError::KeyIsOpen(_) => Self::new("tls-key-open", exit::REFUSED, error),
                TlsError::File { .. } | TlsError::Pair { .. } => Self::new("tls", exit::CONFIG, error),
            },
            StartError::NobodyCanSignIn => Self::new("no-way-to-sign-in", exit::CONFIG, "nobody could sign in")
                .with_hint(
                    "`logseq-sync user add NAME` makes a user with a token; or set DB_SYNC_AUTH_DRIVER=static and \
                 DB_SYNC_AUTH_TOKEN; or set COGNITO_ISSUER, COGNITO_CLIENT_ID and COGNITO_JWKS_URL",
                ),
            StartError::UnknownGraph(_) => Self::new("graph-not-found", exit::FAILED, error),
            StartError::Files(_) => Self::new("open-file-limit", exit::CONFIG, error),
            StartError::Io(error) => Self::new("io", exit::IO, error),
        }
    }
}
