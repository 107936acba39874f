//! Requests of our own to servers of others.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::Failure;

/// A request to somebody else's server. It is sent once; redirects are answers, never followed.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The whole address.
    pub url: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long the head of the answer is waited for, in milliseconds; none for as long as it takes. The body has no limit:
    /// whoever reads it drops it when it has waited enough.
    pub limit_ms: Option<u32>,
}

impl Call {
    /// A request without headers and body, whose answer is waited for 30 seconds.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Vec::new(), limit_ms: Some(30_000) }
    }

    /// The same with a header.
    ///
    /// # Errors
    /// When no header can have this value.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Result<Self, Failure> {
        let value = HeaderValue::from_str(value).map_err(|error| Failure(error.to_string()))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub struct Reply<B> {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: B,
}

/// The body of an answer. Dropping it closes the connection.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Incoming {
    /// The next bytes, or none at the end. A connection that breaks off is a failure, never an end.
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure>;
}

/// Why there is no answer. The texts are for logs, never for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing came within the limit of the call. The other side may have got the request.
    #[error("no answer in time")]
    TimedOut,
    /// No connection came about: the other side got nothing.
    #[error("not reached: {0}")]
    NotReached(String),
    /// The connection broke off. The other side may have got the request.
    #[error("connection lost: {0}")]
    Broken(String),
}

/// Whoever sends requests to servers of others.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Fetch {
    /// The body of an answer.
    type Body: Incoming + 'static;

    /// Sends a request and gives the head of the answer.
    async fn fetch(&self, call: Call) -> Result<Reply<Self::Body>, CallError>;
}

impl<F: Fetch> Fetch for std::rc::Rc<F> {
    type Body = F::Body;

    async fn fetch(&self, call: Call) -> Result<Reply<Self::Body>, CallError> {
        (**self).fetch(call).await
    }
}

/// Why an answer was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It has more bytes than its reader takes.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection broke off. For logs.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

impl<B: Incoming> Reply<B> {
    /// The whole body, if it is no longer than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, ReplyError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.body.chunk().await.map_err(|failure| ReplyError::Broken(failure.0))? {
            if bytes.len() + chunk.len() > limit {
                return Err(ReplyError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
