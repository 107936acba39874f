//! The sockets of a graph (sync.md 7): who is told what, and who may still write.

use graph::Pull;
use graph::session::{self, Close, Effect, Message, OwnedFrame};
use http::{Request, Response};
use protocol::PresenceUser;
use protocol::server::MessageError;

use super::{GraphHost, GraphState};
use crate::error::Error;
use crate::identity;
use crate::report::{Event, Level};

/// Accepts a socket and tells everyone who is there.
pub(super) fn accept<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: Request<H::Body>,
) -> Result<Response<H::Body>, Error> {
    let user = identity::presence(&state.settings, &request);
    let response = host.accept(request, user.as_ref())?;
    if let (Some(user), Some(graph_id)) = (&user, state.graph_id()) {
        // The front worker has just asked.
        state.access.put(&graph_id, &user.user_id, true, host.now_ms());
    }
    tell_online_users(host, None);
    Ok(response)
}

/// Handles a frame from a socket.
pub async fn on_frame<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, frame: OwnedFrame) {
    let Err(frame) = on_frame_at_once(host, state, socket, frame) else { return };
    let user = host.user(socket);
    match &user {
        Some(user) if !ask_membership(host, state, &user.user_id).await => close(host, socket, Close::ACCESS_REVOKED),
        user => {
            let message = Message::parse(frame.as_frame()).into_owned();
            drop(frame);
            react(host, state, socket, user.as_ref(), message);
        }
    }
}

/// Handles a frame where nothing has to be awaited, which is nearly always. If not, nothing was done and the frame is given
/// back for [`on_frame`], because the sender's membership must be asked first (D-18).
pub fn on_frame_at_once<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    frame: OwnedFrame,
) -> Result<(), OwnedFrame> {
    let message = Message::parse(frame.as_frame());
    let user = host.user(socket);
    if message.is_write()
        && let Some(user) = &user
        && let Some(graph_id) = state.graph_id()
    {
        match state.access.get(&graph_id, &user.user_id, host.now_ms()) {
            None => {
                drop(message);
                return Err(frame);
            }
            Some(false) => {
                close(host, socket, Close::ACCESS_REVOKED);
                return Ok(());
            }
            Some(true) => {}
        }
    }
    let message = message.into_owned();
    // A batch takes several times its text while it is applied.
    drop(frame);
    react(host, state, socket, user.as_ref(), message);
    Ok(())
}

fn react<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    user: Option<&PresenceUser>,
    message: Message<'_>,
) {
    let reaction = host.graph().borrow_mut().react(user, message);
    match reaction.effect {
        Effect::None => {}
        Effect::Reply(reply) => host.send(socket, &reply),
        Effect::ReplyAndTell { reply, others } => {
            host.send(socket, &reply);
            tell_others(host, socket, &others);
        }
        Effect::KeepAndTell { user, others } => {
            host.keep(socket, &user);
            tell_others(host, socket, &others);
        }
        Effect::Pull(pull) => {
            let failure = send_pull(host, socket, pull).err();
            report_failure(host, state, failure);
        }
        Effect::Close(reason) => close(host, socket, reason),
    }
    report_failure(host, state, reaction.failure);
    report_notice(host, state);
}

/// Sends a pull as the one message that clients expect (D-41). The graph bounds how many bytes that are.
fn send_pull<H: GraphHost>(host: &H, socket: &H::Socket, mut pull: Pull) -> Result<(), graph::Error> {
    let mut text = H::LongText::default();
    let mut piece = String::new();
    loop {
        match host.graph().borrow_mut().pull_piece(&mut pull, &mut piece) {
            Ok(true) => host.append(&mut text, &piece),
            Ok(false) => break,
            Err(graph::Error::PullTooLong) => {
                close(host, socket, Close::PULL_TOO_LONG);
                return Ok(());
            }
            Err(failure) => {
                host.send(socket, &Message::error(MessageError::Server));
                return Err(failure);
            }
        }
        piece.clear();
    }
    host.send_long(socket, text);
    Ok(())
}

