//! What the operator sees of observed databases (docs/spec/pg-sync.md 4.1, 4.2).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use pg_sync::changes::{Read, Wanted};
use serde_json::{Value as Json, json};

use super::fronts::Shared;
use crate::bodies::NativeResponse;

/// A route of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// All observations.
    List,
    /// The log of a source.
    Changes { source_id: String, query: String },
}

impl Route {
    /// The route of a request; none: it is somebody else's.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let rest = request.uri().path().strip_prefix("/pg-sync").filter(|_| request.method() == Method::GET)?;
        if rest.is_empty() {
            return Some(Self::List);
        }
        let source_id = rest.strip_prefix('/')?.strip_suffix("/changes")?.to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        Some(Self::Changes { source_id, query }).filter(|_| !rest.contains("//"))
    }
}

/// Answers the operator.
pub(super) async fn answer(shared: &Shared, route: Route) -> Response<NativeResponse> {
    match route {
        Route::List => {
            let list = match &shared.observations {
                Some(observations) => observations.list().await,
                None => json!({"observations": []}),
            };
            told(StatusCode::OK, &list)
        }
        Route::Changes { source_id, query } => changes(shared, source_id, &query).await,
    }
}

async fn changes(shared: &Shared, source_id: String, query: &str) -> Response<NativeResponse> {
    let wanted = match Wanted::read(query) {
        Ok(wanted) => wanted,
        Err(name) => return told(StatusCode::BAD_REQUEST, &json!({"error": "invalid_options", "fields": [name]})),
    };
    let read = match &shared.observations {
        Some(observations) => observations.changes(source_id, wanted).await,
        None => None,
    };
    match read {
        Some(Read::Changes(body)) => told(StatusCode::OK, &body),
        Some(Read::Gone(first_seq)) => told(StatusCode::GONE, &json!({"error": "gone", "first_seq": first_seq})),
        None => told(StatusCode::NOT_FOUND, &json!({"error": "not found"})),
    }
}

fn told(status: StatusCode, body: &Json) -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(body.to_string().into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let route =
            |method: Method, uri: &str| Route::of(&Request::builder().method(method).uri(uri).body(()).unwrap());
        assert_eq!(route(Method::GET, "/pg-sync"), Some(Route::List));
        let changes = Route::Changes { source_id: "ab".into(), query: "after=1".into() };
        assert_eq!(route(Method::GET, "/pg-sync/ab/changes?after=1"), Some(changes));
        for other in ["/pg-sync/", "/pg-sync/changes", "/pg-sync//changes", "/pg-syncs", "/pg-sync/ab"] {
            assert_eq!(route(Method::GET, other), None, "{other}");
        }
        assert_eq!(route(Method::POST, "/pg-sync"), None);
    }
}
