//! Bytes in, events out, as the HTML standard reads an event stream. Wherever the network cuts the stream, the events are
//! the same.

use std::mem;

/// The most bytes of one frame of an agent's stream (agents.md 2.8).
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A longer `id` is ignored: ids are stored, and sent back in a header.
pub const MAX_ID_BYTES: usize = 1024;

/// A buffer that grew beyond this for one long line is given back after it.
const KEPT_BYTES: usize = 64 * 1024;

/// The byte order mark, which may stand before the first line.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What is kept of a line that does not fit: enough to see whether it is a comment, also behind a byte order mark.
const KEPT_OF_LONG_LINE: usize = BOM.len() + 1;

/// A frame with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `id` that stands in this frame.
    pub id: Option<String>,
    /// The type: absent when no `event` stands in the frame, or an empty one. The standard calls it `message` then.
    pub event: Option<String>,
    /// The lines of data, joined by line feeds. Never blank. What is not UTF-8 is replaced by U+FFFD.
    pub data: String,
}

/// Why a frame was dropped. The frames after it are read as usual.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The frame has more bytes than allowed, without line ends and comments.
    #[error("a frame of the event stream is larger than {limit} bytes")]
    FrameTooLarge {
        /// What was allowed.
        limit: usize,
        /// The frame's `id`. It counts as received: otherwise the frame would come again after every reconnect.
        id: Option<String>,
    },
}

/// An incremental parser for one connection. It holds at most one frame, not larger than the limit.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    first_line: bool,
    after_return: bool,
    /// What has come of a line that has not ended.
    line: Vec<u8>,
    /// That line does not fit; its rest is ignored.
    line_too_long: bool,
    frame: Pending,
    last_event_id: Option<String>,
    retry_ms: Option<u64>,
}

/// What has come of a frame.
#[derive(Debug, Default)]
struct Pending {
    /// Bytes of the lines so far, without line ends and comments.
    size: usize,
    too_large: bool,
    id: Option<String>,
    event: Option<String>,
    data: Option<Vec<u8>>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(MAX_FRAME_BYTES)
    }
}

impl Parser {
    /// A parser for a new connection. A frame may have at most `limit` bytes (four at least).
    pub fn new(limit: usize) -> Self {
        Self {
            // Of a first line that does not fit, so much must be there to see whether it is a comment.
            limit: limit.max(KEPT_OF_LONG_LINE),
            first_line: true,
            after_return: false,
            line: Vec::new(),
            line_too_long: false,
            frame: Pending::default(),
            last_event_id: None,
            retry_ms: None,
        }
    }

    /// Takes bytes off the front of `input` up to the end of the next event. `None` when all of them are taken: more must
    /// come. Call it again with the same `input` until then.
    ///
    /// Comments, and frames without data or with blank data, give nothing (agents.md 3.10). A frame that has not ended
    /// when the stream ends is lost, as the standard wants it: the server sends it again after a reconnect.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<Result<Event, Error>> {
        // Every round takes at least one byte off the input.
        while !input.is_empty() {
            if mem::take(&mut self.after_return)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                *input = rest;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
            let (part, rest) = input.split_at(end);
            let Some((&line_end, rest)) = rest.split_first() else {
                self.hold(part);
                *input = &[];
                break;
            };
            *input = rest;
            self.after_return = line_end == b'\r';
            if let Some(item) = self.end_line(part) {
                return Some(item);
            }
        }
        None
    }

    /// The last `id` of a whole frame, with data or without: what a reconnect sends as `Last-Event-ID`. An empty one means
    /// that none is to be sent.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long the server wants its clients to wait before a reconnect, in milliseconds.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Keeps a part of a line whose end has not come, and never more than the limit together with the frame's data.
    fn hold(&mut self, part: &[u8]) {
        if self.line_too_long || self.line.starts_with(b":") {
            return;
        }
        let size = self.line.len().saturating_add(part.len());
        if self.line.is_empty() && part.starts_with(b":") {
            self.line.push(b':');
        } else if size > self.limit {
            self.line_too_long = true;
            self.line = self.line.iter().chain(part).take(KEPT_OF_LONG_LINE).copied().collect();
        } else {
            self.make_room(size);
            self.line.extend_from_slice(part);
        }
    }

    /// Drops the content of the frame when a line of this size is too much for it. The line itself may hold the id.
    fn make_room(&mut self, line: usize) {
        if line > self.limit.saturating_sub(self.frame.size) {
            self.frame.drop_content();
        }
    }

    /// The line ends with this part.
    fn end_line(&mut self, part: &[u8]) -> Option<Result<Event, Error>> {
        if self.line.is_empty() && part.len() <= self.limit {
            return self.take_line(part, false);
        }
        self.hold(part);
        let mut line = mem::take(&mut self.line);
        let too_long = mem::take(&mut self.line_too_long);
        let item = self.take_line(&line, too_long);
        if line.capacity() <= KEPT_BYTES {
            line.clear();
            self.line = line;
        }
        item
    }

    fn take_line(&mut self, line: &[u8], too_long: bool) -> Option<Result<Event, Error>> {
        let line = if mem::take(&mut self.first_line) { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.starts_with(b":") {
            return None;
        }
        if too_long {
            self.frame.drop_content();
            return None;
        }
        if line.is_empty() {
            return self.end_frame();
        }
        self.make_room(line.len());
        self.field(line);
        None
    }

    fn field(&mut self, line: &[u8]) {
        let frame = &mut self.frame;
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"id" if value.len() <= MAX_ID_BYTES && !value.contains(&0) => frame.id = Some(text(value.to_vec())),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = text(value.to_vec()).parse().ok().or(self.retry_ms);
            }
            b"event" => frame.event = Some(text(value.to_vec())).filter(|name| !name.is_empty()),
            b"data" => match &mut frame.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => frame.data = Some(value.to_vec()),
            },
            _ => {}
        }
        frame.size += line.len();
    }

    fn end_frame(&mut self) -> Option<Result<Event, Error>> {
        let Pending { too_large, id, event, data, .. } = mem::take(&mut self.frame);
        if id.is_some() {
            self.last_event_id.clone_from(&id);
        }
        if too_large {
            return Some(Err(Error::FrameTooLarge { limit: self.limit, id }));
        }
        let data = data.filter(|data| !data.trim_ascii().is_empty())?;
        Some(Ok(Event { id, event, data: text(data) }))
    }
}

impl Pending {
    /// The frame is too large: nothing of it counts but its id. What still comes of it is dropped in turn.
    fn drop_content(&mut self) {
        *self = Self { too_large: true, id: self.id.take(), ..Self::default() };
    }
}

/// UTF-8, without a copy where it is valid.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
