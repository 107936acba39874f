//! Snapshots in and out (sync.md 10).

use std::rc::Rc;

use database::local::Sql;
use graph::snapshot::{Encoding, Upload, UploadError};
use graph::sockets::Close;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use protocol::bodies::Body as _;
use protocol::bodies::snapshot::{SnapshotDescriptor, SnapshotUploaded};
use protocol::query::UploadQuery;
use web::{NO_STORE, RequestBody, ResponseBody as _, url};

use super::stream::ExportChunks;
use super::{GraphHost, GraphState, SharedGraph, admission, ready, sockets, version};
use crate::error::Error;
use crate::graph_call::Caller;
use crate::respond;

/// Says where the stream is, and what it would hold now (sync.md 10.2).
pub(super) async fn descriptor<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let version = version::find(host, state).await?.ok_or(Error::SchemaVersionMissing)?;
    // The index may have been asked.
    admission::require_still(host, caller)?;
    ready::require_local(host)?;
    let mut graph = host.graph().borrow_mut();
    let t = graph.position()?.t;
    let rows = graph.row_count()?;
    // The graph is called by the origin alone.
    let origin = state.settings.address.base().map_or_else(|| url::origin(request.uri()), str::to_owned);
    Ok(respond::ok(SnapshotDescriptor::new(&origin, &graph_id, &version, t, rows).to_json()))
}

/// The stream itself, compressed where its reader can unpack it (D-59).
pub(super) async fn stream<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let gzip = state.settings.stream_gzip && accepts_gzip(request.headers());
    let encoding = if gzip { Encoding::Gzip } else { Encoding::Identity };
    // A graph that nobody has opened yet gets its first rows: clients refuse a stream without any.
    host.graph().borrow_mut().position()?;
    let export = host.graph().borrow_mut().begin_export(encoding)?;
    let rows = export.row_count();
    let mut response =
        Response::new(H::Response::streamed(Box::new(ExportChunks::new(Rc::clone(host.graph()), export))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/transit+json"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(HeaderName::from_static("x-snapshot-row-count"), HeaderValue::from(rows));
    respond::CORS.allow(headers);
    Ok(response)
}

/// Whether a request names gzip among the codings that it takes, and does not refuse it with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_gzip && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

/// Takes a part of a snapshot in, as its bytes arrive. The index is told before the graph closes (D-29) and after it
/// has opened.
pub(super) async fn upload<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &mut Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    let parameter = |name| url::query(request.uri(), name);
    let (reset, finished, checksum) = (parameter("reset"), parameter("finished"), parameter("checksum"));
    let checksum = checksum.map(std::borrow::Cow::into_owned);
    let query = UploadQuery::new(reset.as_deref(), finished.as_deref(), checksum.as_deref());
    let gzip =
        request.headers().get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let body = request.body_mut();
    let mut chunk = next_chunk(body).await?;
    admission::require(host, state, caller).await?;
    let graph = host.graph();
    let upload = graph.borrow_mut().begin_upload(&query, &owner(caller), gzip, chunk.is_some())?;
    let mut running = RunningUpload { graph: Rc::clone(graph), upload };
    let upload = &mut running.upload;
    if upload.closes_graph() {
        let close = || {
            admission::require_still(host, caller)?;
            Ok(graph.borrow_mut().close_for_upload(upload)?)
        };
        ready::close(host, state, &graph_id, close).await?;
        // Nobody can come back before the upload has ended, or was given up (D-50).
        sockets::close_all(host, Close::SNAPSHOT_REPLACED);
    }
    // Ends with the body.
    while let Some(bytes) = chunk {
        admission::require_still(host, caller)?;
        upload.push(bytes);
        while graph.borrow_mut().upload_piece(upload)? {
            host.turn().await;
            admission::require_still(host, caller)?;
        }
        chunk = next_chunk(body).await?;
    }
    admission::require_still(host, caller)?;
    graph.borrow_mut().store_rest(upload)?;
    while graph.borrow_mut().verify_piece(upload)? {
        host.turn().await;
        admission::require_still(host, caller)?;
    }
    let uploaded = graph.borrow_mut().finish_upload(upload)?;
    if uploaded.opened {
        // The end of an upload without rows opens a graph that has none yet.
        host.graph().borrow_mut().position()?;
        ready::tell(host, state, &graph_id).await?;
    }
    Ok(respond::ok(SnapshotUploaded::new(uploaded.count).to_json()))
}

/// Whose upload it is, as it is kept with the lock.
fn owner(caller: &Caller) -> String {
    match caller {
        Caller::User(id) => format!("user {id}"),
        Caller::Operator => "operator".to_owned(),
    }
}

/// A request of an upload that is given up when it is dropped before its end: the body broke off, its sender was removed, or
/// nobody waits for the answer.
struct RunningUpload<S: Sql + 'static> {
    graph: SharedGraph<S>,
    upload: Upload,
}

impl<S: Sql + 'static> Drop for RunningUpload<S> {
    fn drop(&mut self) {
        // The graph is never borrowed while a request is dropped; were it, the rows would wait for the next upload.
        if let Ok(mut graph) = self.graph.try_borrow_mut() {
            graph.abandon_upload(&mut self.upload);
        }
    }
}

/// The next bytes that are any.
async fn next_chunk<B: RequestBody>(body: &mut B) -> Result<Option<Vec<u8>>, Error> {
    loop {
        match body.chunk().await.map_err(|_| Error::Interrupted)? {
            Some(bytes) if bytes.is_empty() => {}
            chunk => return Ok(chunk),
        }
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::MissingBody => Self::Body(protocol::BodyError::Missing),
            UploadError::ChecksumConflict => Self::ChecksumConflict,
            UploadError::Invalid => Self::BadRequest("invalid snapshot"),
            UploadError::RowTooLarge => Self::RowTooLarge,
            UploadError::TooLarge => Self::RequestTooLarge,
            UploadError::Conflict => Self::UploadConflict,
            UploadError::Superseded => Self::UploadSuperseded,
            UploadError::Graph(error) => error.into(),
        }
    }
}
