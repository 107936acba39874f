//! Why a server does not start, and what it needs of the system before it does.

use daemon_lifecycle::Error as DaemonError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::listen::ListenError;
use super::tls::TlsError;
use crate::auth::UsersError;
use crate::store::{DataDirError, FormatError, IndexError};

/// Files that must be allowed to be open at once.
const LEAST_FILES: u64 = 1_024;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Its data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The directory's format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The directory's lock, and what belongs to it.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Stored users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// An address, or a descriptor in its place.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Too few files may be open.
    #[error(
        "only {0} files may be open at once, and {LEAST_FILES} are needed: raise the limit (ulimit -n, LimitNOFILE=)"
    )]
    Files(u64),
    /// The graph that it is to serve alone.
    #[error("there is no graph {0:?} in this data directory: a server of the whole directory makes graphs")]
    UnknownGraph(String),
    /// No issuer, no token, no user.
    #[error("nobody could sign in")]
    NobodyCanSignIn,
    /// Something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Raises the limit of open files as far as the system allows (self-host.md 9.3): each connection and each graph has some.
pub(super) fn raise_files() -> Result<(), StartError> {
    let limits = getrlimit(Resource::Nofile);
    let most = limits.maximum.unwrap_or(u64::MAX);
    // Where that is refused the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
    if most < LEAST_FILES { Err(StartError::Files(most)) } else { Ok(()) }
}
