//! Snapshots in and out (sync.md 10).

use std::rc::Rc;

use graph::snapshot::{Encoding, Ending, Upload, UploadError};
use graph::sql::Sql;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response};
use protocol::bodies::Body as _;
use protocol::bodies::snapshot::{SnapshotDescriptor, SnapshotUploaded};
use protocol::query::UploadQuery;

use super::stream::ExportChunks;
use super::{GraphHost, GraphState, SharedGraph, admission, ready};
use crate::error::Error;
use crate::graph_call::Caller;
use crate::platform::Body;
use crate::{cors, respond, url};

/// Says where the stream is.
pub(super) async fn descriptor<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &Request<H::Body>,
    caller: &Caller,
) -> Result<Response<H::Body>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let origin = url::origin(request.uri());
    Ok(respond::ok(SnapshotDescriptor::new(&origin, &graph_id, state.settings.stream_gzip).to_json()))
}

/// The stream itself.
pub(super) async fn stream<H: GraphHost>(
    host: &H,
    state: &GraphState,
    caller: &Caller,
) -> Result<Response<H::Body>, Error> {
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
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
    caller: &Caller,
) -> Result<Response<H::Body>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    let parameter = |name| url::query(request.uri(), name);
    let (reset, finished, checksum) = (parameter("reset"), parameter("finished"), parameter("checksum"));
    let checksum = checksum.map(std::borrow::Cow::into_owned);
    let query = UploadQuery::new(reset.as_deref(), finished.as_deref(), checksum.as_deref());
    let gzip = request.headers().get(CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    let body = request.body_mut();
    let mut chunk = next_chunk(body).await?;
    admission::require(host, state, caller).await?;
    let begun = host.graph().borrow_mut().begin_upload(&query, gzip, chunk.is_some())?;
    let mut running = RunningUpload { graph: Rc::clone(host.graph()), upload: Some(begun) };
    if running.closes_graph() {
        set_ready(host, &graph_id, false).await?;
        admission::require_still(host, caller)?;
        running.close_graph()?;
    }
    // Ends with the body.
    while let Some(bytes) = chunk {
        admission::require_still(host, caller)?;
        running.push(bytes);
        while running.piece()? {
            host.turn().await;
            admission::require_still(host, caller)?;
        }
        chunk = next_chunk(body).await?;
    }
    admission::require_still(host, caller)?;
    let mut ending = running.store_rest()?;
    while host.graph().borrow_mut().verify_piece(&mut ending)? {
        host.turn().await;
        admission::require_still(host, caller)?;
    }
    let uploaded = host.graph().borrow_mut().finish_upload(ending)?;
    if uploaded.opened {
        set_ready(host, &graph_id, true).await?;
    }
    Ok(respond::ok(SnapshotUploaded::new(uploaded.count).to_json()))
}

/// An upload that is given up when it is dropped before its end: the body broke off, or nobody waits for the answer.
struct RunningUpload<S: Sql + 'static> {
    graph: SharedGraph<S>,
    /// Absent from its end on.
    upload: Option<Upload>,
}

impl<S: Sql + 'static> RunningUpload<S> {
    fn closes_graph(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::closes_graph)
    }

    fn close_graph(&mut self) -> Result<(), UploadError> {
        self.upload.as_mut().map_or(Ok(()), |upload| self.graph.borrow_mut().close_for_upload(upload))
    }

    fn push(&mut self, bytes: Vec<u8>) {
        if let Some(upload) = &mut self.upload {
            upload.push(bytes);
        }
    }

    fn piece(&mut self) -> Result<bool, UploadError> {
        self.upload.as_mut().map_or(Ok(false), |upload| self.graph.borrow_mut().upload_piece(upload))
    }

    fn store_rest(mut self) -> Result<Ending, UploadError> {
        let upload = self.upload.take().ok_or(UploadError::Superseded)?;
        self.graph.borrow_mut().store_rest(upload)
    }
}

impl<S: Sql + 'static> Drop for RunningUpload<S> {
    fn drop(&mut self) {
        // The graph is never borrowed while a request is dropped; were it, the rows would wait for the next upload.
        if let (Ok(mut graph), Some(upload)) = (self.graph.try_borrow_mut(), self.upload.take()) {
            graph.abandon_upload(&upload);
        }
    }
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
