//! What an adapter answers by itself, because the request never reaches the surface.

use http::{Request, Response};
use web::{Refusal as _, ResponseBody};

use crate::error::Error;
use crate::guests;
use crate::respond::CORS;
use crate::service::Settings;

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// A handshake that lacks what RFC 6455 demands.
    InvalidUpgrade,
    /// The request does not say whom it calls, or says what is no host.
    InvalidHost,
    /// A trusted proxy says what is no scheme or host.
    InvalidForwarding,
    /// The server is there for one graph, and the request is about something else.
    OtherGraph,
    /// The server is about to end.
    Stopping,
    /// Nothing more came of the request for too long.
    Stalled,
    /// There is no room for what the request brings.
    StorageFull,
    /// The client has shown too many tokens that count for nothing; it may come again after so many seconds.
    TooManyLogins(u64),
}

impl Early {
    /// The answer.
    pub fn answer<B: ResponseBody>(self) -> Response<B> {
        let error = match self {
            Self::InvalidUpgrade => Error::BadRequest("invalid upgrade"),
            Self::InvalidHost => Error::BadRequest("invalid host"),
            Self::InvalidForwarding => Error::BadRequest("invalid forwarded header"),
            Self::OtherGraph => Error::OtherGraph,
            Self::Stopping => Error::Stopping,
            Self::Stalled => Error::Stalled,
            Self::StorageFull => Error::StorageFull(String::new()),
            Self::TooManyLogins(seconds) => Error::TooManyLogins { seconds },
        };
        let (status, text) = error.answer();
        let mut response = web::json(&CORS, status, protocol::ErrorBody::new(text).to_json());
        error.describe(response.headers_mut());
        response
    }
}

/// Refuses a request that the surface would refuse before it looks at what is asked: one from a stranger's page, where nobody is
/// asked for a token.
///
/// # Errors
/// The answer.
pub fn admit<B: ResponseBody, T>(settings: &Settings, request: &Request<T>) -> Result<(), Response<B>> {
    guests::admit(settings, request).map_err(|error| {
        let (status, text) = error.answer();
        web::json(&CORS, status, protocol::ErrorBody::new(text).to_json())
    })
}
