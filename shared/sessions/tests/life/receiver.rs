//! Servers of others: what they get, and how they answer. They live on when the object dies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use web::{Call, CallError, Failure, Fetch, Incoming, Reply};

use crate::clock::Clock;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Post {
    /// It is answered.
    Status(u16),
    /// It is answered so many milliseconds later.
    Late(i64, u16),
    /// It comes, and the answer is lost.
    Lost,
    /// It does not come.
    Unreached,
    /// It does not come, and nobody says so.
    Held,
    /// It comes, and nobody answers.
    Never,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at: i64,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) post: Post,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// All servers.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) got: Vec<Got>,
    /// What becomes of the next requests; then of all.
    pub(crate) next: VecDeque<Post>,
    pub(crate) then: Option<Post>,
    /// Whether GitHub is there, with one repository.
    pub(crate) has_github: bool,
}

impl Net {
    pub(crate) fn urls(&self) -> Vec<&str> {
        self.got.iter().map(|got| got.url.as_str()).collect()
    }
}

pub(crate) struct Outside {
    pub(crate) clock: Rc<Clock>,
    pub(crate) net: Rc<RefCell<Net>>,
}

/// A body; none where nobody is to read it.
pub(crate) struct Body(Option<Vec<u8>>);

impl Incoming for Body {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let body = self.0.as_mut().unwrap();
        Ok(Some(std::mem::take(body)).filter(|rest| !rest.is_empty()))
    }
}

/// GitHub, where everything goes well.
fn github(call: &Call) -> Reply<Body> {
    // GitHub does not care for large and small letters in names.
    let path = call.url.strip_prefix("https://api.github.com").unwrap().to_ascii_lowercase();
    let (status, body) = match path.split('?').next().unwrap() {
        "/repos/acme/app/installation" => (200, json!({"id": 1})),
        "/app/installations/1/access_tokens" => (201, json!({"token": "ghs_1", "expires_at": "2126-01-01T00:00:00Z"})),
        "/repos/acme/app" => (200, json!({"default_branch": "trunk"})),
        "/repos/acme/app/pulls" => (201, json!({"number": 5, "html_url": "https://github.com/acme/app/pull/5"})),
        _ => (404, Value::Null),
    };
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: Body(Some(body.to_string().into_bytes())) }
}

impl Fetch for Outside {
    type Body = Body;

    async fn fetch(&self, call: Call) -> Result<Reply<Body>, CallError> {
        self.clock.point().await;
        if self.net.borrow().has_github && call.url.starts_with("https://api.github.com/") {
            let reply = github(&call);
            self.clock.point().await;
            return Ok(reply);
        }
        // Nobody else is there but receivers of notifications.
        if !call.headers.contains_key("webhook-id") {
            return Err(CallError::NotReached("there is nobody".into()));
        }
        let post = {
            let mut net = self.net.borrow_mut();
            let post = net.next.pop_front().or(net.then).unwrap_or(Post::Status(200));
            if !matches!(post, Post::Unreached | Post::Held) {
                let body = String::from_utf8(call.body).unwrap();
                net.got.push(Got { at: self.clock.now.get(), url: call.url, headers: call.headers, body, post });
            }
            post
        };
        self.clock.point().await;
        let limit = i64::from(call.limit_ms.unwrap());
        let (wait, status) = match post {
            Post::Status(status) => (0, status),
            Post::Late(ms, status) => (ms, status),
            Post::Lost => return Err(CallError::Broken("lost".into())),
            Post::Unreached => return Err(CallError::NotReached("nobody".into())),
            Post::Never | Post::Held => (i64::MAX, 0),
        };
        self.clock.sleep(wait.min(limit)).await;
        if wait > limit {
            return Err(CallError::TimedOut);
        }
        Ok(Reply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: Body(None) })
    }
}
