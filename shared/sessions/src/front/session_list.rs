//! The sessions that a caller may use (agents.md 18.1).

use http::{Request, Response};
use serde_json::{Value, json};
use web::url;

use super::identity::Caller;
use super::ok;
use super::platform::Platform;
use crate::error::Error;
use crate::registry::Cursor;
use crate::registry::sessions::{self, DEFAULT_PAGE, MAX_PAGE, Page};

pub(super) async fn list<P: Platform>(
    platform: &P,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let parameter = |name: &str| url::query(request.uri(), name).filter(|text| !text.is_empty());
    let (graph, status) = (parameter("graph-id"), parameter("status"));
    let limit = parameter("limit").and_then(|text| text.parse::<usize>().ok());
    let after = match parameter("cursor") {
        Some(text) => Some(Cursor::parse(&text).ok_or(Error::InvalidBody)?),
        None => None,
    };
    let page = Page {
        user,
        graph_id: graph.as_deref(),
        status: status.as_deref(),
        archived: parameter("archived").as_deref() == Some("true"),
        limit: limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE),
        after: after.as_ref(),
    };
    let (rows, next) = match platform.db() {
        Some(db) => sessions::list(db, &page).await?,
        None => (Vec::new(), None),
    };
    let shown: Vec<Value> = rows.iter().map(sessions::SessionRow::shown).collect();
    let mut body = json!({"sessions": shown});
    if let (Some(members), Some(next)) = (body.as_object_mut(), next) {
        members.insert("next".to_owned(), next.text().into());
    }
    Ok(ok(&body))
}
