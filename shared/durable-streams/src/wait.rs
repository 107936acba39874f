//! Reading, at once or later.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::answer::{PRIVATE_EVENTS, Placed, answer, dress, etag, tagged};
use crate::{Asked, Clock, Cursor, From, Messages, Mode, Offset};

/// What follows from a request.
#[derive(Debug)]
pub enum Step {
    /// This is the answer.
    Answer(Response<Vec<u8>>),
    /// There is nothing yet: the caller waits, 20 s (pg-sync.md 4.14).
    Wait(Waiting),
    /// The head of an answer whose events follow, for about 60 s.
    Follow(Response<()>, Following),
}

/// A long poll that waits for the log to grow.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    after: Offset,
    cursor: Cursor,
}

/// Server-sent events under way.
#[derive(Clone, Copy, Debug)]
pub struct Following {
    after: Offset,
    cursor: Cursor,
    has_spoken: bool,
}

/// What comes next of server-sent events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// These bytes; more may be there at once.
    Events(Vec<u8>),
    /// Nothing until the log grows.
    Nothing,
    /// They end: what would follow is not there any more. A client that comes again hears so.
    Ended,
}

/// The answer to `HEAD`.
pub fn head(messages: &impl Messages) -> Response<Vec<u8>> {
    let placed = Placed { next: messages.extent().tail(), is_up_to_date: false, cursor: None };
    placed.answer(StatusCode::OK, messages, Vec::new())
}

/// Answers a request to read, or says how to wait.
pub fn read<M: Messages>(messages: &M, asked: &Asked, clock: Clock) -> Result<Step, M::Error> {
    let extent = messages.extent();
    let seq = match extent.place(asked.from) {
        Ok(seq) => seq,
        Err(misplaced) => return Ok(Step::Answer(misplaced.answer(extent))),
    };
    let after = Offset { incarnation: extent.incarnation, seq };
    let cursor = Cursor::next(asked.cursor, clock);
    match asked.mode {
        Mode::CatchUp => catch_up(messages, asked, after).map(Step::Answer),
        Mode::LongPoll => {
            let waiting = Waiting { after, cursor };
            Ok(waiting.poll(messages)?.map_or(Step::Wait(waiting), Step::Answer))
        }
        Mode::Events => {
            let mut head = Response::new(());
            let headers = head.headers_mut();
            dress(headers);
            headers.insert(CACHE_CONTROL, PRIVATE_EVENTS);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            Placed { next: after, is_up_to_date: false, cursor: Some(cursor) }.write(headers);
            Ok(Step::Follow(head, Following { after, cursor, has_spoken: false }))
        }
    }
}

fn catch_up<M: Messages>(messages: &M, asked: &Asked, after: Offset) -> Result<Response<Vec<u8>>, M::Error> {
    let page = messages.page(after.seq)?;
    let placed = placed(messages, after, page.last_seq, None);
    let etag = etag(after, &placed);
    if asked.from == From::Now {
        return Ok(placed.answer(StatusCode::OK, messages, page.body));
    }
    if asked.has(&etag) {
        return Ok(tagged(answer(StatusCode::NOT_MODIFIED, Vec::new()), &etag));
    }
    Ok(tagged(placed.answer(StatusCode::OK, messages, page.body), &etag))
}

fn placed(messages: &impl Messages, after: Offset, last_seq: u64, cursor: Option<Cursor>) -> Placed {
    let is_up_to_date = last_seq == messages.extent().last_seq;
    Placed { next: Offset { seq: last_seq, ..after }, is_up_to_date, cursor }
}

impl Waiting {
    /// The answer, once there is one. To be asked again whenever the log has grown.
    pub fn poll<M: Messages>(&self, messages: &M) -> Result<Option<Response<Vec<u8>>>, M::Error> {
        let extent = messages.extent();
        let seq = match extent.place(From::After(self.after)) {
            Ok(seq) => seq,
            Err(misplaced) => return Ok(Some(misplaced.answer(extent))),
        };
        if seq == extent.last_seq {
            return Ok(None);
        }
        let page = messages.page(seq)?;
        let placed = placed(messages, self.after, page.last_seq, Some(self.cursor));
        Ok(Some(placed.answer(StatusCode::OK, messages, page.body)))
    }

    /// The answer when nothing has come in time.
    pub fn timed_out(&self, messages: &impl Messages) -> Response<Vec<u8>> {
        let placed = placed(messages, self.after, self.after.seq, Some(self.cursor));
        placed.answer(StatusCode::NO_CONTENT, messages, Vec::new())
    }
}

impl Following {
    /// What comes next. To be asked until there is nothing, then again whenever the log has grown. The first time it always says something.
    pub fn next<M: Messages>(&mut self, messages: &M, clock: Clock) -> Result<Told, M::Error> {
        let extent = messages.extent();
        let Ok(seq) = extent.place(From::After(self.after)) else { return Ok(Told::Ended) };
        if seq == extent.last_seq {
            return Ok(if self.has_spoken { Told::Nothing } else { Told::Events(self.keep_alive(messages, clock)) });
        }
        let page = messages.page(seq)?;
        self.after.seq = page.last_seq;
        let mut events = String::from("event: data\n");
        write_data(&messages.event_data(&page.body), &mut events);
        events.push('\n');
        self.control(messages, clock, &mut events);
        Ok(Told::Events(events.into_bytes()))
    }

    /// What is said when there is nothing to say, so that whoever listens knows that it is still listened to.
    pub fn keep_alive(&mut self, messages: &impl Messages, clock: Clock) -> Vec<u8> {
        let mut events = String::new();
        self.control(messages, clock, &mut events);
        events.into_bytes()
    }

    /// Every piece of data is followed by one of these (pg-sync.md 2.9).
    fn control(&mut self, messages: &impl Messages, clock: Clock, out: &mut String) {
        self.has_spoken = true;
        self.cursor = self.cursor.later(clock);
        let (after, cursor) = (self.after, self.cursor);
        let up_to_date = if placed(messages, after, after.seq, None).is_up_to_date { ",\"upToDate\":true" } else { "" };
        // Writing into a string does not fail.
        let _ = write!(
            out,
            "event: control\ndata:{{\"streamNextOffset\":\"{after}\",\"streamCursor\":\"{cursor}\"{up_to_date}}}\n\n"
        );
    }
}

/// A line of the event for each line of the text. All that a reader takes for the end of a line ends one, so no text can begin
/// an event of its own.
fn write_data(text: &str, out: &mut String) {
    let text =
        if text.contains('\r') { Cow::from(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text.into() };
    for line in text.split('\n') {
        out.push_str("data:");
        // One blank behind the colon is not part of what is said.
        if line.starts_with(' ') {
            out.push(' ');
        }
        out.push_str(line);
        out.push('\n');
    }
}
