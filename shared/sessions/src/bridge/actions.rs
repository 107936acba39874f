//! What a bridge does outside of its object. What comes of it happens to the bridge.

use std::rc::Rc;

use futures_util::future::{AbortHandle, abortable};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode};
use pg_sync::answer::Answer;
use pg_sync::body::BlockedReason;
use pg_sync::bridge::{Action, ConnectionFault, Event, Outcome, Source};
use pg_sync::shape::{Ask, ShapeRequest};
use serde_json::Value;
use web::{Call, CallError, Fetch, Peers as _, ReplyError, url};

use super::object::{Bridge, Told};
use super::streams::REGISTERING;
use super::{MAX_SESSION_ANSWER_BYTES, Platform, SESSIONS};
use crate::pg_sync::{Resolved, resolve};
use crate::registry::pg_bridges;
use crate::runtime::exchange::within;

/// How long a session may take to take something in, in milliseconds.
const TAKING_MS: u32 = 30_000;

impl<P: Platform> Bridge<P> {
    pub(super) fn act(&self, action: Action) {
        match action {
            Action::ReadConnection { epoch } => self.spawn(move |me| async move { me.read_connection(epoch).await }),
            Action::Ask { epoch, ask, timeout_ms } => self.ask(epoch, ask, timeout_ms),
            Action::Abort => self.abort(),
            // It waited for a moment only, and is told of nothing: one that a death has left ends here.
            Action::Send { id, key, .. } if id == REGISTERING => {
                self.spawn(move |me| async move { me.came(Event::Sent { id, key, outcome: Outcome::Gone }) });
            }
            Action::Send { id, session, key, body } => {
                self.spawn(move |me| async move { me.send(id, &session, key, body).await });
            }
            Action::Joined { id } => self.answer_joining(&id, &Ok(())),
            Action::NotJoined { id, why } => self.answer_joining(&id, &Err(why)),
            Action::Remove => self.remove(),
        }
    }

