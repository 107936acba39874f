//! The log: pages and streams (agents.md 2.6.9, 2.6.12, 3.11, 3.12).

use std::rc::{Rc, Weak};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response};
use web::{Failure, LiveBody, Source, url};

use super::Caller;
use crate::error::{CORS, Error};
use crate::event::{Event, Query};
use crate::object::viewers::Viewing;
use crate::object::{Platform, Session};
use crate::session::store::EventLog;

/// Events that are read from the log at a time, and their bytes.
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 128 << 10;

pub(super) async fn list<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    let parameter = |name: &str| url::query(request.uri(), name);
    let query =
        Query::read(parameter("since").as_deref(), parameter("cursor").as_deref(), parameter("limit").as_deref());
    let (after, is_truncated) = session.place_of(query.cursor, query.since)?;
    let source = Listed {
        session: Rc::downgrade(session),
        query,
        after,
        left: query.limit,
        is_truncated,
        stage: Stage::Begin,
        is_first: true,
    };
    Ok(web::json_stream(&CORS, Box::new(source)))
}

pub(super) async fn stream<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    let parameter = |name: &str| url::query(request.uri(), name);
    let header = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let cursor = header.and_then(number).or_else(|| parameter("cursor").as_deref().and_then(number));
    let since = Query::read(parameter("since").as_deref(), None, None).since;
    let (after, is_truncated) = session.place_of(cursor, since.filter(|_| cursor.is_none()))?;
    let named = parameter("heartbeat").as_deref() == Some("event");
    let user = caller.user_id.as_deref().unwrap_or_default();
    let viewing = Viewing::new(session, user, after, is_truncated, named).map_err(|_| Error::TooManyStreams)?;
    let mut response = Response::new(P::Response::live(Box::new(viewing)));
    describe(response.headers_mut());
    Ok(response)
}

fn describe(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    CORS.allow(headers);
}

/// The greatest number that databases take: what an object stores there is a double.
const MAX_CURSOR: u64 = (1 << 53) - 1;

/// A cursor as a caller names it. One that no event can have comes after all of them.
fn cursor_of(number: i64) -> u64 {
    u64::try_from(number.max(0)).unwrap_or_default().min(MAX_CURSOR)
}

impl<P: Platform> Session<P> {
    /// The cursor after which a caller wants to read, and whether something of it is gone.
    fn place_of(&self, cursor: Option<i64>, since: Option<i64>) -> Result<(u64, bool), Error> {
        let log = self.look(|core| core.log)?;
        let by_cursor = cursor.map(cursor_of);
        let by_time = since.map(|since| log.cursor_at(self.platform.sql(), since)).transpose()?;
        let after = by_cursor.unwrap_or_default().max(by_time.unwrap_or_default());
        let is_truncated = log.dropped().is_some_and(|dropped| dropped.cursor > after);
        Ok((after, is_truncated))
    }
}

/// How far a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Log,
    Live,
    Done,
}

/// A page of events, made while it is sent: it may be far larger than memory should hold.
struct Listed<P: Platform> {
    session: Weak<Session<P>>,
    query: Query,
    after: u64,
    left: usize,
    is_truncated: bool,
    stage: Stage,
    is_first: bool,
}

impl<P: Platform> Listed<P> {
    fn comma(&mut self, text: &mut String) {
        if !std::mem::take(&mut self.is_first) {
            text.push(',');
        }
    }

    fn log(&mut self, session: &Session<P>, text: &mut String) -> Result<(), Failure> {
        let rows = self.left.min(PAGE_ROWS);
        let page = EventLog::page(session.platform.sql(), self.after, rows, PAGE_BYTES);
        let page = page.map_err(|error| Failure(error.to_string()))?;
        if page.is_empty() {
            self.stage = Stage::Live;
        }
        for event in page {
            self.comma(text);
            text.push_str(&event.body);
            self.after = event.cursor;
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }

    /// Messages that are being written, after everything that is stored.
    fn live(&mut self, session: &Session<P>, text: &mut String) {
        let live: Vec<Event> = session.live_events();
        let since = self.query.since;
        // At most as many as there are speakers.
        for event in live.iter().filter(|event| since.is_none_or(|since| event.ts > since)).take(self.left) {
            self.comma(text);
            text.push_str(&serde_json::to_string(event).unwrap_or_default());
        }
        text.push_str(if self.is_truncated { r#"],"truncated":true}"# } else { "]}" });
        self.stage = Stage::Done;
    }
}

impl<P: Platform> Source for Listed<P> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut text = String::new();
        // Each round goes on a stage, or gives a piece.
        while text.is_empty() {
            let Some(session) = self.session.upgrade() else { return Err(Failure("the session is gone".to_owned())) };
            match self.stage {
                Stage::Begin => {
                    text.push_str(r#"{"events":["#);
                    self.stage = Stage::Log;
                }
                Stage::Log => self.log(&session, &mut text)?,
                Stage::Live => self.live(&session, &mut text),
                Stage::Done => return Ok(None),
            }
        }
        Ok(Some(text.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CURSOR, cursor_of};

    #[test]
    fn a_cursor_is_a_number_that_databases_take() {
        for (number, expected) in [(-1, 0), (0, 0), (7, 7), (i64::MAX, MAX_CURSOR), (1 << 53, MAX_CURSOR)] {
            assert_eq!(cursor_of(number), expected, "{number}");
        }
    }
}
