//! Frames as they arrive, and what they say.

use protocol::client::RAW_PING;
use protocol::server::MessageError;
use protocol::{ClientMessage, InvalidRequest, limits};

/// One WebSocket frame from a client.
#[derive(Copy, Clone, Debug)]
pub enum Frame<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes: never valid (sync.md 7.2).
    Binary(&'a [u8]),
}

/// A [`Frame`] that can be given away.
#[derive(Clone, Debug)]
pub enum OwnedFrame {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl OwnedFrame {
    /// The frame.
    pub fn as_frame(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }

    /// What the frame says. The frame itself goes: of a long one there is no room for both, and nothing reads it again.
    pub fn into_message(self) -> Message<'static> {
        Message::parse(self.as_frame()).into_owned()
    }
}

/// How a socket is to be closed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Close code.
    pub code: u16,
    /// Reason text.
    pub reason: &'static str,
}

impl Close {
    /// The message passes [`limits::MESSAGE_BYTES`].
    pub const TOO_LARGE: Self = Self { code: 1009, reason: "message too large" };
    /// What was asked for passes what one message may hold.
    pub const PULL_TOO_LONG: Self = Self { code: 1009, reason: "pull too long: download the snapshot" };
    /// The user lost access to the graph (D-18).
    pub const ACCESS_REVOKED: Self = Self { code: 1008, reason: "access revoked" };
    /// The user of the socket cannot be read any more: the client opens another one.
    pub const UNKNOWN_SOCKET: Self = Self { code: 1011, reason: "unknown socket" };
    /// An upload replaces the graph (D-50).
    pub const SNAPSHOT_REPLACED: Self = Self { code: 1012, reason: "snapshot replaced" };
    /// The object does not know the id of its graph any more (D-57): the client opens another socket.
    pub const RECONNECT_REQUIRED: Self = Self { code: 1012, reason: "reconnect required" };
    /// More was sent than may wait for an answer of the index.
    pub const OVERLOADED: Self = Self { code: 1013, reason: "too many messages at once" };
    /// The client asks for more pulls than it can have read ([`limits::PULLS_AT_ONCE`]).
    pub const PULLS_TOO_FAST: Self =
        Self { code: 1013, reason: "too many pulls: read what was sent, or download the snapshot" };
    /// The graph was removed (sync.md 5.5).
    pub const GRAPH_DELETED: Self = Self { code: 1000, reason: "graph deleted" };
}

/// What a frame says.
#[derive(Debug)]
pub enum Message<'a> {
    /// The raw text `ping`, where the platform does not answer it by itself (sync.md 7.1).
    RawPing,
    /// A message.
    Client(ClientMessage<'a>),
    /// No message.
    Invalid(InvalidRequest),
    /// Too long to be looked at.
    TooLarge,
}

impl<'a> Message<'a> {
    /// Reads a frame.
    pub fn parse(frame: Frame<'a>) -> Self {
        match frame {
            Frame::Text(text) if text.len() > limits::MESSAGE_BYTES => Self::TooLarge,
            Frame::Binary(bytes) if bytes.len() > limits::MESSAGE_BYTES => Self::TooLarge,
            Frame::Text(RAW_PING) => Self::RawPing,
            Frame::Text(text) => ClientMessage::parse(text).map_or_else(Self::Invalid, Self::Client),
            Frame::Binary(_) => Self::Invalid(InvalidRequest::Malformed),
        }
    }

    /// The message without its frame, which can go before the message is handled: of a long one neither is small.
    pub fn into_owned(self) -> Message<'static> {
        match self {
            Self::RawPing => Message::RawPing,
            Self::Client(message) => Message::Client(message.into_owned()),
            Self::Invalid(invalid) => Message::Invalid(invalid),
            Self::TooLarge => Message::TooLarge,
        }
    }

    /// Whether it changes the graph or tells what is in it: then the sender's membership is checked again first (D-18).
    pub const fn needs_membership(&self) -> bool {
        match self {
            Self::Client(
                ClientMessage::TxBatch(_)
                | ClientMessage::Pull { .. }
                | ClientMessage::EntityPull { .. }
                | ClientMessage::Hello { .. },
            ) => true,
            Self::Client(ClientMessage::Ping | ClientMessage::Presence { .. })
            | Self::RawPing
            | Self::Invalid(_)
            | Self::TooLarge => false,
        }
    }

    /// The reply to what cannot be handled.
    pub fn error(error: impl Into<MessageError>) -> String {
        protocol::ServerMessage::Error(error.into()).to_json()
    }
}
