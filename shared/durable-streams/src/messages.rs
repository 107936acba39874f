//! What is read: a log of messages that somebody keeps.

use std::borrow::Cow;

use crate::{From, Offset};

/// Most messages in one answer or event.
pub const MAX_MESSAGES: usize = 500;
/// The most that the messages of one answer or event take, in bytes, unless one alone takes more.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// What is there of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which of the logs of this name it is.
    pub incarnation: u64,
    /// The oldest message that is kept; one more than `last_seq` when none is.
    pub first_seq: u64,
    /// The newest message; 0 when there was none.
    pub last_seq: u64,
}

/// Messages that follow each other, as bytes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The body.
    pub body: Vec<u8>,
    /// The number of the last message in it; what it was read after when there is none.
    pub last_seq: u64,
}

/// A log that can be read.
pub trait Messages {
    /// Why not.
    type Error;

    /// What is there.
    fn extent(&self) -> Extent;

    /// The `content-type` of bodies.
    fn content_type(&self) -> &str;

    /// Messages whose number is above `after`, oldest first: all there are, or as many as [`MAX_MESSAGES`] and [`MAX_BYTES`] allow, but at least
    /// one. `after` lies within the extent. Without messages it is the body that says so.
    fn page(&self, after: u64) -> Result<Page, Self::Error>;

    /// A body as the text of an event.
    fn event_data<'b>(&self, body: &'b [u8]) -> Cow<'b, str> {
        String::from_utf8_lossy(body)
    }
}

/// Why nothing can be read from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// What followed it is not kept any more (410).
    Gone,
    /// It was never given out (400).
    Beyond,
}

impl Extent {
    /// The place behind the newest message.
    pub const fn tail(&self) -> Offset {
        Offset { incarnation: self.incarnation, seq: self.last_seq }
    }

    /// The number behind which reading begins.
    pub(crate) fn place(&self, from: From) -> Result<u64, Misplaced> {
        let before_first = self.first_seq.saturating_sub(1);
        let offset = match from {
            From::Start => return Ok(before_first),
            From::Now => return Ok(self.last_seq),
            From::After(offset) => offset,
        };
        if offset.incarnation > self.incarnation
            || (offset.incarnation == self.incarnation && offset.seq > self.last_seq)
        {
            return Err(Misplaced::Beyond);
        }
        if offset.incarnation < self.incarnation || offset.seq < before_first {
            return Err(Misplaced::Gone);
        }
        Ok(offset.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_before_and_beyond_a_log() {
        let extent = Extent { incarnation: 5, first_seq: 4, last_seq: 9 };
        let after = |incarnation, seq| extent.place(From::After(Offset { incarnation, seq }));
        assert_eq!((extent.place(From::Start), extent.place(From::Now)), (Ok(3), Ok(9)));
        assert_eq!((after(5, 3), after(5, 9)), (Ok(3), Ok(9)));
        assert_eq!(
            (after(5, 2), after(4, 9), after(4, 99)),
            (Err(Misplaced::Gone), Err(Misplaced::Gone), Err(Misplaced::Gone))
        );
        assert_eq!((after(5, 10), after(6, 0)), (Err(Misplaced::Beyond), Err(Misplaced::Beyond)));
    }
}
