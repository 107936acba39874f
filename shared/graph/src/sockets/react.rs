//! Reactions to messages (sync.md 7.2, 7.4).

use protocol::client::RAW_PONG;
use protocol::server::MessageError;
use protocol::{ClientMessage, PresenceUser, ServerMessage};

use super::message::{Close, Message};
use crate::error::{Error, Result};
use crate::graph::{Graph, Pull};
use database::local::Sql;

/// What is to be done about a message.
#[derive(Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// Tell the sender.
    Reply(String),
    /// Tell the sender, then all other open sockets.
    ReplyAndTell {
        /// For the sender.
        reply: String,
        /// For everyone else.
        others: String,
    },
    /// Keep the user with the socket, in memory and as its attachment, then tell all other open sockets.
    KeepAndTell {
        /// The user as it is now.
        user: PresenceUser,
        /// For everyone else.
        others: String,
    },
    /// Put the pieces of the pull together and send them to the sender as one message. Where that ends in
    /// [`Error::PullTooLong`], close the socket with [`Close::PULL_TOO_LONG`].
    Pull(Pull),
    /// Answer with [`Graph::entity_pull`], whose message is sent as one.
    EntityPull {
        /// The client's cursor.
        since: i64,
    },
    /// Close the sender's socket.
    Close(Close),
}

/// An effect, and what there is to log.
#[derive(Debug)]
#[must_use = "the effect is the adapter's to bring about"]
pub struct Reaction {
    /// To be done.
    pub effect: Effect,
    /// What went wrong inside, for the log. The effect already answers it.
    pub failure: Option<Error>,
}

impl From<Effect> for Reaction {
    fn from(effect: Effect) -> Self {
        Self { effect, failure: None }
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// Handles a message from a socket with that user (none on an operator's connection).
    pub fn react(&mut self, user: Option<&PresenceUser>, message: Message<'_>) -> Reaction {
        match self.try_react(user, message) {
            Ok(reaction) => reaction,
            Err(failure) => {
                let effect = Effect::Reply(Message::error(MessageError::Server));
                Reaction { effect, failure: Some(failure) }
            }
        }
    }

    fn try_react(&mut self, user: Option<&PresenceUser>, message: Message<'_>) -> Result<Reaction> {
        let message = match message {
            Message::RawPing => return Ok(Effect::Reply(RAW_PONG.to_owned()).into()),
            Message::Invalid(invalid) => return Ok(Effect::Reply(Message::error(invalid)).into()),
            Message::TooLarge => return Ok(Effect::Close(Close::TOO_LARGE).into()),
            Message::Client(message) => message,
        };
        let effect = match message {
            ClientMessage::Ping => Effect::Reply(ServerMessage::Pong.to_json()),
            ClientMessage::Hello { .. } => {
                let position = self.position()?;
                let checksum = position.checksum.as_deref();
                Effect::Reply(ServerMessage::Hello { t: position.t, checksum }.to_json())
            }
            ClientMessage::Pull { since } => Effect::Pull(self.pull_message(since)?),
            ClientMessage::EntityPull { since } => Effect::EntityPull { since },
            ClientMessage::Presence { editing_block_uuid } => match user {
                Some(user) => presence(user.clone(), editing_block_uuid.as_deref()),
                // An operator's socket has no user whose presence could be told (D-17).
                None => Effect::None,
            },
            ClientMessage::TxBatch(batch) => {
                let outcome = self.tx_batch(batch)?;
                let reply = outcome.answer.to_json();
                let effect = match outcome.broadcast() {
                    Some(others) => Effect::ReplyAndTell { reply, others },
                    None => Effect::Reply(reply),
                };
                return Ok(Reaction { effect, failure: outcome.failure });
            }
        };
        Ok(effect.into())
    }
}

/// Peers hear the text as it was sent; kept is only what is not blank.
fn presence(mut user: PresenceUser, editing: Option<&str>) -> Effect {
    user.set_editing_block(editing);
    let others = ServerMessage::Presence { user_id: &user.user_id, editing_block_uuid: editing }.to_json();
    Effect::KeepAndTell { user, others }
}
