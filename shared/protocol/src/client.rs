//! What clients say over a WebSocket (sync.md 7.2).

use crate::errors::InvalidRequest;
use crate::json::{self, Fields, Json, Mismatch};
use crate::limits;
use crate::tx::{BatchFields, TxBatch, owned};
use serde::de::MapAccess;
use std::borrow::Cow;

/// The raw text frame that is answered with [`RAW_PONG`] without waking the graph (sync.md 7.1).
pub const RAW_PING: &str = "ping";
/// The answer to [`RAW_PING`].
pub const RAW_PONG: &str = "pong";

/// One message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// Asks for the counter and the checksum.
    Hello {
        /// The client's name for the graph.
        client: Cow<'a, str>,
    },
    /// Asks for a `pong`.
    Ping,
    /// The block the user works on.
    Presence {
        /// Any text; blank or absent: none. At most [`limits::EDITING_BLOCK_BYTES`].
        editing_block_uuid: Option<Cow<'a, str>>,
    },
    /// Asks for the transactions after `since`.
    Pull {
        /// 0 or more, at most 2^53.
        since: i64,
    },
    /// Asks for the entities that the transactions after `since` touched, as they are now (sync.md 7.6).
    EntityPull {
        /// 0 or more, at most 2^53.
        since: i64,
    },
    /// Transactions to apply.
    TxBatch(TxBatch<'a>),
}

impl ClientMessage<'_> {
    /// The message without the text that it was read from.
    pub fn into_owned(self) -> ClientMessage<'static> {
        match self {
            Self::Hello { client } => ClientMessage::Hello { client: owned(client) },
            Self::Ping => ClientMessage::Ping,
            Self::Presence { editing_block_uuid } => {
                ClientMessage::Presence { editing_block_uuid: editing_block_uuid.map(owned) }
            }
            Self::Pull { since } => ClientMessage::Pull { since },
            Self::EntityPull { since } => ClientMessage::EntityPull { since },
            Self::TxBatch(batch) => ClientMessage::TxBatch(batch.into_owned()),
        }
    }
}

impl<'a> ClientMessage<'a> {
    /// Reads one text frame.
    pub fn parse(text: &'a str) -> Result<Self, InvalidRequest> {
        let fields = json::parse::<MessageFields<'a>>(text)
            .and_then(|value| value.object().ok())
            .ok_or(InvalidRequest::Malformed)?;
        match fields.check() {
            Ok(Self::Pull { since } | Self::EntityPull { since }) if since < 0 => Err(InvalidRequest::Since),
            checked => checked.map_err(|Mismatch| InvalidRequest::Malformed),
        }
    }
}

/// The fields of all messages: the type may come after what it gives a meaning to.
#[derive(Debug, Default)]
struct MessageFields<'a> {
    kind: Json<'a>,
    client: Json<'a>,
    editing_block_uuid: Json<'a>,
    since: Json<'a>,
    batch: BatchFields<'a>,
}

impl<'a> Fields<'a> for MessageFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "type" => self.kind = map.next_value()?,
            "client" => self.client = map.next_value()?,
            "editing-block-uuid" => self.editing_block_uuid = map.next_value()?,
            "since" => self.since = map.next_value()?,
            key => return self.batch.read(key, map),
        }
        Ok(true)
    }
}

impl<'a> MessageFields<'a> {
    fn check(self) -> Result<ClientMessage<'a>, Mismatch> {
        match &*self.kind.text()? {
            "hello" => Ok(ClientMessage::Hello { client: self.client.text()? }),
            "ping" => Ok(ClientMessage::Ping),
            "presence" => match self.editing_block_uuid.nullable_text()? {
                Some(text) if text.len() > limits::EDITING_BLOCK_BYTES => Err(Mismatch),
                editing_block_uuid => Ok(ClientMessage::Presence { editing_block_uuid }),
            },
            "pull" => Ok(ClientMessage::Pull { since: self.since.optional_int()?.unwrap_or(0) }),
            "entity/pull" => Ok(ClientMessage::EntityPull { since: self.since.int()? }),
            "tx/batch" => self.batch.check().map(ClientMessage::TxBatch),
            _ => Err(Mismatch),
        }
    }
}
