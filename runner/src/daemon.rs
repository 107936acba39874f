//! The runner as the daemon of its state folder (docs/spec/daemon.md 4): it holds the lock, says to whoever started it how far it is, and answers
//! those who ask how it is or want it to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemon_lifecycle::admin::{self, Act, Standing};
use daemon_lifecycle::record::Kind;
use daemon_lifecycle::{Build, Claim, Holder, Owner, Program, Scope, Spawned, Trial, endpoint, process};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::leaving::{self, Leaving};
use crate::log::Log;
use crate::settings::Settings;

/// How long the runner may take to end.
const STOP: Duration = Duration::from_secs(15);
/// How often an idle runner makes sure that it has its lock.
const CHECKED: Duration = Duration::from_secs(5);
/// Bytes of a request's body.
const BODY_BYTES: usize = 4_096;

/// This program, as daemons are started with it.
///
/// # Errors
/// The system does not say which file it is.
pub(crate) fn program() -> Result<Program, Failure> {
    let executable = std::env::current_exe().map_err(|error| Failure::other("this program", error))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let build = Build { revision: version.clone(), version };
    Ok(Program { executable: process::without_note(executable), serve: "run", launch: &["launch"], build })
}

/// The hold of a state folder.
pub(crate) struct Daemon {
    holder: Holder,
    build: Build,
    spawned: Mutex<Spawned>,
    recovered: Vec<u32>,
    end: Notify,
    leaving: Mutex<Option<Leaving>>,
    /// Whether somebody says when no turn runs any more.
    drains: AtomicBool,
    drained: Notify,
}

