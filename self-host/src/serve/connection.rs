//! One connection: requests come in, the surface answers them.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha1::{Digest as _, Sha1};
use sync_http::early::Early;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::accept::Peer;
use super::forwarded::{self, Asked};
use super::fronts::{Phase, Shared};
use super::health::{self, unwell};
use super::operator::ADMIN_TOKEN;
use super::pace::{Pace, Paced};
use super::streams::Streams;
use super::{changes, observed, socket, status};
use crate::bodies::{NativeRequest, NativeResponse, SentBody};
use crate::graphs::SocketEnds;
use crate::host::now_ms;
use crate::metrics::Metrics;
use crate::traffic::{Cargo, Direction};

/// What a server proves with that it has understood the handshake (RFC 6455, 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of the key of a handshake.
const KEY_BYTES: usize = 16;

/// The header by which whoever asks from outside knows that it is this server that answers (self-host.md 5).
pub(crate) const LOCK_ID: HeaderName = HeaderName::from_static("x-lock-id");

/// Answers the requests of a connection, and stays for the socket that it may become.
pub(super) async fn serve<I>(stream: I, peer: Peer, shared: &Arc<Shared>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sockets = TaskTracker::new();
    let bounds = &shared.bounds;
    let stream = Paced::new(stream, bounds.head(), bounds.keep_alive());
    let pace = stream.pace();
    let service = service_fn(|request| {
        let (shared, sockets, pace) = (Arc::clone(shared), sockets.clone(), pace.clone());
        async move {
            let respond = async |request| respond(&shared, peer, request).await;
            Ok::<_, Infallible>(exchange(&shared, &sockets, Some(&pace), request, respond).await)
        }
    });
    let mut builder = http1::Builder::new();
    // The stream ends itself where a head does not come.
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(bounds.head_bytes());
    // Apart, so that its memory goes as soon as it has become a socket.
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        // Whatever went wrong with it was the other end's affair.
        _ = &mut connection => true,
        () = closing(shared) => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let mut phase = shared.phase.clone();
        tokio::select! {
            _ = &mut connection => {}
            _ = phase.wait_for(|phase| *phase == Phase::Over) => {}
        }
    }
    drop(connection);
    sockets.close();
    sockets.wait().await;
}

/// The same over HTTP/2, by which there are no sockets.
pub(super) async fn serve_h2<I>(stream: I, peer: Peer, shared: &Arc<Shared>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let open = Rc::new(Streams::default());
    let service = service_fn(|request| {
        let (shared, open) = (Arc::clone(shared), Rc::clone(&open));
        async move {
            let busy = open.begin();
            let response = respond(&shared, peer, request).await;
            drop(busy);
            Ok::<_, Infallible>(response.map(SentBody::from))
        }
    });
    let bounds = &shared.bounds;
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(bounds.head_bytes()).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(bounds.ping())
        .keep_alive_timeout(bounds.ping());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let unused = open.unused_for(bounds.keep_alive());
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = unused => None,
        () = closing(shared) => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let mut phase = shared.phase.clone();
        tokio::select! {
            _ = &mut connection => {}
            _ = phase.wait_for(|phase| *phase == Phase::Over) => {}
        }
    }
}

/// Requests of one client at once, over HTTP/2.
const STREAMS: u32 = 128;

/// Runs what belongs to a connection on its thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}

async fn closing(shared: &Shared) {
    let mut phase = shared.phase.clone();
    // A sender that is gone says the same.
    let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
}

