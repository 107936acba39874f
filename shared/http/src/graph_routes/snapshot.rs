//! Snapshots in and out (sync.md 10).

use std::rc::Rc;

use graph::snapshot::{Encoding, UploadError};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response};
use protocol::bodies::Body as _;
use protocol::bodies::snapshot::{SnapshotDescriptor, SnapshotUploaded};
use protocol::query::UploadQuery;

use super::stream::ExportChunks;
use super::{GraphHost, GraphState, ready};
use crate::error::Error;
use crate::platform::Body;
use crate::{cors, respond, url};

/// Says where the stream is.
pub(super) async fn descriptor<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &Request<H::Body>,
) -> Result<Response<H::Body>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    ready::require(host, state).await?;
    let origin = url::origin(request.uri());
    Ok(respond::ok(SnapshotDescriptor::new(&origin, &graph_id, state.settings.stream_gzip).to_json()))
}

/// The stream itself.
pub(super) async fn stream<H: GraphHost>(host: &H, state: &GraphState) -> Result<Response<H::Body>, Error> {
    ready::require(host, state).await?;
    let gzip = state.settings.stream_gzip;
    let encoding = if gzip { Encoding::Gzip } else { Encoding::Identity };
    let export = host.graph().borrow_mut().begin_export(encoding)?;
    let rows = export.row_count();
    let mut response = Response::new(H::Body::streamed(Box::new(ExportChunks::new(Rc::clone(host.graph()), export))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/transit+json"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CACHE_CONTROL, respond::NO_STORE);
    headers.insert(HeaderName::from_static("x-snapshot-row-count"), HeaderValue::from(rows));
    cors::allow(headers);
    Ok(response)
}

/// Takes a part of a snapshot in, as its bytes arrive. The index is told before the graph closes (D-29) and after it
/// has opened.
pub(super) async fn upload<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &mut Request<H::Body>,
) -> Result<Response<H::Body>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    let parameter = |name| url::query(request.uri(), name);
    let (reset, finished, checksum) = (parameter("reset"), parameter("finished"), parameter("checksum"));
    let checksum = checksum.map(std::borrow::Cow::into_owned);
    let query = UploadQuery::new(reset.as_deref(), finished.as_deref(), checksum.as_deref());
    let gzip = request.headers().get(CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    let body = request.body_mut();
    let mut chunk = next_chunk(body).await?;
    let mut upload = host.graph().borrow_mut().begin_upload(&query, gzip, chunk.is_some())?;
    if upload.closes_graph() {
        set_ready(host, &graph_id, false).await?;
        host.graph().borrow_mut().close_for_upload(&mut upload)?;
    }
    while let Some(bytes) = chunk {
        host.graph().borrow_mut().feed_upload(&mut upload, &bytes)?;
        chunk = next_chunk(body).await?;
    }
    let mut ending = host.graph().borrow_mut().store_rest(upload)?;
    while host.graph().borrow_mut().verify_piece(&mut ending)? {
        host.turn().await;
    }
    let uploaded = host.graph().borrow_mut().finish_upload(ending)?;
    if uploaded.opened {
        set_ready(host, &graph_id, true).await?;
    }
    Ok(respond::ok(SnapshotUploaded::new(uploaded.count).to_json()))
}

/// The next bytes that are any.
async fn next_chunk<B: Body>(body: &mut B) -> Result<Option<Vec<u8>>, Error> {
    loop {
        match body.chunk().await.map_err(|_| Error::Interrupted)? {
            Some(bytes) if bytes.is_empty() => {}
            chunk => return Ok(chunk),
        }
    }
}

async fn set_ready<H: GraphHost>(host: &H, graph_id: &str, ready: bool) -> Result<(), Error> {
    let db = host.db().ok_or(Error::IndexMissing)?;
    Ok(index::graphs::set_ready(&*db, graph_id, ready, host.now_ms()).await?)
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::MissingBody => Self::Body(protocol::BodyError::Missing),
            UploadError::ChecksumConflict => Self::ChecksumConflict,
            UploadError::Invalid => Self::BadRequest("invalid snapshot"),
            UploadError::RowTooLarge => Self::RowTooLarge,
            UploadError::TooLarge => Self::RequestTooLarge,
            UploadError::Superseded => Self::UploadSuperseded,
            UploadError::Graph(error) => error.into(),
        }
    }
}
