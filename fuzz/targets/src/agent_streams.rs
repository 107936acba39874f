//! Streams that agents and sandboxes send. A byte: its high bit is 0 for server-sent events, 1 for Connect envelopes; the
//! others are the size of the pieces in which the stream arrives. A byte: the limit of a frame or an envelope, in units of
//! four bytes. Then the stream.

use serde_json::Value as Json;
use sessions::{connect, sse};

use crate::Trace;

/// Pieces of streams.
pub(crate) const DICTIONARY: &[&str] = &[
    "data: ",
    "data:",
    "data",
    "id: 7",
    "id",
    "event: message",
    "event:",
    "retry: 50",
    ": ping",
    ":",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "\u{feff}",
    "😀",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
    "\0\0\0\0\u{2}{}",
    "\u{1}\0\0\0\u{2}{}",
    "\u{2}\0\0\0\u{2}{}",
    "\u{2}\0\0\0\u{1d}{\"error\":{\"code\":\"internal\"}}",
    "\0\0\0\0\u{1e}{\"event\":{\"start\":{\"pid\":17}}}",
    "\0\0\0\0\0",
    "\0\u{7f}\0\0\0",
];

/// The pieces in which a stream arrives make no difference, nothing is larger than the limit, and what was read is read
/// again after it was written.
pub fn agent_streams(data: &[u8]) -> Trace {
    let [first, limit, stream @ ..] = data else { return Trace::default() };
    let size = usize::from(first & 0x7f).max(1);
    let limit = usize::from(*limit) * 4;
    if first & 0x80 == 0 { events(stream, size, limit) } else { envelopes(stream, size, limit) }
}

fn events(stream: &[u8], size: usize, limit: usize) -> Trace {
    let whole = read_events(stream, stream.len(), limit);
    assert_eq!(whole, read_events(stream, size, limit), "in pieces of {size}");
    let (items, _) = whole;
    let mut trace = Trace::default().amount(items.len());
    let (mut written, mut expected) = (String::new(), Vec::new());
    for item in items {
        let Ok(event) = item else {
            trace = trace.step(1);
            continue;
        };
        // A byte that is not UTF-8 becomes three.
        assert!(event.data.len() <= 3 * limit.max(4), "larger than the limit");
        trace = trace.step(2 + u64::from(event.id.is_some()) + 2 * u64::from(event.event.is_some()));
        let id = event.id.and_then(|id| id.parse().ok());
        sse::write_comment(&mut written, &event.data);
        sse::Frame { id, event: None, data: &event.data }.write(&mut written);
        expected.push(Ok(sse::Event { id: id.map(|id: u64| id.to_string()), event: None, data: event.data }));
    }
    assert_eq!(read_events(written.as_bytes(), size, usize::MAX).0, expected, "written again");
    trace
}

type Events = Vec<Result<sse::Event, sse::Error>>;

/// Reads a stream in pieces: what it holds, and the last id.
fn read_events(stream: &[u8], size: usize, limit: usize) -> (Events, Option<String>) {
    let mut parser = sse::Parser::new(limit);
    let mut items = Vec::new();
    for mut piece in stream.chunks(size.max(1)) {
        while let Some(item) = parser.read(&mut piece) {
            items.push(item);
        }
        assert!(piece.is_empty(), "all of a piece is taken");
    }
    (items, parser.last_event_id().map(str::to_owned))
}

fn envelopes(stream: &[u8], size: usize, limit: usize) -> Trace {
    let whole = read_envelopes(stream, stream.len(), limit);
    assert_eq!(whole, read_envelopes(stream, size, limit), "in pieces of {size}");
    let (parts, end) = whole;
    let mut trace = Trace::default().amount(parts.len()).step(u64::from(end.is_ok()));
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    for part in parts {
        trace = trace.step(match &part {
            Ok(connect::Part::Message(_)) => 1,
            Ok(connect::Part::End(Ok(()))) => 2,
            Ok(connect::Part::End(Err(failure))) => 3 + failure.code as u64,
            Err(connect::Error::Compressed) => 20,
            Err(connect::Error::Flags(_)) => 21,
            Err(connect::Error::TooLarge { .. }) => 22,
            Err(connect::Error::Payload) => 23,
            Err(connect::Error::AfterEnd) => 24,
            Err(connect::Error::MissingEnd) => panic!("told by a parser that may get more"),
        });
        let done = match &part {
            Ok(connect::Part::Message(message)) => connect::write_message(&mut written, message),
            Ok(connect::Part::End(outcome)) => connect::write_end(&mut written, outcome.as_ref().map(|&()| ())),
            Err(_) => break,
        };
        assert_eq!(done, Ok(()), "what was read can be written");
        expected.push(part);
    }
    assert_eq!(read_envelopes(&written, size, usize::MAX).0, expected, "written again");
    trace
}

type Parts = Vec<Result<connect::Part<Json>, connect::Error>>;

/// Reads a stream in pieces: what it holds, and whether it may stop there.
fn read_envelopes(stream: &[u8], size: usize, limit: usize) -> (Parts, Result<(), connect::Error>) {
    let mut parser = connect::Parser::new(limit);
    let mut parts = Vec::new();
    for mut piece in stream.chunks(size.max(1)) {
        while let Some(part) = parser.read(&mut piece) {
            parts.push(part);
        }
        assert!(piece.is_empty(), "all of a piece is taken");
    }
    (parts, parser.finish())
}
