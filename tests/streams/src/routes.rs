//! Requests.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use database::local::SqlError;
use durable_streams::{Asked, Clock, Following, Step, Told, Waiting, dress, head, missing, preflight, read};
use http::header::{CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::store::{Form, Streams, kind, messages};

/// The only paths there are begin so.
const PREFIX: &str = "/v1/stream/";
/// The longest body that is taken.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// How long events last.
const EVENTS: Duration = Duration::from_mins(1);
/// The pause after which something is said.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Sent = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) struct Server {
    pub(crate) streams: RefCell<Streams>,
    pub(crate) long_poll: Duration,
    pub(crate) base: String,
}

/// The answer to a request.
pub(crate) async fn respond(server: &Rc<Server>, request: Request<Incoming>) -> Response<Sent> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if !path.starts_with(PREFIX) {
        return sent(missing());
    }
    if parts.headers.keys().any(is_of_another_feature) {
        return sent(plain(StatusCode::NOT_IMPLEMENTED));
    }
    let answered = match parts.method {
        Method::GET => return get(server, &path, parts.uri.query().unwrap_or_default(), &parts.headers).await,
        Method::HEAD => Ok(server.streams.borrow().by_path.get(&path).map_or_else(missing, head)),
        Method::OPTIONS => Ok(preflight("GET, HEAD, PUT, POST, DELETE, OPTIONS")),
        Method::PUT | Method::POST => match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => write(server, &path, &parts.method, &parts.headers, &body.to_bytes()),
            Err(_) => Ok(plain(StatusCode::PAYLOAD_TOO_LARGE)),
        },
        Method::DELETE => server
            .streams
            .borrow_mut()
            .delete(&path)
            .map(|was_there| if was_there { plain(StatusCode::NO_CONTENT) } else { missing() }),
        _ => Ok(missing()),
    };
    sent(answered.unwrap_or_else(|error| failed(&error)))
}

/// Expiry, closing, producers, forks, and the order of writers.
fn is_of_another_feature(name: &http::HeaderName) -> bool {
    name.as_str().starts_with("stream-") || name.as_str().starts_with("producer-")
}

fn write(
    server: &Server,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Vec<u8>>, SqlError> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).filter(|given| !given.is_empty());
    let mut streams = server.streams.borrow_mut();
    let is_put = method == Method::PUT;
    let known = streams.by_path.get(path).map(|stream| kind(&stream.content_type));
    let mut status = StatusCode::NO_CONTENT;
    let stream = match (known, is_put) {
        (Some(known), true) => {
            let is_same = given.is_none_or(|given| kind(given) == known);
            let mut response = plain(if is_same { StatusCode::OK } else { StatusCode::CONFLICT });
            if let Some(stream) = streams.by_path.get(path).filter(|_| is_same) {
                response.headers_mut().extend(head(stream).headers().clone());
            }
            return Ok(response);
        }
        (None, false) => return Ok(missing()),
        (Some(known), false) => {
            let Some(given) = given else { return Ok(plain(StatusCode::BAD_REQUEST)) };
            if kind(given) != known {
                return Ok(plain(StatusCode::CONFLICT));
            }
            streams.by_path.get_mut(path)
        }
        (None, true) => {
            status = StatusCode::CREATED;
            Some(streams.create(path, given.unwrap_or("application/octet-stream"))?)
        }
    };
    let Some(stream) = stream else { return Ok(missing()) };
    let written = if is_put && body.is_empty() { Some(Vec::new()) } else { messages(stream.form, body) };
    let Some(written) = written.filter(|written| is_put || !written.is_empty()) else {
        return Ok(plain(StatusCode::BAD_REQUEST));
    };
    if !written.is_empty() {
        stream.append(written, i64::try_from(now_ms()).unwrap_or(i64::MAX))?;
    }
    let mut response = head(stream);
    *response.status_mut() = status;
    if status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_TYPE);
    } else if let Ok(location) = HeaderValue::from_str(&format!("{}{path}", server.base)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn get(server: &Rc<Server>, path: &str, query: &str, headers: &HeaderMap) -> Response<Sent> {
    let has = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let step = {
        let streams = server.streams.borrow();
        let Some(stream) = streams.by_path.get(path) else { return sent(missing()) };
        match Asked::read(query, has) {
            Ok(asked) => read(stream, &asked, clock()),
            Err(malformed) => return sent(malformed.answer()),
        }
    };
    match step {
        Ok(Step::Answer(answer)) => sent(answer),
        Ok(Step::Wait(waiting)) => sent(wait(server, path, waiting).await.unwrap_or_else(|error| failed(&error))),
        Ok(Step::Follow(mut head, following)) => {
            let is_bytes = server.streams.borrow().by_path.get(path).is_some_and(|stream| stream.form == Form::Bytes);
            if is_bytes {
                head.headers_mut().insert("stream-sse-data-encoding", HeaderValue::from_static("base64"));
            }
            let (sender, receiver) = mpsc::channel(1);
            tokio::task::spawn_local(follow(Rc::clone(server), path.to_owned(), following, sender));
            head.map(|()| UnsyncBoxBody::new(Events(receiver)))
        }
        Err(error) => sent(failed(&error)),
    }
}

async fn wait(server: &Server, path: &str, waiting: Waiting) -> Result<Response<Vec<u8>>, SqlError> {
    let end = Instant::now() + server.long_poll;
    // Each turn is a message that was written, or the end.
    loop {
        let mut grown = {
            let streams = server.streams.borrow();
            let Some(stream) = streams.by_path.get(path) else { return Ok(missing()) };
            if let Some(answer) = waiting.poll(stream)? {
                return Ok(answer);
            }
            if Instant::now() >= end {
                return Ok(waiting.timed_out(stream));
            }
            stream.grown.subscribe()
        };
        // Whether it has grown, is gone, or the time is over is seen above.
        let _ = timeout_at(end, grown.changed()).await;
    }
}

async fn follow(server: Rc<Server>, path: String, mut following: Following, sender: mpsc::Sender<Vec<u8>>) {
    let end = Instant::now() + EVENTS;
    // Each turn is a message that was written, a keep-alive, or the end.
    while Instant::now() < end {
        let (told, mut grown) = {
            let streams = server.streams.borrow();
            let Some(stream) = streams.by_path.get(&path) else { return };
            (following.next(stream, clock()), stream.grown.subscribe())
        };
        let events = match told {
            Ok(Told::Events(events)) => events,
            Ok(Told::Nothing) => {
                if timeout_at((Instant::now() + KEEP_ALIVE).min(end), grown.changed()).await.is_ok() {
                    continue;
                }
                let streams = server.streams.borrow();
                let Some(stream) = streams.by_path.get(&path) else { return };
                following.keep_alive(stream, clock())
            }
            Ok(Told::Ended) | Err(_) => return,
        };
        if sender.send(events).await.is_err() {
            return;
        }
    }
}

/// Events as a body.
struct Events(mpsc::Receiver<Vec<u8>>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|events| events.map(|events| Ok(Frame::data(events.into()))))
    }
}

fn sent(response: Response<Vec<u8>>) -> Response<Sent> {
    response.map(|body| UnsyncBoxBody::new(Full::from(body)))
}

fn plain(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    dress(response.headers_mut());
    response
}

fn failed(error: &SqlError) -> Response<Vec<u8>> {
    let mut response = plain(StatusCode::INTERNAL_SERVER_ERROR);
    *response.body_mut() = error.to_string().into_bytes();
    response
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn clock() -> Clock {
    let now_ms = now_ms();
    // Any number does.
    Clock { now_ms, dice: u32::try_from(now_ms % 3_571).unwrap_or_default() }
}