impl Daemon {
    /// Takes the state folder: one runner has it. What goes wrong is told to whoever started it, too.
    ///
    /// # Errors
    /// [`Failure::Daemon`], or a name that is none of a folder.
    pub(crate) fn take(
        settings: &Settings,
        owner: Owner,
        mut spawned: Spawned,
        log: Log,
    ) -> Result<Arc<Self>, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        spawned.settle().map_err(|error| wrong(&error))?;
        let program = program()?;
        daemon_lifecycle::prepare(&settings.state_dir)?;
        let scope = Scope::new(&settings.state_dir, None).map_err(|error| Failure::Configuration(error.to_string()))?;
        let claim = Claim {
            scope: &scope,
            kind: Kind::Runner,
            owner,
            program: &program,
            stop_timeout: STOP,
            allow_weak_lock: false,
            trial: Trial::default(),
            step: &|_| {},
        };
        let taken = Holder::take(&claim)
            .inspect_err(|error| spawned.reporter.error(error.code(), &error.to_string(), error.members()))?;
        taken.warnings.iter().for_each(|warning| log.warn(warning));
        spawned.reporter.starting("registering");
        Ok(Arc::new(Self {
            holder: taken.holder,
            build: program.build,
            spawned: Mutex::new(spawned),
            recovered: taken.recovered,
            end: Notify::new(),
            leaving: Mutex::default(),
            drains: AtomicBool::new(false),
            drained: Notify::new(),
        }))
    }

    /// Says that the runner works: to whoever started it, and on standard output.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn ready(&self, runner_id: &str, transport: &str) -> Result<(), Failure> {
        use std::io::Write as _;
        let address = format!("unix:{}", self.holder.scope().socket().display());
        self.holder.publish(address, Vec::new())?;
        let mut spawned = self.spawned.lock().unwrap_or_else(PoisonError::into_inner);
        spawned.reporter.ready(&self.holder.record(), &self.recovered);
        let mut out = std::io::stdout();
        // Whoever started this may have closed its end: the runner works all the same.
        let _ = writeln!(out, "ready runner={runner_id} transport={transport}").and_then(|()| out.flush());
        Ok(())
    }

    /// How the runner is to end, once somebody said so: from then on it takes no prompts.
    pub(crate) fn leaving(&self) -> Option<Leaving> {
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on somebody says when no turn runs: [`Daemon::drained`].
    pub(crate) fn drains(&self) {
        self.drains.store(true, Ordering::Relaxed);
    }

    /// No turn runs any more, and none begins.
    pub(crate) fn drained(&self) {
        self.drained.notify_waiters();
    }

    /// The runner is to end in this way. Whether no turn runs, at the latest when the time is over.
    async fn leave(&self, leaving: Leaving) -> bool {
        let mut drained = std::pin::pin!(self.drained.notified());
        // Before it is looked: what is told meanwhile is heard.
        drained.as_mut().enable();
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaving);
        if !self.drains.load(Ordering::Relaxed) {
            return true;
        }
        tokio::time::timeout(Duration::from_millis(leaving.drain_ms), drained).await.is_ok()
    }

    /// Says why the runner does not work. After [`Daemon::ready`] nobody hears it.
    pub(crate) fn failed(&self, failure: &Failure) {
        let mut spawned = self.spawned.lock().unwrap_or_else(PoisonError::into_inner);
        spawned.reporter.error("runner-failed", &failure.to_string(), serde_json::Map::new());
    }

    /// The runner ends: nobody is to look for it any more.
    pub(crate) fn clean_up(&self) {
        // What is told of it is for those who look while it ends.
        let _ = self.holder.stopping();
        self.holder.clean_up();
    }

    /// Answers on the socket of the folder until the runner is to end. With an error: the lock was lost.
    ///
    /// # Errors
    /// When the socket cannot be made, or somebody else has the folder.
    pub(crate) async fn serve(self: &Arc<Self>) -> Result<(), Failure> {
        let wrong = |error| Failure::other(self.holder.scope().socket().display(), error);
        let listener = endpoint::bind(self.holder.scope()).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(wrong)?;
        let mut checks = tokio::time::interval(CHECKED);
        // Ends when somebody asks for it, or the lock is lost.
        loop {
            tokio::select! {
                () = self.end.notified() => return Ok(()),
                _ = checks.tick() => {
                    if self.holder.check().is_err() {
                        return Err(Failure::LockLost);
                    }
                }
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let daemon = Arc::clone(self);
                    let service = hyper::service::service_fn(move |request| {
                        let daemon = Arc::clone(&daemon);
                        async move { Ok::<_, std::convert::Infallible>(daemon.answer(request).await) }
                    });
                    let mut server = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(server.keep_alive(false).serve_connection(TokioIo::new(stream), service));
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, &serde_json::json!({"error": "payload-too-large"}));
        };
        let body = body.to_bytes();
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if head.uri.path() == leaving::ROUTE {
            return self.answer_leave(&head, &body).await;
        }
        let asked = admin::Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            graph: None,
            host: None,
            tcp: false,
            token: text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")),
            body: &body,
        };
        let lost = self.holder.check().is_err();
        let record = self.holder.record();
        let standing = Standing { record: &record, token: self.holder.token(), build: &self.build, clients: 0, lost };
        let reply = admin::answer(&asked, &standing);
        match reply.act {
            Some(Act::SetOwner(owner)) => {
                if let Err(error) = self.holder.set_owner(owner) {
                    return respond(StatusCode::CONFLICT, &serde_json::json!({"error": error.code()}));
                }
            }
            Some(Act::Shutdown) => self.end.notify_one(),
            None => {}
        }
        respond(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &reply.body)
    }
}

impl Daemon {
    async fn answer_leave(&self, head: &http::request::Parts, body: &[u8]) -> Response<Full<Bytes>> {
        let refuse = |status, code: &str| respond(status, &serde_json::json!({"error": code}));
        let token = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if !admin::is_trusted(token, self.holder.token()) {
            return refuse(StatusCode::UNAUTHORIZED, "unauthorized");
        }
        if head.method != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
        }
        let Ok(leaving) = serde_json::from_slice(body) else {
            return refuse(StatusCode::BAD_REQUEST, "validation-error");
        };
        let drained = self.leave(leaving).await;
        respond(StatusCode::OK, &serde_json::json!({"ok": true, "drained": drained}))
    }
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