/// Sends what `respond` answers, and makes of the connection the socket that it may have become.
pub(super) async fn exchange(
    shared: &Arc<Shared>,
    sockets: &TaskTracker,
    pace: Option<&Pace>,
    mut request: Request<Incoming>,
    respond: impl AsyncFnOnce(Request<Incoming>) -> Response<NativeResponse>,
) -> Response<SentBody> {
    let busy = pace.map(Pace::begin);
    let upgrade = hyper::upgrade::on(&mut request);
    let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
    let mut response = respond(request).await;
    if shared.hold.is_lost() {
        // Nobody knows any more whether what was done is what others find.
        response = Early::Stopping.answer();
    }
    if matches!(response.body(), NativeResponse::Socket(_))
        && let NativeResponse::Socket(ends) = std::mem::replace(response.body_mut(), NativeResponse::Empty)
    {
        complete(response.headers_mut(), key.as_ref());
        pace.inspect(|pace| pace.free());
        sockets.spawn_local(switch(upgrade, *ends, shared.bounds.ping(), Arc::clone(&shared.metrics)));
    }
    response.map(|body| SentBody::of(body, busy))
}

async fn switch(upgrade: OnUpgrade, ends: SocketEnds, ping: Duration, metrics: Arc<Metrics>) {
    // A client that is gone before: the graph learns it as the ends are dropped.
    if let Ok(upgraded) = upgrade.await {
        socket::run(TokioIo::new(upgraded), ends, ping, &metrics).await;
    }
}

/// The headers of the answer that switches protocols.
fn complete(headers: &mut HeaderMap, key: Option<&HeaderValue>) {
    let proof = Sha1::new().chain_update(key.map_or(&b""[..], HeaderValue::as_bytes)).chain_update(MAGIC).finalize();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(proof) = HeaderValue::from_str(&STANDARD.encode(proof)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    }
}

async fn respond(shared: &Arc<Shared>, peer: Peer, request: Request<Incoming>) -> Response<NativeResponse> {
    let request = without_base(request, &shared.base_path);
    let stopping = *shared.phase.borrow() != Phase::Open || shared.hold.check().is_err();
    if !stopping && health::asks_for_more(&request) && is_operator(shared, request.headers()) {
        return health::tell(shared).await;
    }
    if request.uri().path() == "/health" && (stopping || !shared.health.is_good(&shared.front.index).await) {
        return unwell();
    }
    if stopping {
        return Early::Stopping.answer();
    }
    if shared.only.as_ref().is_some_and(|only| !only.answers(&request)) {
        return Early::OtherGraph.answer();
    }
    if asks_for_socket(&request) && !is_handshake(request.headers()) {
        return Early::InvalidUpgrade.answer();
    }
    let asked = shared.trusted.with(|trusted| forwarded::read(trusted, peer, request.headers()));
    let Ok(asked) = asked else {
        return Early::InvalidForwarding.answer();
    };
    if request.uri().path() == "/metrics" && !shared.metrics_apart && may_measure(shared, &asked, request.headers()) {
        return measured(shared);
    }
    let shows_token =
        request.headers().contains_key(AUTHORIZATION) || web::url::query(request.uri(), "token").is_some();
    if shows_token && let Some(seconds) = shared.strikes.out_for(asked.client, now_ms()) {
        return Early::TooManyLogins(seconds).answer();
    }
    if brings_much(&request) && !shared.space.takes(length_of(&request)) {
        return Early::StorageFull.answer();
    }
    let Some(uri) = address(&request, peer, &asked) else { return Early::InvalidHost.answer() };
    let Some(uri) = admitted(uri, &shared.base_urls) else { return Early::InvalidHost.answer() };
    if shared.status_page
        && let Some(route) = status::Route::of(&request)
    {
        return status::answer(shared, route, &asked, &uri, request).await;
    }
    let asset = asset_way(&request);
    if let Some(observed) = observed::Route::of(&request)
        && is_operator(shared, request.headers())
    {
        return observed::answer(shared, observed).await;
    }
    if changes::is_for(&request) {
        let response = changes::answer(shared, request).await;
        if shows_token && response.status() == StatusCode::UNAUTHORIZED {
            shared.strikes.add(asked.client, now_ms());
        }
        return response;
    }
    let expects = expects_continue(&request);
    let (mut parts, body) = request.into_parts();
    parts.uri = uri;
    let body = NativeRequest::incoming(body, shared.bounds.body_idle(), expects);
    let stalled = body.stalled();
    let is_health = parts.uri.path() == "/health";
    let mut response = sync_http::handle(&shared.front, &shared.service, Request::from_parts(parts, body)).await;
    if shows_token && response.status() == StatusCode::UNAUTHORIZED {
        shared.strikes.add(asked.client, now_ms());
    }
    if is_health && let Ok(id) = HeaderValue::from_str(&shared.hold.holder().record().lock_id) {
        response.headers_mut().insert(LOCK_ID, id);
    }
    if stalled.load(Ordering::Relaxed) {
        response = Early::Stalled.answer();
    }
    if let Some((way, length)) = asset {
        let traffic = &shared.metrics.traffic;
        let is_there = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
        traffic.carried(Cargo::Asset, way, is_there);
        let bytes = if way == Direction::Upload { length } else { response.body().length() };
        traffic.bytes(way, bytes.filter(|_| is_there).unwrap_or_default());
    }
    response
}

