//! `POST /care` on the daemon's socket: the operator's verbs about whole graphs, beside a running server (self-host.md 7.2).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::fronts::Shared;
use crate::daemon::respond;
use crate::graphs::Task;
use crate::store::Quarantine;

/// The path.
pub(crate) const PATH: &str = "/care";

/// Bytes of a request's body.
const BODY_BYTES: usize = 4096;

/// What is asked.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Asked {
    /// The name of the graph's folder.
    pub(crate) folder: String,
    /// When the repair began, which names its folder in `quarantine/`.
    pub(crate) moment: String,
    /// What is to be done.
    pub(crate) task: Task,
}

/// Does it. The answer comes when it is done, however long that takes: whoever goes before ends it at the next step.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Vec<u8>> {
    if request.method() != Method::POST {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES).collect().await else {
        return respond(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large");
    };
    let Ok(Asked { folder, moment, task }) = serde_json::from_slice(&body.to_bytes()) else {
        return respond(StatusCode::BAD_REQUEST, "invalid-body");
    };
    if shared.only.as_ref().is_some_and(|only| !only.is_in(&folder)) {
        return respond(StatusCode::CONFLICT, "repo-mismatch");
    }
    let data = &shared.data;
    // One of the names that are there, which none that leads elsewhere is.
    if !is_name(&folder) || !data.graph(&folder).symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return respond(StatusCode::NOT_FOUND, "graph-not-found");
    }
    let Some(quarantine) = Quarantine::of(data, &moment) else {
        return respond(StatusCode::BAD_REQUEST, "invalid-moment");
    };
    match shared.front.graphs.care(folder, task, quarantine).await {
        Ok(done) => {
            let mut response = Response::new(serde_json::to_vec(&done).unwrap_or_default());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(failure) => respond(StatusCode::CONFLICT, &failure.0),
    }
}

fn is_name(folder: &str) -> bool {
    !matches!(folder, "" | "." | "..") && !folder.contains(['/', '\0'])
}
