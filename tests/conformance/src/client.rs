//! HTTP requests of one person.

use std::io::Read as _;
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use serde_json::Value;

use crate::people::pages_that_may_ask;

/// How the proxy of `wrangler dev` says that it lost its connection to the worker.
const WRANGLER_LOST: &[u8] = b"Your worker restarted mid-request.";

/// How often such a request is repeated: the floods of the suite can leave it with more than twenty lost connections, and each
/// attempt finds one.
const LOST_REPEATS: usize = 50;

/// The answer to a request. The proxy of `wrangler dev` does use connections again, and meets one that workerd has reset: then the
/// request has not reached the worker, the proxy leaves the repetition to the client, and `ask` is called again.
pub fn repeated(mut ask: impl FnMut() -> Answer) -> Answer {
    let mut answer = ask();
    for _ in 0..LOST_REPEATS {
        if answer.status != 503 || !answer.bytes.starts_with(WRANGLER_LOST) {
            break;
        }
        answer = ask();
    }
    answer
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is empty or something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// A header's text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Fails the case unless status and JSON body are exactly these.
    #[track_caller]
    pub fn expect(&self, status: u16, body: &Value) -> &Self {
        assert_eq!((self.status, &self.json()), (status, body), "body: {}", String::from_utf8_lossy(&self.bytes));
        self
    }

    /// Fails the case unless the status is this one.
    #[track_caller]
    pub fn status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "body: {}", String::from_utf8_lossy(&self.bytes));
        self
    }

    /// Fails the case unless this is `{"error": message}` with this status.
    #[track_caller]
    pub fn error_body(&self, status: u16, message: &str) -> &Self {
        self.expect(status, &serde_json::json!({ "error": message }))
    }

    /// The same, and it must carry the CORS headers and the content type.
    #[track_caller]
    pub fn error(&self, status: u16, message: &str) -> &Self {
        self.error_body(status, message);
        assert_eq!(self.header("access-control-allow-origin"), pages_that_may_ask());
        assert!(self.header("content-type").starts_with("application/json"), "content-type of an error");
        self
    }
}

/// One person's view of the server: a base URL and perhaps a token.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    pub base: String,
    pub token: Option<String>,
    pub user: String,
}

impl Client {
    pub fn new(base: &str, user: &str, token: Option<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // No connection is used twice. workerd answers a request that the worker refuses without reading its body, and resets the
            // connection when more than 64 KiB of the body come behind the answer; the answer does not say `connection: close`. The
            // worker cannot say it either, as the platform removes the header.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_mins(2)))
            .build()
            .into();
        Self { agent, base: base.to_owned(), token, user: user.to_owned() }
    }

    /// The same person with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Someone without credentials.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// One request with these headers besides the token's.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        repeated(|| self.send_once(method, path, headers, body))
    }

    fn send_once(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let mut request =
            Request::builder().method(method.parse::<Method>().expect("method")).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body.to_vec()).expect("request")),
            None => self.agent.run(request.body(()).expect("request")),
        };
        let response = response.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        body.into_with_config().limit(1 << 30).reader().read_to_end(&mut bytes).expect("body arrives whole");
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }
}