/// A socket goes: its close is answered, the others learn who is left.
pub fn on_close<H: GraphHost>(host: &H, socket: &H::Socket, code: u16, reason: &str) {
    host.close(socket, session::close_code(code), reason);
    tell_online_users(host, Some(socket));
}

/// A socket broke. Nothing can be sent to it any more.
pub fn on_error<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, error: &str) {
    let graph_id = state.graph_id();
    let event = Event { graph_id: graph_id.as_deref(), ..Event::new(Level::Error, "db-sync/ws-error") };
    host.report(&event.with_error(error));
    tell_online_users(host, Some(socket));
}

/// Membership, asked of the index. Nothing else reaches the graph meanwhile, so that messages keep their order. When the
/// index cannot be asked the user stays what the upgrade found: an outage is no revocation, and a removal closes the
/// sockets itself.
async fn ask_membership<H: GraphHost>(host: &H, state: &GraphState, user_id: &str) -> bool {
    let Some(graph_id) = state.graph_id() else { return true };
    let now_ms = host.now_ms();
    let Some(db) = host.db() else { return true };
    let (id, user) = (graph_id.clone(), user_id.to_owned());
    let asked = host.exclusively(async move { index::access::has_access(&*db, &id, &user).await }).await;
    match asked.map_err(|failure| failure.to_string()).and_then(|asked| asked.map_err(|error| error.to_string())) {
        Ok(allowed) => {
            state.access.put(&graph_id, user_id, allowed, now_ms);
            allowed
        }
        Err(error) => {
            let event = Event::new(Level::Warning, "db-sync/access-recheck-failed");
            host.report(&event.about(&graph_id).with_error(&error));
            true
        }
    }
}

fn close<H: GraphHost>(host: &H, socket: &H::Socket, close: Close) {
    host.close(socket, close.code, close.reason);
}

pub(super) fn close_user<H: GraphHost>(host: &H, user_id: &str, reason: Close) {
    for socket in host.sockets() {
        if host.user(&socket).is_some_and(|user| user.user_id == user_id) {
            close(host, &socket, reason);
        }
    }
}

pub(super) fn close_all<H: GraphHost>(host: &H, reason: Close) {
    for socket in host.sockets() {
        close(host, &socket, reason);
    }
}

pub(super) fn tell_all<H: GraphHost>(host: &H, text: &str) {
    for socket in host.sockets() {
        host.send(&socket, text);
    }
}

fn tell_others<H: GraphHost>(host: &H, sender: &H::Socket, text: &str) {
    for socket in host.sockets() {
        if !host.is_same(&socket, sender) {
            host.send(&socket, text);
        }
    }
}

/// Tells the open sockets who is there, without the one that is going.
fn tell_online_users<H: GraphHost>(host: &H, gone: Option<&H::Socket>) {
    let sockets: Vec<_> =
        host.sockets().into_iter().filter(|socket| gone.is_none_or(|gone| !host.is_same(socket, gone))).collect();
    let users: Vec<PresenceUser> = sockets.iter().filter_map(|socket| host.user(socket)).collect();
    let text = session::online_users(&users);
    for socket in &sockets {
        host.send(socket, &text);
    }
}

pub(super) fn report_failure<H: GraphHost>(host: &H, state: &GraphState, failure: Option<graph::Error>) {
    if let Some(failure) = failure {
        let graph_id = state.graph_id();
        let event = Event { graph_id: graph_id.as_deref(), ..Event::new(Level::Error, "db-sync/transact-failed") };
        host.report(&event.with_error(&failure.to_string()));
    }
}

/// Tells what was found wrong with the graph's rows, and repaired.
pub(super) fn report_notice<H: GraphHost>(host: &H, state: &GraphState) {
    let Some(notice) = host.graph().borrow_mut().take_notice() else { return };
    let graph_id = state.graph_id();
    let event = Event { graph_id: graph_id.as_deref(), ..Event::new(Level::Warning, "db-sync/damaged-rows") };
    host.report(&event.with_error(&notice.to_string()));
}
