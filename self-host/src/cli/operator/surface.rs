//! Requests with the operator's rights: to a remote server, to the one that runs on a data directory, or to one of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use daemon_lifecycle::{Scope, endpoint};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use super::engine::Engine;
use super::ledger::{existing, is_locked, scope};
use super::table::plain as plain_text;
use super::target::{Credential, Remote, Target};
use crate::cli::failure::{Failure, exit};
use crate::config::Resolved;
use crate::graphs::{Done, Task};
use crate::serve::care::{Asked, PATH};
use crate::serve::client::{Client, plain};

/// How long the head of an answer, or its next bytes, may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Bytes of an answer that is held as a whole.
const ANSWER_BYTES: usize = 64 << 20;

/// Where requests go.
pub(super) struct Surface {
    route: Route,
    /// A server of our own ends last.
    _own: Option<Engine>,
}

enum Route {
    /// A socket in a data directory, and its token.
    Socket { scope: Scope, token: HeaderValue },
    /// A server.
    Server { client: Client<Full<Bytes>>, base: Uri, header: &'static str, token: HeaderValue },
}

impl Surface {
    /// The surface of a target. Where no server runs on a data directory, one of our own does for as long as this lives.
    pub(super) fn open(target: &Target, resolved: &Resolved) -> Result<Self, Failure> {
        match target {
            Target::Server(remote) | Target::D1(_, Some(remote)) => Self::of_server(remote),
            Target::D1(_, None) => Err(Failure::usage(
                "what belongs to the worker goes through it: name its address with --base-url or DB_SYNC_BASE_URL",
            )),
            Target::Data(path) => Self::of_data(path, resolved),
        }
    }

    fn of_server(remote: &Remote) -> Result<Self, Failure> {
        let base: Uri = remote.base.parse().map_err(Failure::usage)?;
        let (header, text) = match &remote.credential {
            Credential::Admin(token) => ("x-db-sync-admin-token", token.clone()),
            Credential::User(token) => ("authorization", format!("Bearer {token}")),
        };
        let mut token = HeaderValue::from_str(&text).map_err(|_| Failure::usage("the token is no text of a header"))?;
        token.set_sensitive(true);
        Ok(Self { route: Route::Server { client: plain(), base, header, token }, _own: None })
    }

    fn of_data(path: &Path, resolved: &Resolved) -> Result<Self, Failure> {
        let data = existing(path)?;
        let scope = scope(&data)?;
        let own = if is_locked(&scope) { None } else { Some(Engine::start(data.root(), resolved)?) };
        let file = scope.token();
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::new(
                "repo-locked",
                exit::LOCKED,
                format!("the data directory is in use, and {}: {error}", file.display()),
            )
        })?;
        let token = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let token = token.map_err(|error| Failure::new("io", exit::IO, error))?;
        Ok(Self { route: Route::Socket { scope, token }, _own: own })
    }

    /// Sends a request whose address is a path, or an address of the same server; gives the answer as soon as its head is there.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.send_within(request, Some(PATIENCE)).await
    }

    async fn send_within(
        &self,
        mut request: Request<Full<Bytes>>,
        patience: Option<Duration>,
    ) -> Result<Response<Incoming>, Failure> {
        let sent = async {
            match &self.route {
                Route::Server { client, base, header, token } => {
                    request.headers_mut().insert(*header, token.clone());
                    *request.uri_mut() = address(base, request.uri())?;
                    client.request(request).await.map_err(|error| unreachable(base, &error))
                }
                Route::Socket { scope, token } => {
                    request.headers_mut().insert(AUTHORIZATION, token.clone());
                    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
                    over_socket(scope, request).await
                }
            }
        };
        let Some(patience) = patience else { return sent.await };
        timeout(patience, sent)
            .await
            .map_err(|_| Failure::new("unreachable", exit::UNAVAILABLE, "no answer in time"))?
    }

    /// Asks something; an answer that is no success is a failure.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(bytes)).map_err(Failure::usage)?;
        let response = succeeded(self.send(request).await?).await?;
        let bytes = whole(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|error| odd(&error.to_string()))
    }

    /// Has something done with a graph's whole, beside its clients; waits for as long as it takes. None: it has no folder.
    pub(super) async fn care(&self, folder: &str, moment: &str, task: Task) -> Result<Option<Done>, Failure> {
        let asked = Asked { folder: folder.to_owned(), moment: moment.to_owned(), task };
        let body = serde_json::to_vec(&asked).map_err(|error| odd(&error.to_string()))?;
        let request = Request::post(PATH).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body)).map_err(Failure::usage)?;
        let response = self.send_within(request, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if response.status() == StatusCode::CONFLICT {
            let told: Value = serde_json::from_slice(&whole(response.into_body()).await?).unwrap_or_default();
            let why = told.get("error").and_then(Value::as_str).unwrap_or("no reason is given");
            return Err(Failure::new("graph-not-cared-for", exit::FAILED, format!("{folder}: {}", plain_text(why))));
        }
        let bytes = whole(succeeded(response).await?.into_body()).await?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| odd(&error.to_string()))
    }

    /// Opens what is read piece by piece.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder().uri(path).body(Full::default()).map_err(Failure::usage)?;
        self.send(request).await
    }

    /// Whether an address is this surface's own, so that its credential may be shown there.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        match &self.route {
            Route::Socket { .. } => true,
            Route::Server { base, .. } => uri.authority().is_none() || web::url::origin(uri) == web::url::origin(base),
        }
    }
}