/// Which way a request carries an asset, and how long it says the asset is.
fn asset_way<B>(request: &Request<B>) -> Option<(Direction, Option<u64>)> {
    let way = match *request.method() {
        Method::GET => Direction::Download,
        Method::PUT => Direction::Upload,
        _ => return None,
    };
    request.uri().path().starts_with("/assets/").then(|| (way, length_of(request)))
}

/// The same request without what stands before the paths of this server's addresses; one that lacks it is as good.
fn without_base<B>(mut request: Request<B>, base: &str) -> Request<B> {
    let whole = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let rest =
        whole.strip_prefix(base).filter(|rest| !base.is_empty() && (rest.is_empty() || rest.starts_with(['/', '?'])));
    let Some(rest) = rest else { return request };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    if let Ok(path) = format!("{slash}{rest}").parse() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Whether a request brings what may be large: an asset, or a part of an upload.
pub(super) fn brings_much<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    match *request.method() {
        Method::PUT => path.contains("/assets/"),
        Method::POST => path.contains("/sync/") && path.ends_with("/snapshot/upload"),
        _ => false,
    }
}

/// The length that a request says its body has.
pub(super) fn length_of<B>(request: &Request<B>) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the sender writes its body only once it is told to go on.
pub(super) fn expects_continue<B>(request: &Request<B>) -> bool {
    let expected = request.headers().get(EXPECT).and_then(|expected| expected.to_str().ok());
    expected.is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue"))
}

/// Whether somebody may read the metrics; for all others there are none.
fn may_measure(shared: &Shared, asked: &Asked, headers: &HeaderMap) -> bool {
    is_operator(shared, headers) || shared.metrics_allow.with(|allowed| allowed.includes(asked.client))
}

/// Whether a request shows the operator's token.
fn is_operator(shared: &Shared, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let is_admin = |token| shared.service.settings.auth.is_admin(token);
    is_admin(text(ADMIN_TOKEN)) || is_admin(bearer)
}

pub(super) fn measured(shared: &Shared) -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(shared.metrics.text(&shared.space).into_bytes()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Whether the surface would take this for a request for a socket.
fn asks_for_socket<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(UPGRADE);
    let to_websocket = upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    to_websocket && request.method() == Method::GET && request.uri().path().starts_with("/sync/")
}

/// Whether a handshake has all that RFC 6455 (4.2.1) demands.
fn is_handshake(headers: &HeaderMap) -> bool {
    let is_version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key.as_bytes()).ok());
    let switches = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade")));
    is_version && switches && key.is_some_and(|key| key.len() == KEY_BYTES)
}

