//! The log of a bridge as a durable stream: who may read it, and how it is waited for (pg-sync.md 4.14). What is answered is decided by
//! `durable_streams`.

use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use database::local::SqlError;
use durable_streams::{Asked, Clock, Following, Step, Told, Waiting, head, missing, read};
use futures_channel::oneshot;
use http::header::IF_NONE_MATCH;
use http::{Request, Response, StatusCode};
use pg_sync::body::BlockedReason;
use pg_sync::bridge::Event;
use pg_sync::events::{Events, extent};
use pg_sync::identity::owner_hash;
use pg_sync::reference::stream_path;
use pg_sync::store::Store;
use pg_sync::wake::Wake;
use serde_json::json;
use web::{Failure, LiveBody as _, LiveSource, RequestBody as _, url};

use super::object::Bridge;
use super::routes::{body, header, join, named};
use super::{Platform, REF_HEADER, Register};
use crate::error::Error;
use crate::pg_sync::{PgSyncError, dressed, refused, told, whole};
use crate::runtime::exchange::within;

/// The subscription of those who wait until a source can be read.
pub(super) const REGISTERING: &str = "registering";
/// One that a death has left behind ends after so long, in seconds.
const REGISTERING_S: i64 = 60;
/// How long a long poll waits, in milliseconds.
const LONG_POLL_MS: u32 = 20_000;
/// How long events last, in milliseconds.
const EVENTS_MS: i64 = 60_000;
/// The pause after which something is said to whoever listens, in milliseconds.
const KEEP_ALIVE_MS: u32 = 15_000;
/// Most who read at the same time and wait for more.
const MAX_STREAMS: usize = 100;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// To be read from now on.
    Register,
    /// Where the log ends.
    Head,
    /// Messages.
    Read,
}

impl Verb {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/__bridge__/")? {
            "register" => Some(Self::Register),
            "stream-head" => Some(Self::Head),
            "stream" => Some(Self::Read),
            _ => None,
        }
    }
}

/// Answers, with the headers that every answer on these routes has: it is passed on as it is.
pub(super) async fn handle<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    verb: Verb,
    request: &mut Request<P::Request>,
) -> Response<P::Response> {
    let answered = match verb {
        Verb::Register => register(bridge, request).await,
        Verb::Head | Verb::Read => stream(bridge, verb, request).await,
    };
    match answered {
        Ok(response) => dressed(response),
        Err(error) => {
            request.body_mut().cancel().await;
            let platform = &bridge.platform;
            refused(&error, platform.random_uuid(), |event| platform.report(event))
        }
    }
}

async fn register<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let (named, _) = named(bridge, request)?;
    let Register { source, source_ref } = body(request).await?;
    if source.id != named {
        return Err(Error::NotFound);
    }
    let path = stream_path(Some(&owner_hash(&source.owner)), &source_ref);
    bridge.create(source)?;
    let wake = Wake { expires_in_s: Some(REGISTERING_S), ..Wake::default() };
    join(bridge, REGISTERING.to_owned(), String::new(), wake).await?;
    bridge.happens(Event::Read { source_ref: source_ref.clone() })?;
    bridge.happens(Event::Unsubscribe { id: REGISTERING.to_owned() })?;
    Ok(told(StatusCode::OK, &json!({"sourceRef": source_ref, "streamUrl": path})))
}

async fn stream<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    verb: Verb,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let source_ref = header(request, REF_HEADER).unwrap_or_default();
    let (_, is_there) = named(bridge, request)?;
    if !is_there || !bridge.is_read_by(header(request, "x-user-id"), source_ref) {
        return Err(Error::NotFound);
    }
    // Written once an hour at most.
    bridge.happens(Event::Read { source_ref: source_ref.to_owned() })?;
    let has = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let asked = match Asked::read(request.uri().query().unwrap_or_default(), has) {
        _ if verb == Verb::Head => return Ok(whole(bridge.events().map_or_else(missing, |events| head(&events)))),
        Ok(asked) => asked,
        Err(malformed) => return Ok(whole(malformed.answer())),
    };
    let Some(events) = bridge.events() else { return Err(Error::NotFound) };
    match read(&events, &asked, bridge.clock())? {
        Step::Answer(answer) => Ok(whole(answer)),
        Step::Wait(waiting) => {
            let _place = Place::take(bridge)?;
            Ok(whole(bridge.wait(waiting).await?))
        }
        Step::Follow(head, following) => {
            let rest = Box::pin(bridge.platform.sleep_ms(KEEP_ALIVE_MS));
            let ends_at = bridge.platform.now_ms().saturating_add(EVENTS_MS);
            let events = Followed { place: Place::take(bridge)?, following, grown: None, rest, ends_at };
            Ok(head.map(|()| P::Response::live(Box::new(events))))
        }
    }
}

