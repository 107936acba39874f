//! Requests to the agents worker and to the local sandbox-agent: small bodies of JSON, both ways.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, all of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read: work for a runner is 1 MiB of bodies, and their heads.
pub(crate) const ANSWER_BYTES: usize = 2 << 20;

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A request.
pub(crate) struct Ask<'a> {
    /// Its method.
    pub(crate) method: Method,
    /// Its address.
    pub(crate) url: &'a str,
    /// The token that it shows.
    pub(crate) token: Option<&'a str>,
    /// Further members of its head.
    pub(crate) headers: Vec<(&'static str, &'a str)>,
    /// What it says, and of which type that is.
    pub(crate) body: Option<(&'a str, Bytes)>,
    /// How long its answer may take, all of it.
    pub(crate) patience: Duration,
    /// Bytes of its answer that are read.
    pub(crate) most: usize,
}

/// An answer.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body, where that is JSON.
    pub(crate) body: Option<Value>,
    /// Its body as it came.
    pub(crate) bytes: Bytes,
    /// Its head.
    pub(crate) headers: http::HeaderMap,
}

impl Answer {
    /// What it says of a refusal.
    pub(crate) fn refusal(&self) -> String {
        let told = self.body.as_ref().and_then(|body| body.get("error")?.as_str());
        told.map_or_else(|| self.status.to_string(), |told| format!("{}: {told}", self.status))
    }

    /// The clock of whoever answered, in the form of HTTP.
    pub(crate) fn date(&self) -> Option<&str> {
        self.headers.get(DATE)?.to_str().ok()
    }
}

impl Client {
    /// A client that trusts the certificates of the system; where it has none, those that browsers trust.
    pub(crate) fn new() -> Self {
        Self::within(CONNECT)
    }

    fn within(connect: Duration) -> Self {
        let builder = match HttpsConnectorBuilder::new().with_native_roots() {
            Ok(native) => native,
            Err(_) => HttpsConnectorBuilder::new().with_webpki_roots(),
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(connect));
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
        Self(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Asks, with a token where there is one. The error says why there is no answer; it names no token.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let body = body.map(|body| ("application/json", Bytes::from(body)));
        self.send(Ask { method, url, token, headers: Vec::new(), body, patience: PATIENCE, most: ANSWER_BYTES }).await
    }

    /// Sends a request. The error says why there is no answer; it names no token.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Answer, String> {
        let mut request = Request::builder().method(ask.method).uri(ask.url);
        if let Some(token) = ask.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some((kind, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        let bytes = ask.body.map_or_else(Bytes::new, |(_, bytes)| bytes);
        let request = request.body(Full::new(bytes)).map_err(|_| "the request cannot be written".to_owned())?;
        let answered = async {
            let response = self.0.request(request).await.map_err(|error| causes(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ask.most).collect().await.map_err(|error| error.to_string())?;
            let bytes = body.to_bytes();
            let body = serde_json::from_slice(&bytes).ok();
            Ok(Answer { status: head.status, body, bytes, headers: head.headers })
        };
        tokio::time::timeout(ask.patience, answered)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ask.patience.as_secs())))
    }
}

/// An error with what caused it: the outermost says only that connecting failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    // As deep as the libraries nest their errors.
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that takes nobody: the system lets connections in up to its backlog, and those that follow wait.
    #[tokio::test]
    async fn a_machine_that_does_not_answer_is_given_up_long_before_an_answer_would_be() {
        use rustix::net::{AddressFamily, SocketAddrAny, SocketType, bind, getsockname, listen, socket};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address: std::net::SocketAddr = SocketAddrAny::try_into(getsockname(&listener).unwrap()).unwrap();
        let short = std::time::Duration::from_millis(200);
        let mut held = Vec::new();
        // Bounded: a backlog of nothing holds one or two.
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, short) {
            held.push(stream);
            assert!(held.len() < 100);
        }
        let began = std::time::Instant::now();
        let answer = Client::within(short).ask(Method::GET, &format!("http://{address}/"), None, None).await;
        assert!(answer.is_err() && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
