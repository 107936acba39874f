//! Refusals and failures, and the one place that maps them to answers.

use std::borrow::Cow;

use database::Trouble;
use http::header::{CONNECTION, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use protocol::errors::{
    BodyError, FORBIDDEN, GRAPH_NOT_READY, NOT_FOUND, REQUEST_TOO_LARGE, SERVER_ERROR, TOO_MANY_GRAPHS, UNAUTHORIZED,
};

use web::{Failure, PutError, ReadError, Refusal};

/// What a client reads when there is no room.
pub(crate) const STORAGE_FULL: &str = "storage full";

/// What the operator has to do, as `/health` says it.
const NOT_MIGRATED: &str = "the index database lacks migrations: run `npx wrangler d1 migrations apply DB`, \
    with --local under wrangler dev, and with --env and --remote on Cloudflare";

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody is known to ask.
    #[error("unauthorized")]
    Unauthorized,
    /// Whoever asks may not.
    #[error("forbidden")]
    Forbidden,
    /// An issuer vouches for whoever asks, but the operator has not listed them.
    #[error("not allowed on this server")]
    NotAllowed,
    /// A web page that is not let in asks, or one that has made this server answer to a name of its own.
    #[error("{0}")]
    Stranger(&'static str),
    /// There is no such route or object.
    #[error("not found")]
    NotFound,
    /// The route does not know the method.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The request is wrong in the way that the text says.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The body is wrong.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The graph is being uploaded.
    #[error("graph not ready")]
    NotReady,
    /// The user has made as many graphs as one user may.
    #[error("too many graphs")]
    TooManyGraphs,
    /// The uploaded checksum contradicts the stored one.
    #[error("checksum conflict")]
    ChecksumConflict,
    /// The user or the graph has as many sockets open as it may.
    #[error("too many sockets")]
    TooManySockets,
    /// The body has more bytes than its route takes.
    #[error("request too large")]
    RequestTooLarge,
    /// The asset has more bytes than its graph takes.
    #[error("asset too large")]
    AssetTooLarge,
    /// The asset has no bytes in the range that is asked for.
    #[error("range not satisfiable")]
    RangeNotSatisfiable {
        /// Bytes of the asset.
        size: u64,
    },
    /// A row of a snapshot is larger than a row can be stored.
    #[error("snapshot row too large")]
    RowTooLarge,
    /// The rows neither go on with the upload that runs nor belong to the graph as it is.
    #[error("upload conflict")]
    UploadConflict,
    /// Nobody knows the version of the graph's schema.
    #[error("graph schema version is missing")]
    SchemaVersionMissing,
    /// Another upload took the graph over.
    #[error("upload superseded")]
    UploadSuperseded,
    /// The body broke off. Nobody waits for the answer, as a rule.
    #[error("request interrupted")]
    Interrupted,
    /// As many downloads of the graph run as may at a time.
    #[error("too many downloads")]
    TooManyDownloads,
    /// There is no store of assets.
    #[error("missing assets bucket")]
    MissingAssets,
    /// There is no agents service, or it does not answer.
    #[error("agents service unavailable")]
    AgentsUnavailable,
    /// The server is there for another graph.
    #[error("repo-mismatch")]
    OtherGraph,
    /// The server is about to end.
    #[error("server stopping")]
    Stopping,
    /// Nothing more came of the request for too long.
    #[error("request timeout")]
    Stalled,
    /// There is no index database.
    #[error("the index database is not configured")]
    IndexMissing,
    /// The index database lacks migrations.
    #[error("the index database lacks migrations")]
    NotMigrated,
    /// The client has shown too many tokens that count for nothing.
    #[error("too many failed logins")]
    TooManyLogins {
        /// When it may come again.
        seconds: u64,
    },
    /// There is no room to store it. The text goes to the log only.
    #[error("{0}")]
    StorageFull(String),
    /// Nothing can be stored at the moment, or not even read. The text goes to the log only.
    #[error("{0}")]
    StorageUnavailable(String),
    /// The file of this graph is no database any more. The text goes to the log only.
    #[error("{0}")]
    GraphDamaged(String),
    /// Something failed that the client can do nothing about. The text goes to the log only.
    #[error("{0}")]
    Internal(String),
}

impl Refusal for Error {
    fn answer(&self) -> (StatusCode, Cow<'static, str>) {
        let (status, text): (StatusCode, &'static str) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, UNAUTHORIZED),
            Self::Forbidden => (StatusCode::FORBIDDEN, FORBIDDEN),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "not allowed on this server"),
            Self::Stranger(text) => (StatusCode::FORBIDDEN, text),
            Self::NotFound => (StatusCode::NOT_FOUND, NOT_FOUND),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
            Self::Body(BodyError::Missing) => (StatusCode::BAD_REQUEST, protocol::errors::MISSING_BODY),
            Self::Body(BodyError::Syntax) => (StatusCode::BAD_REQUEST, protocol::errors::INVALID_BODY),
            Self::BadRequest(text) | Self::Body(BodyError::Schema(text)) => (StatusCode::BAD_REQUEST, text),
            Self::NotReady => (StatusCode::CONFLICT, GRAPH_NOT_READY),
            Self::TooManyGraphs => (StatusCode::TOO_MANY_REQUESTS, TOO_MANY_GRAPHS),
            Self::ChecksumConflict => (StatusCode::CONFLICT, "checksum conflict"),
            Self::UploadConflict => (StatusCode::CONFLICT, "upload conflict"),
            Self::OtherGraph => (StatusCode::CONFLICT, "repo-mismatch"),
            Self::SchemaVersionMissing => (StatusCode::CONFLICT, "graph schema version is missing"),
            Self::UploadSuperseded => (StatusCode::CONFLICT, "upload superseded"),
            Self::Interrupted => (StatusCode::BAD_REQUEST, "request interrupted"),
            Self::TooManySockets => (StatusCode::TOO_MANY_REQUESTS, "too many sockets"),
            Self::RequestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, REQUEST_TOO_LARGE),
            Self::AssetTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "asset too large"),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "range not satisfiable"),
            Self::RowTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "snapshot row too large"),
            Self::TooManyDownloads => (StatusCode::SERVICE_UNAVAILABLE, "too many downloads"),
            Self::AgentsUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "agents service unavailable"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "server stopping"),
            Self::Stalled => (StatusCode::REQUEST_TIMEOUT, "request timeout"),
            Self::NotMigrated => (StatusCode::SERVICE_UNAVAILABLE, NOT_MIGRATED),
            Self::TooManyLogins { .. } => (StatusCode::TOO_MANY_REQUESTS, "too many failed logins"),
            Self::StorageFull(_) => (StatusCode::INSUFFICIENT_STORAGE, STORAGE_FULL),
            Self::StorageUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage unavailable"),
            Self::GraphDamaged(_) => (StatusCode::SERVICE_UNAVAILABLE, "graph damaged"),
            Self::MissingAssets => (StatusCode::INTERNAL_SERVER_ERROR, "missing assets bucket"),
            Self::IndexMissing | Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR),
        };
        (status, Cow::Borrowed(text))
    }

    fn event(&self) -> Option<&'static str> {
        match self {
            Self::IndexMissing => Some("db-sync/index-db-missing"),
            Self::StorageFull(_) | Self::StorageUnavailable(_) => Some("db-sync/storage-failed"),
            Self::GraphDamaged(_) => Some("db-sync/graph-damaged"),
            Self::MissingAssets | Self::Internal(_) => Some("db-sync/http-error"),
            _ => None,
        }
    }

    fn describe(&self, headers: &mut HeaderMap) {
        match self {
            Self::TooManyDownloads => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
            }
            Self::TooManyLogins { seconds } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::Stalled => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Stopping => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::RangeNotSatisfiable { size } => {
                if let Ok(whole) = HeaderValue::from_str(&format!("bytes */{size}")) {
                    headers.insert(CONTENT_RANGE, whole);
                }
            }
            _ => {}
        }
    }
}

