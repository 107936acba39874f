//! Requests to other objects and services: those that came in, and those of our own.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::{Call, Failure, RequestBody};

/// A request on its way to another object or service.
///
/// One that came in goes on as it is, its body unread, except for what is said to change here: an adapter that still holds the
/// platform's own request applies [`changes`](Self::changes) to it and loses nothing else of it.
#[derive(Debug)]
pub struct Forward<B> {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// Names of headers that differ from those that came in.
    changed: Vec<HeaderName>,
    payload: Payload<B>,
}

/// What a forwarded request carries.
#[derive(Debug)]
pub enum Payload<B> {
    /// Nothing.
    None,
    /// Bytes held in memory.
    Bytes(Vec<u8>),
    /// The body that came in, of which nothing was read.
    Unread(B),
}

impl<B> Forward<B> {
    /// A request of our own, without a body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), changed: Vec::new(), payload: Payload::None }
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_body(self, bytes: Vec<u8>) -> Self {
        Self { payload: Payload::Bytes(bytes), ..self }
    }

    /// A copy of a request whose body was read: with those bytes in its place.
    pub fn copy(request: &Request<B>, bytes: &[u8]) -> Self {
        let mut headers = request.headers().clone();
        // The platform counts for itself.
        headers.remove(CONTENT_LENGTH);
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers,
            changed: Vec::new(),
            payload: if bytes.is_empty() { Payload::None } else { Payload::Bytes(bytes.to_vec()) },
        }
    }

    /// The same request to another address.
    #[must_use]
    pub fn to(self, uri: Uri) -> Self {
        Self { uri, ..self }
    }

    /// Sets a header, in place of every value that it has.
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name.clone(), value);
        self.changed.push(name);
    }

    /// Removes a header.
    pub fn remove_header(&mut self, name: HeaderName) {
        self.headers.remove(&name);
        self.changed.push(name);
    }

    /// The method. That of a request that came in never changes.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// All headers, as they are sent.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Headers that differ from those that came in, with the value that they get, or none where they go.
    pub fn changes(&self) -> impl Iterator<Item = (&HeaderName, Option<&HeaderValue>)> {
        self.changed.iter().map(|name| (name, self.headers.get(name)))
    }

    /// What it carries.
    pub fn payload(&self) -> &Payload<B> {
        &self.payload
    }

    /// The request as a whole, for a platform that has no request of its own; `body` makes its body.
    pub fn into_request<T>(self, body: impl FnOnce(Payload<B>) -> T) -> Request<T> {
        let mut request = Request::new(body(self.payload));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

impl<B: RequestBody> Forward<B> {
    /// The request that came in, as it is. What stays behind has no body; one that was read before cannot be sent on.
    pub fn of(request: &mut Request<B>) -> Result<Self, Failure> {
        let body = request.body_mut().take().ok_or_else(|| Failure("a body that was read cannot be sent on".into()))?;
        Ok(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            changed: Vec::new(),
            payload: Payload::Unread(body),
        })
    }
}

/// One other service.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Upstream<B, R> {
    /// Sends a request and gives the answer, a protocol switch included.
    async fn send(&self, request: Forward<B>) -> Result<Response<R>, Failure>;
}

/// Objects that are reached by name; each comes into being when it is first called.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Objects<B, R> {
    /// Sends a request to the object of that name and gives its answer, a protocol switch included. Its status can be read; a
    /// platform need not have looked at the rest, headers included, which is for whoever asked.
    async fn send(&self, name: &str, request: Forward<B>) -> Result<Response<R>, Failure>;
}

/// Objects of the service that ask each other, and read what they are answered.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Peers {
    /// Asks the object of that name, which looks at the path of the call's address only. Gives the status and the whole answer.
    ///
    /// # Errors
    /// When it cannot be reached, or its answer has more than `limit` bytes.
    async fn ask(&self, name: &str, call: Call, limit: usize) -> Result<(StatusCode, Vec<u8>), Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body, and how many chunks of it were read.
    struct Body(usize);

    impl RequestBody for Body {
        fn is_empty(&self) -> bool {
            false
        }

        fn take(&mut self) -> Option<Self> {
            (self.0 == 0).then_some(Self(0))
        }

        async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
            self.0 += 1;
            Ok(Some(vec![1]))
        }

        async fn cancel(&mut self) {}

        async fn discard(&mut self, _: u64) {}
    }

    fn came_in() -> Request<Body> {
        let mut request = Request::new(Body(0));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "http://front/a?b".parse().unwrap();
        request.headers_mut().append("x-kept", HeaderValue::from_static("1"));
        request.headers_mut().append("x-kept", HeaderValue::from_static("2"));
        request.headers_mut().insert("x-set", HeaderValue::from_static("theirs"));
        request.headers_mut().insert("x-gone", HeaderValue::from_static("theirs"));
        request
    }

    #[test]
    fn a_forwarded_request_says_what_changes() {
        let mut forward = Forward::of(&mut came_in()).unwrap().to("http://object/c".parse().unwrap());
        forward.set_header(HeaderName::from_static("x-set"), HeaderValue::from_static("ours"));
        forward.remove_header(HeaderName::from_static("x-gone"));
        let changes: Vec<_> = forward.changes().map(|(name, value)| (name.as_str(), value.is_some())).collect();
        assert_eq!(changes, [("x-set", true), ("x-gone", false)]);
        let whole = forward.into_request(|payload| matches!(payload, Payload::Unread(_)));
        assert!(*whole.body());
        assert_eq!((whole.method(), whole.uri().to_string()), (&Method::POST, "http://object/c".to_owned()));
        assert_eq!(whole.headers().get_all("x-kept").iter().count(), 2);
        assert_eq!(whole.headers()["x-set"], "ours");
        assert!(!whole.headers().contains_key("x-gone"));
    }

    #[test]
    fn what_was_read_is_no_body_any_more() {
        let mut request = came_in();
        pollster::block_on(request.body_mut().chunk()).unwrap();
        assert!(Forward::of(&mut request).is_err());
        let copy = Forward::copy(&request, b"bytes");
        assert!(matches!(copy.payload(), Payload::Bytes(bytes) if bytes == b"bytes"));
        assert!(matches!(Forward::copy(&request, b"").payload(), Payload::None));
    }
}
