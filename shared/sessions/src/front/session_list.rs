//! The sessions that a caller may use (agents.md 18.1).

use http::{Request, Response};
use web::url;

use super::identity::Caller;
use super::platform::Platform;
use super::{ok, paging};
use crate::error::Error;
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
    let after = paging::after(request)?;
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
    let shown = rows.iter().map(sessions::SessionRow::shown).collect();
    Ok(ok(&paging::page("sessions", shown, next.as_ref())))
}