impl Error {
    /// What a message of storage means for the client.
    fn of_storage(text: String) -> Self {
        match Trouble::of(&text) {
            Some(Trouble::Full) => Self::StorageFull(text),
            Some(Trouble::ReadOnly | Trouble::Unavailable) => Self::StorageUnavailable(text),
            Some(Trouble::Damaged) => Self::GraphDamaged(text),
            None => Self::Internal(text),
        }
    }

    /// True for refusals at the front that only senders meet whose rights were found good.
    pub(crate) fn is_of_known_sender(&self) -> bool {
        matches!(self, Self::AssetTooLarge | Self::RequestTooLarge)
    }
}

impl From<index::Error> for Error {
    fn from(error: index::Error) -> Self {
        match Self::of_storage(error.to_string()) {
            // It is the index that is damaged, not a graph.
            Self::GraphDamaged(text) => Self::StorageUnavailable(text),
            other => other,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::of_storage(failure.0)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLarge => Self::RequestTooLarge,
            ReadError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<PutError> for Error {
    fn from(error: PutError) -> Self {
        match error {
            PutError::TooLarge => Self::AssetTooLarge,
            PutError::Interrupted(_) => Self::Interrupted,
            PutError::Failed(failure) => failure.into(),
        }
    }
}

impl From<graph::Error> for Error {
    fn from(error: graph::Error) -> Self {
        match error {
            graph::Error::NotReady => Self::NotReady,
            graph::Error::Deleted => Self::NotFound,
            graph::Error::TooManyExports => Self::TooManyDownloads,
            graph::Error::Sql(error) => Self::of_storage(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}
