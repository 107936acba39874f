//! What goes wrong, and how it is answered.

use std::borrow::Cow;
use std::fmt::Display;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Cors, Event, Level, ResponseBody, respond};

/// The response header that names the log line of an internal failure (D-21).
pub const CORRELATION_ID: &str = "x-correlation-id";

/// Something outside the server failed: a store, a service, another object. The text is for logs, never for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Work beside an answer that could not be done.
#[derive(Clone, Debug)]
pub struct Undone {
    /// The name of the event that tells of it.
    pub event: &'static str,
    /// Why. For logs, never for clients.
    pub failure: Failure,
}

/// An error that is answered. The one place of a service that maps its errors to statuses implements it; the text of
/// [`Display`] goes to the log only.
pub trait Refusal: Display {
    /// Status and text of the answer.
    fn answer(&self) -> (StatusCode, Cow<'static, str>);

    /// A word for programs, beside the text; none where the text is all.
    fn code(&self) -> Option<&'static str> {
        None
    }

    /// Further members of the body, for programs.
    fn members(&self) -> Map<String, Value> {
        Map::new()
    }

    /// The event that tells an operator of it; none for what is the client's own affair.
    fn event(&self) -> Option<&'static str>;

    /// Adds what else the answer says.
    fn describe(&self, headers: &mut HeaderMap);
}

/// The answer for an error. An internal one is reported under an id that the answer carries (D-21).
pub fn refuse<B: ResponseBody>(
    error: &impl Refusal,
    cors: &Cors,
    id: Uuid,
    report: impl FnOnce(&Event<'_>),
) -> Response<B> {
    let (status, text) = error.answer();
    let mut body = Map::from_iter([("error".to_owned(), Value::from(text))]);
    body.extend(error.code().map(|code| ("code".to_owned(), Value::from(code))));
    body.extend(error.members());
    let mut response = respond::json(cors, status, Value::Object(body).to_string());
    error.describe(response.headers_mut());
    if let Some(name) = error.event() {
        let (id, reason) = (id.to_string(), error.to_string());
        report(&Event { correlation_id: Some(&id), ..Event::new(Level::Error, name).with_error(&reason) });
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(CORRELATION_ID, id);
        }
    }
    response
}