/// A path below the base, or the whole address as it is.
fn address(base: &Uri, uri: &Uri) -> Result<Uri, Failure> {
    if uri.authority().is_some() {
        return Ok(uri.clone());
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{}{path}", base.to_string().trim_end_matches('/')).parse().map_err(Failure::usage)
}

async fn over_socket(scope: &Scope, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    let path = scope.socket();
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new("unreachable", exit::UNAVAILABLE, format!("{}: {error}", path.display()))
            .with_hint("`logseq-sync server status` says what runs there")
    };
    let stream = endpoint::connect(&path).map_err(|error| failed(&error))?;
    stream.set_nonblocking(true).map_err(|error| failed(&error))?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(|error| failed(&error))?;
    let shaken = timeout(CONNECTING, http1::handshake(TokioIo::new(stream))).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    // Ends with the answer.
    tokio::spawn(connection.with_upgrades());
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = path.into();
    }
    sender.send_request(request).await.map_err(|error| failed(&error))
}

fn unreachable(base: &Uri, error: &hyper_util::client::legacy::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    // The chain of causes is finite.
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Failure::new("unreachable", exit::UNAVAILABLE, format!("{}: {text}", web::url::origin(base)))
}

fn odd(why: &str) -> Failure {
    Failure::new("odd-answer", exit::FAILED, format!("the server's answer cannot be read: {why}"))
}

/// The whole body of an answer, within its bound.
pub(super) async fn whole(body: Incoming) -> Result<Bytes, Failure> {
    let collected = timeout(PATIENCE, Limited::new(body, ANSWER_BYTES).collect()).await;
    let collected = collected.map_err(|_| odd("nothing came for too long"))?;
    Ok(collected.map_err(|error| odd(&error.to_string()))?.to_bytes())
}

/// An answer that is a success; else why not.
pub(super) async fn succeeded(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let bytes = whole(response.into_body()).await.unwrap_or_default();
    Err(refused(status, &bytes))
}

/// What a refusal means.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let error =
        told.as_ref().and_then(|told| told.get("error")).and_then(Value::as_str).unwrap_or("no reason is given");
    let text = format!("the server answers {}: {}", status.as_u16(), super::table::plain(error));
    let (code, exit) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ("token-refused", exit::REFUSED),
        StatusCode::NOT_FOUND => ("not-found", exit::FAILED),
        _ => ("refused", exit::FAILED),
    };
    let mut failure = Failure::new(code, exit, text);
    failure.details.insert("status".into(), status.as_u16().into());
    failure
}

/// A graph's id in a path.
pub(super) fn encoded(graph_id: &str) -> String {
    web::url::encode(graph_id)
}

/// Where a file is written before it has its name.
pub(super) fn partial(path: &Path) -> PathBuf {
    crate::store::beside(path, ".partial")
}
