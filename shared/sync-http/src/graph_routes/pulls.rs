//! Answers to `pull` and `entity/pull` over sockets (sync.md 7.2, 7.6).
//!
//! Each is one message, which may be long. A short one is made at once. A long one is made in pieces, between which everybody
//! else has a turn, and one at a time: what is made waits in memory for its end. How much one user may ask for is bounded
//! ([`super::allowance`]).

use std::rc::Rc;

use graph::sockets::{Close, Message};
use graph::{EntityAnswer, GraphName, Pull};
use protocol::server::MessageError;
use protocol::{ClientMessage, Holder, ServerMessage};
use web::{Event, Level};

use super::sockets::{close, report_failure, send, send_long};
use super::{GraphHost, GraphState, version};
use crate::graph_subject;

/// A pull whose first piece is made, and was not all of it.
pub(super) struct LongPull<H: GraphHost> {
    holder: Rc<Holder>,
    since: i64,
    pull: Pull,
    text: H::LongText,
}

/// How a pull goes on.
enum Step {
    More,
    Complete,
    /// It was answered in another way.
    Over,
}

/// Whether a message asks for an answer that may be long.
pub(super) const fn asks_for_much(message: &Message<'_>) -> bool {
    matches!(message, Message::Client(ClientMessage::Pull { .. } | ClientMessage::EntityPull { .. }))
}

/// Whether the sender may ask for another pull.
pub(super) fn admits<H: GraphHost>(host: &H, state: &GraphState, holder: &Holder) -> bool {
    state.allowances.admits(name(holder), largest(host), host.now_ms())
}

/// Whose allowance it is. Operators share one.
fn name(holder: &Holder) -> &str {
    holder.user().map_or("", |user| &user.user_id)
}

fn largest<H: GraphHost>(host: &H) -> u64 {
    host.graph().borrow().pull_message_bytes() as u64
}

fn charge<H: GraphHost>(host: &H, state: &GraphState, holder: &Holder, bytes: u64) {
    state.allowances.charge(name(holder), bytes, largest(host), host.now_ms());
}

/// Sends a pull as the one message that clients expect (D-41), or gives it back where that is long.
pub(super) fn send_pull<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    holder: &Rc<Holder>,
    pull: Pull,
) -> Option<Box<LongPull<H>>> {
    let since = pull.since();
    let mut long = LongPull { holder: Rc::clone(holder), since, pull, text: H::LongText::default() };
    match long.step(host, state, socket) {
        Step::More => return Some(Box::new(long)),
        Step::Complete => send_long(host, state, socket, long.text),
        Step::Over => {}
    }
    None
}

/// Sends a long pull, once no other one is made. An error is why the socket is to be closed.
pub(super) async fn finish<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    long: Box<LongPull<H>>,
) -> Result<(), Close> {
    // A client that hears of a change before its answer would ask for all of it again.
    state.roster.borrow_mut().begin_pull(host.id(socket));
    let outcome = make(host, state, socket, *long).await;
    let change = state.roster.borrow_mut().end_pull(host.id(socket));
    if let (Ok(()), Some(change)) = (&outcome, change) {
        send(host, state, socket, &change);
    }
    outcome
}

async fn make<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    mut long: LongPull<H>,
) -> Result<(), Close> {
    let _turn = if let Some(turn) = state.long_pull.enter_at_once() {
        turn
    } else {
        let LongPull { holder, since, .. } = long;
        let turn = state.long_pull.enter().await;
        require_still(host, state, socket, &holder)?;
        if !admits(host, state, &holder) {
            return Err(Close::PULLS_TOO_FAST);
        }
        let begun = host.graph().borrow_mut().pull_message(since);
        let pull = match begun {
            Ok(pull) => pull,
            Err(failure) => {
                fail(host, state, socket, failure);
                return Ok(());
            }
        };
        long = LongPull { holder, since, pull, text: H::LongText::default() };
        turn
    };
    // Ends: the graph bounds the bytes of a pull that is one message.
    loop {
        host.turn().await;
        require_still(host, state, socket, &long.holder)?;
        match long.step(host, state, socket) {
            Step::More => {}
            Step::Complete => break,
            Step::Over => return Ok(()),
        }
    }
    send_long(host, state, socket, long.text);
    Ok(())
}

/// Whether the answer is still for somebody who may have it.
fn require_still<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, holder: &Holder) -> Result<(), Close> {
    let mut graph = host.graph().borrow_mut();
    if matches!(graph.is_deleted(), Ok(true)) {
        return Err(Close::GRAPH_DELETED);
    }
    if matches!(graph.is_uploading(), Ok(true)) {
        return Err(Close::SNAPSHOT_REPLACED);
    }
    let removed = holder.user().is_some_and(|user| !matches!(graph.revocation(&user.user_id), Ok(None)));
    if removed {
        return Err(Close::ACCESS_REVOKED);
    }
    // Nobody reads it; closing once more changes nothing.
    if state.roster.borrow().is_gone(host.id(socket)) { Err(Close::UNKNOWN_SOCKET) } else { Ok(()) }
}

impl<H: GraphHost> LongPull<H> {
    /// Makes the next piece.
    fn step(&mut self, host: &H, state: &GraphState, socket: &H::Socket) -> Step {
        let mut piece = String::new();
        let made = host.graph().borrow_mut().pull_piece(&mut self.pull, &mut piece);
        charge(host, state, &self.holder, piece.len() as u64);
        match made {
            Ok(_) => {
                host.append(&mut self.text, &piece);
                if self.pull.has_ended() { Step::Complete } else { Step::More }
            }
            Err(graph::Error::PullTooLong) => {
                close(host, socket, Close::PULL_TOO_LONG);
                Step::Over
            }
            Err(graph::Error::Replaced) => {
                close(host, socket, Close::SNAPSHOT_REPLACED);
                Step::Over
            }
            Err(failure) => {
                fail(host, state, socket, failure);
                Step::Over
            }
        }
    }
}

fn fail<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, failure: graph::Error) {
    send(host, state, socket, &Message::error(MessageError::Server));
    report_failure(host, state, Some(failure));
}

/// Answers `entity/pull` (sync.md 7.6).
pub(super) fn send_entities<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    holder: &Holder,
    since: i64,
) {
    let mut text = H::LongText::default();
    let mut bytes = 0;
    let graph_id = state.graph_id().unwrap_or_default();
    let version = version::known(state);
    let pulled = host.graph().borrow_mut().entity_pull(since, GraphName(&graph_id), version.as_deref(), &mut |piece| {
        bytes += piece.len() as u64;
        host.append(&mut text, piece);
    });
    let pulled = match pulled {
        Ok(pulled) => pulled,
        Err(failure) => return fail(host, state, socket, failure),
    };
    charge(host, state, holder, bytes.saturating_add(pulled.work));
    match pulled.answer {
        EntityAnswer::Changes => send_long(host, state, socket, text),
        EntityAnswer::Reset(reason) => send(host, state, socket, &ServerMessage::Reset(reason).to_json()),
        EntityAnswer::NotReady => send(host, state, socket, &Message::error(MessageError::NotReady)),
    }
    if let Some(attribute) = pulled.left_out {
        let event = Event {
            subject: Some(graph_subject(&graph_id)),
            ..Event::new(Level::Warning, "db-sync/reference-left-out")
        };
        host.report(&event.with_error(attribute.as_str()));
    }
    report_failure(host, state, pulled.failure);
}