/// The whole address that a request calls: what a trusted proxy says, else that of its first line where it stands there, else
/// its `Host` under the scheme of the connection. None where it calls nobody.
fn address<B>(request: &Request<B>, peer: Peer, asked: &Asked) -> Option<Uri> {
    let uri = request.uri();
    let own = if peer.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let scheme = asked.scheme.clone().or_else(|| uri.scheme().cloned()).unwrap_or(own);
    let authority = match (&asked.host, uri.authority()) {
        (Some(host), _) | (None, Some(host)) => host.clone(),
        (None, None) => {
            let mut hosts = request.headers().get_all(HOST).iter();
            let host = hosts.next()?.to_str().ok()?;
            if hosts.next().is_some() || host.contains('@') {
                return None;
            }
            host.parse().ok()?
        }
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(uri.path_and_query()?.clone());
    Uri::from_parts(parts).ok()
}

/// The same address under the first of the server's own, where it has some and this is none of them.
fn admitted(uri: Uri, base_urls: &[String]) -> Option<Uri> {
    let Some(first) = base_urls.first() else { return Some(uri) };
    let origin = web::url::origin(&uri).to_ascii_lowercase();
    if base_urls.contains(&origin) {
        return Some(uri);
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{first}{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(is_tls: bool) -> Peer {
        Peer { address: [127, 0, 0, 1].into(), is_unix: false, is_tls }
    }

    fn called(target: &str, hosts: &[&str], is_tls: bool) -> Option<String> {
        let mut request = Request::new(());
        *request.uri_mut() = target.parse().unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let unsaid = Asked { client: [127, 0, 0, 1].into(), scheme: None, host: None };
        address(&request, peer(is_tls), &unsaid).map(|uri| uri.to_string())
    }

    #[test]
    fn a_request_calls_what_it_says() {
        assert_eq!(called("/p?q=1", &["h:1"], false).as_deref(), Some("http://h:1/p?q=1"));
        assert_eq!(called("/p", &["h"], true).as_deref(), Some("https://h/p"));
        assert_eq!(called("http://other/p", &["h"], true).as_deref(), Some("http://other/p"));
        for hosts in [&[][..], &[""], &["a b"], &["u@h"], &["h", "h"]] {
            assert_eq!(called("/p", hosts, false), None, "{hosts:?}");
        }
    }

    #[test]
    fn a_request_of_another_name_is_answered_under_the_first_of_ours() {
        let ours = ["https://notes.example".to_owned(), "http://10.0.0.5:8080".to_owned()];
        let answered = |uri: &str, ours: &[String]| admitted(uri.parse().unwrap(), ours).unwrap().to_string();
        assert_eq!(answered("http://10.0.0.5:8080/p?q", &ours), "http://10.0.0.5:8080/p?q");
        assert_eq!(answered("https://Notes.example/p", &ours), "https://Notes.example/p");
        assert_eq!(answered("http://evil.example/p?q", &ours), "https://notes.example/p?q");
        assert_eq!(answered("http://any.example/p", &[]), "http://any.example/p");
    }

    #[test]
    fn the_path_of_the_base_is_taken_off() {
        let path = |path: &str, base: &str| {
            let request = Request::builder().uri(path).body(()).unwrap();
            without_base(request, base).uri().to_string()
        };
        for (given, expected) in [
            ("/notes/graphs?a=/notes", "/graphs?a=/notes"),
            ("/notes", "/"),
            ("/notes/", "/"),
            ("/notes?x", "/?x"),
            ("/graphs", "/graphs"),
            ("/notesX/graphs", "/notesX/graphs"),
            ("http://h/notes/p", "http://h/p"),
        ] {
            assert_eq!(path(given, "/notes"), expected);
        }
        assert_eq!(path("/notes/graphs", ""), "/notes/graphs");
    }

    #[test]
    fn a_handshake_has_a_version_a_key_and_a_connection() {
        let whole = [
            (CONNECTION, "keep-alive, Upgrade"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers: HeaderMap =
            whole.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        assert!(is_handshake(&headers));
        for (name, _) in whole {
            let mut without = headers.clone();
            without.remove(name);
            assert!(!is_handshake(&without));
        }
        let mut answer = HeaderMap::new();
        complete(&mut answer, headers.get(SEC_WEBSOCKET_KEY));
        assert_eq!(answer.get(SEC_WEBSOCKET_ACCEPT).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