    fn spawn<F: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Rc<Self>) -> F) {
        if let Some(me) = self.me.upgrade() {
            self.platform.spawn(work(me));
        }
    }

    fn answer_joining(&self, id: &str, answer: &Result<(), pg_sync::bridge::NotJoined>) {
        for waiting in self.joining.borrow_mut().remove(id).unwrap_or_default() {
            // Whoever has waited enough is gone.
            let _ = waiting.send(answer.clone());
        }
    }

    /// Something has come of work outside. What cannot be stored is told to the operator; the alarm goes on from what is stored.
    fn came(&self, event: Event) {
        if let Err(error) = self.happens(event) {
            self.warn("agents/bridge-failed", &error.to_string());
        }
    }

    fn source(&self) -> Option<Source> {
        self.look(|bridge| bridge.stored().source.clone())
    }

    async fn read_connection(&self, epoch: u64) {
        let Some(source) = self.source() else { return };
        let db = self.platform.db();
        let found = resolve(db.as_deref(), &self.settings, &source.owner, &source.connection).await;
        let seen = found.and_then(|found| {
            if found.tables.allow(&source.options.table, source.options.filter.as_deref()) {
                Ok(found)
            } else {
                Err(ConnectionFault::Unusable(BlockedReason::TableNotAllowed))
            }
        });
        let connection = seen.as_ref().map(|found| found.connection).map_err(|fault| *fault);
        *self.resolved.borrow_mut() = seen.ok().map(Rc::new);
        self.came(Event::Connection { epoch, seen: connection });
    }

    fn ask(&self, epoch: u64, ask: Ask, timeout_ms: i64) {
        let (source, resolved) = (self.source(), self.resolved.borrow().clone());
        let cache_buster = self.platform.random_uuid().simple().to_string();
        let (fetch, me) = (self.platform.fetch(), self.me.upgrade());
        let Some(me) = me else { return };
        let (work, handle): (_, AbortHandle) = abortable(async move {
            let answer = match (source, resolved) {
                (Some(source), Some(resolved)) => {
                    let asked = exchange(&*fetch, &source, &resolved, &cache_buster, &ask);
                    let limit = u32::try_from(timeout_ms.max(0)).unwrap_or(u32::MAX);
                    let late = || Answer::Broken("the service did not answer in time".into());
                    within(&me.platform, limit, asked).await.unwrap_or_else(late)
                }
                _ => Answer::Broken("the connection cannot be read".into()),
            };
            (me, answer)
        });
        *self.asking.borrow_mut() = Some(handle);
        self.platform.spawn(async move {
            if let Ok((me, answer)) = work.await {
                me.came(Event::Answered { epoch, answer });
            }
        });
    }

    async fn send(&self, id: String, session: &str, key: String, body: String) {
        let call = Call { body: body.into_bytes(), ..Call::new(Method::POST, format!("{SESSIONS}pg-sync-wake")) };
        let asked = async {
            let call = call.with_header("x-session-id", &url::encode(session))?.with_header("x-caller", "service")?;
            self.platform.sessions().ask(session, call, MAX_SESSION_ANSWER_BYTES).await
        };
        let outcome = match within(&self.platform, TAKING_MS, asked).await {
            Some(Ok((status, _))) if status.is_success() => Outcome::Taken,
            Some(Ok((StatusCode::NOT_FOUND | StatusCode::GONE, _))) => Outcome::Gone,
            Some(Ok((StatusCode::CONFLICT, body))) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                body.get("to_seq").and_then(Value::as_u64).map_or(Outcome::Failed, Outcome::Behind)
            }
            _ => Outcome::Failed,
        };
        self.came(Event::Sent { id, key, outcome });
    }

    /// Tells the index what the bridge does. What fails is told the next time that anything happens.
    pub(super) fn tell_state(&self, word: &'static str, source_ref: Option<String>) {
        self.spawn(move |me| async move {
            let (Some(db), Some(source)) = (me.platform.db(), me.source()) else { return };
            let now = me.platform.now_ms();
            let noted = pg_bridges::Noted {
                source_id: &source.id,
                user: &source.owner,
                connection: &source.connection,
                state: word,
                source_ref: source_ref.as_deref(),
            };
            if let Err(error) = pg_bridges::note(&*db, &noted, now).await {
                me.told.replace(Told::Nothing);
                me.warn("agents/bridge-not-told", &error.to_string());
            }
        });
    }

    pub(super) fn tell_removed(&self, source_id: String) {
        self.spawn(move |me| async move {
            let Some(db) = me.platform.db() else { return };
            // A bridge that was made anew meanwhile keeps its place.
            if me.source().is_some() {
                return;
            }
            if let Err(error) = pg_bridges::remove(&*db, &source_id).await {
                me.warn("agents/bridge-not-told", &error.to_string());
            }
        });
    }
}

/// Asks the service, and waits for the whole answer. Texts of errors hold no address, and so no secret.
pub(crate) async fn exchange(
    fetch: &impl Fetch,
    source: &Source,
    resolved: &Resolved,
    cache_buster: &str,
    ask: &Ask,
) -> Answer {
    let secret = resolved.secret.as_deref();
    let (options, owner) = (&source.options, source.owner.as_str());
    let request = ShapeRequest { base: &resolved.url, options, owner, secret, cache_buster, ask };
    let Some(address) = request.url() else { return Answer::Broken("the address of the request is too long".into()) };
    let mut call = Call { limit_ms: None, ..Call::new(Method::GET, address.as_str()) };
    if !matches!(ask, Ask::Live(..)) {
        call.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let reply = match fetch.fetch(call).await {
        Ok(reply) => reply,
        Err(CallError::NotReached(_)) => return Answer::Broken("the service cannot be reached".into()),
        Err(CallError::Broken(_)) => return Answer::Broken("the connection to the service broke".into()),
        Err(CallError::TimedOut) => return Answer::Broken("the service did not answer in time".into()),
    };
    let (status, headers) = (reply.status.as_u16(), reply.headers.clone());
    match reply.bytes(ask.max_body_bytes()).await {
        Ok(body) => Answer::of(status, |name| headers.get(name)?.to_str().ok(), body, secret),
        Err(ReplyError::TooLarge) => Answer::TooLarge,
        Err(ReplyError::Broken(_)) => Answer::Broken("the answer was cut off".into()),
    }
}