impl<P: Platform> Bridge<P> {
    /// Whether a user reads the log under this name, or may begin to: the index has it from a session that observes the source. Whoever may not use
    /// the connection any more reads no more.
    fn is_read_by(&self, user: Option<&str>, source_ref: &str) -> bool {
        let user = user.and_then(url::decode).filter(|user| !user.is_empty());
        let is_read = self.look(|bridge| {
            let stored = bridge.stored();
            let is_closed = stored.block.as_ref().is_some_and(|block| {
                matches!(
                    block.reason,
                    BlockedReason::ConnectionMissing | BlockedReason::UrlNotAllowed | BlockedReason::TableNotAllowed
                )
            });
            let is_read = stored.reader.as_ref().is_some_and(|reader| reader.source_ref == source_ref);
            let is_observed = bridge.observers().values().any(pg_sync::bridge::Observer::is_active);
            let is_owner = user.as_deref() == Some(stored.source.owner.as_str());
            is_owner && (is_read || is_observed) && !source_ref.is_empty() && !is_closed
        });
        is_read.unwrap_or(false)
    }

    fn events(&self) -> Option<Events<'_, Store<Rc<P::Sql>>>> {
        let extent = self.look(|bridge| extent(bridge.stored()))?;
        Some(Events { extent, log: &self.store })
    }

    fn clock(&self) -> Clock {
        let (dice, _) = self.platform.random_uuid().as_u64_pair();
        let now_ms = self.platform.now_ms().unsigned_abs();
        Clock { now_ms, dice: u32::try_from(dice >> 32).unwrap_or_default() }
    }

    /// Hears when the log has grown, or is gone.
    fn grown(&self) -> oneshot::Receiver<()> {
        let (told, grown) = oneshot::channel();
        self.readers.borrow_mut().push(told);
        grown
    }

    async fn wait(&self, waiting: Waiting) -> Result<Response<Vec<u8>>, SqlError> {
        let end = self.platform.now_ms().saturating_add(LONG_POLL_MS.into());
        // Each round ends with a change or with the time.
        loop {
            let Some(events) = self.events() else { return Ok(missing()) };
            if let Some(answer) = waiting.poll(&events)? {
                return Ok(answer);
            }
            let left = u32::try_from(end.saturating_sub(self.platform.now_ms()).max(0)).unwrap_or(0);
            if left == 0 {
                return Ok(waiting.timed_out(&events));
            }
            let grown = self.grown();
            // Either there is something new, or the time is over.
            let _ = within(&self.platform, left, grown).await;
            self.readers.borrow_mut().retain(|reader| !reader.is_canceled());
        }
    }
}

/// The place of one who reads and waits.
struct Place<P: Platform>(Weak<Bridge<P>>);

impl<P: Platform> Place<P> {
    fn take(bridge: &Rc<Bridge<P>>) -> Result<Self, Error> {
        if bridge.streams.get() >= MAX_STREAMS {
            return Err(PgSyncError::BridgeUnavailable.into());
        }
        bridge.streams.set(bridge.streams.get() + 1);
        Ok(Self(Rc::downgrade(bridge)))
    }
}

impl<P: Platform> Drop for Place<P> {
    fn drop(&mut self) {
        if let Some(bridge) = self.0.upgrade() {
            bridge.streams.set(bridge.streams.get().saturating_sub(1));
            bridge.readers.borrow_mut().retain(|reader| !reader.is_canceled());
        }
    }
}

/// Server-sent events under way.
struct Followed<P: Platform> {
    place: Place<P>,
    following: Following,
    grown: Option<oneshot::Receiver<()>>,
    rest: Pin<Box<dyn Future<Output = ()>>>,
    ends_at: i64,
}

impl<P: Platform> Followed<P> {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, SqlError>> {
        // Each round is a change of the log.
        loop {
            let Some(bridge) = self.place.0.upgrade() else { return Poll::Ready(Ok(None)) };
            let left = self.ends_at.saturating_sub(bridge.platform.now_ms());
            let Some(events) = bridge.events().filter(|_| left > 0) else { return Poll::Ready(Ok(None)) };
            match self.following.next(&events, bridge.clock())? {
                Told::Events(told) => return Poll::Ready(Ok(Some(told))),
                Told::Ended => return Poll::Ready(Ok(None)),
                Told::Nothing => {}
            }
            let grown = self.grown.get_or_insert_with(|| bridge.grown());
            if Pin::new(grown).poll(context).is_ready() {
                self.grown = None;
                continue;
            }
            if self.rest.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let pause = u32::try_from(left).unwrap_or(KEEP_ALIVE_MS).min(KEEP_ALIVE_MS);
            self.rest = Box::pin(bridge.platform.sleep_ms(pause));
            return Poll::Ready(Ok(Some(self.following.keep_alive(&events, bridge.clock()))));
        }
    }
}

impl<P: Platform> LiveSource for Followed<P> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        self.next(context).map(|next| next.map_err(|error| Failure(error.to_string())))
    }
}
