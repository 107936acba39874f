//! Lists that are answered page by page.

use http::Request;
use serde_json::{Map, Value};
use web::url;

use crate::error::Error;
use crate::registry::Cursor;

/// Where the page before ended, as the address says; none for the first page.
///
/// # Errors
/// [`Error::InvalidBody`] for a text that no page has given.
pub(super) fn after<B>(request: &Request<B>) -> Result<Option<Cursor>, Error> {
    let text = url::query(request.uri(), "cursor").filter(|text| !text.is_empty());
    text.map(|text| Cursor::parse(&text).ok_or(Error::InvalidBody)).transpose()
}

/// A page under its name, and where the next one begins, if there is one.
pub(super) fn page(name: &str, shown: Vec<Value>, next: Option<&Cursor>) -> Value {
    let mut body = Map::from_iter([(name.to_owned(), shown.into())]);
    body.extend(next.map(|next| ("next".to_owned(), next.text().into())));
    Value::Object(body)
}
