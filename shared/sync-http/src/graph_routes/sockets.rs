//! The sockets of a graph (sync.md 7): who is told what, and who may still say something.

use std::rc::Rc;

use graph::sockets::{Close, Effect, Message, OwnedFrame};
use http::{Request, Response};
use protocol::limits::NEWS_TURN_BYTES;
use protocol::server::MessageError;
use protocol::{ClientMessage, Holder, PresenceUser};
use web::{Event, Level};

use super::line::{Line, NoRoom};
use super::pulls::LongPull;
use super::roster::{About, Due, Editing, SENDS_A_TURN, WINDOW_MS, window};
use super::{GraphHost, GraphState, admission, pulls, rest, version};
use crate::error::Error;
use crate::graph_call::Caller;
use crate::graph_subject;
use crate::identity;

/// Accepts a socket and tells everyone who is there. Nothing may be awaited between the check of the caller and this.
pub(super) fn accept<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &mut Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    let holder = match caller {
        Caller::Operator => Holder::Operator,
        Caller::User(id) => {
            let user = identity::presence(&state.settings, request).filter(|user| user.user_id == *id);
            Holder::User(user.ok_or(Error::Unauthorized)?)
        }
    };
    require_room(host, state, &holder)?;
    let (socket, response) = host.accept(request, &holder, state.graph_id().as_deref())?;
    let holder = Rc::new(holder);
    state.roster.borrow_mut().sit(host.id(&socket), Rc::clone(&holder));
    if let (Some(user), Some(graph_id)) = (holder.user(), state.graph_id()) {
        // The front worker has just asked.
        state.access.put(&graph_id, &user.user_id, true, host.now_ms());
    }
    post(host, state, About::Online, None);
    Ok(response)
}

/// Refuses a socket too many. Walks over all of them, whose number this bounds.
fn require_room<H: GraphHost>(host: &H, state: &GraphState, holder: &Holder) -> Result<(), Error> {
    let listed = host.sockets().iter().map(|socket| host.id(socket)).collect();
    state.roster.borrow_mut().retain(&listed);
    let open = open_sockets(host, state);
    let of_user = holder.user().map_or(0, |user| {
        open.iter().filter(|(_, other)| other.user().is_some_and(|other| other.user_id == user.user_id)).count()
    });
    let limits = &state.settings.limits;
    if open.len() >= limits.graph_sockets.get() || of_user >= limits.user_sockets.get() {
        return Err(Error::TooManySockets);
    }
    Ok(())
}

/// What becomes of a message before it is looked at.
enum Standing {
    /// Its sender may say it.
    In(Rc<Holder>),
    /// Its sender is to be closed.
    Out(Close),
    /// The index has to be asked first (D-18).
    Ask(Rc<Holder>),
}

/// What is left to do about a frame, and about those of its socket that wait behind it.
pub struct Later<H: GraphHost> {
    line: Line,
    work: Work<H>,
}

enum Work<H: GraphHost> {
    /// Nothing was done yet about this message. Its frame is gone, so that up to 32 MiB are parsed once.
    Message(Message<'static>),
    /// A long answer.
    Pull(Box<LongPull<H>>),
}

/// Handles a frame from a socket, and those that come from it meanwhile.
pub async fn on_frame<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, frame: OwnedFrame) {
    if let Err(later) = on_frame_at_once(host, state, socket, frame) {
        finish(host, state, socket, later).await;
    }
}

/// Does what [`on_frame_at_once`] has left.
pub async fn finish<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, later: Later<H>) {
    let Later { mut line, work } = later;
    let mut next = Some(work);
    // Ends when nothing waits. The frames that wait are bounded, and so is what their sender may ask for; others have their
    // turn in between.
    while let Some(work) = next {
        let done = match work {
            Work::Message(message) => answer(host, state, socket, message).await,
            Work::Pull(long) => pulls::finish(host, state, socket, long).await,
        };
        if let Err(reason) = done {
            return close(host, socket, reason);
        }
        if line.wants_turn() {
            host.turn().await;
        }
        next = line.next().map(|frame| {
            let message = frame.into_message();
            host.heard(socket, &message);
            Work::Message(message)
        });
    }
}

/// Handles a message whose sender may have to be asked about; an error is why the socket is to be closed.
async fn answer<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    message: Message<'static>,
) -> Result<(), Close> {
    let holder = match standing(host, state, socket, &message) {
        Standing::In(holder) => holder,
        Standing::Out(reason) => return Err(reason),
        Standing::Ask(holder) => {
            let allowed = match holder.user() {
                Some(user) => admission::ask(host, state, &user.user_id).await,
                None => true,
            };
            // The graph may have been deleted meanwhile.
            match standing(host, state, socket, &message) {
                Standing::Out(reason) => return Err(reason),
                _ if !allowed => return Err(Close::ACCESS_REVOKED),
                _ => holder,
            }
        }
    };
    if lacks_version(state, &message) {
        let failure = version::find(host, state).await.err();
        if let Standing::Out(reason) = standing(host, state, socket, &message) {
            return Err(reason);
        }
        if let Some(failure) = failure {
            report(host, state, "db-sync/schema-version-failed", &failure.to_string());
            send(host, state, socket, &Message::error(MessageError::Server));
            return Ok(());
        }
    }
    let much = pulls::asks_for_much(&message);
    if let Some(long) = react(host, state, socket, &holder, message) {
        pulls::finish(host, state, socket, long).await?;
    }
    if much {
        host.turn().await;
    }
    Ok(())
}

/// Whether the answer tells the schema version, and it has to be asked for.
fn lacks_version(state: &GraphState, message: &Message<'_>) -> bool {
    matches!(message, Message::Client(ClientMessage::EntityPull { .. })) && version::known(state).is_none()
}

/// Handles a frame where nothing has to be awaited, which is nearly always. If not, what is left is given back for
/// [`finish`]: the sender's membership (D-18) or the schema version (D-44) must be asked first, or the answer is long. While
/// that is there, other frames of the socket wait behind it.
pub fn on_frame_at_once<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    frame: OwnedFrame,
) -> Result<(), Later<H>> {
    let frame = match state.lines.join(host.id(socket), frame) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Ok(()),
        Err(NoRoom) => {
            close(host, socket, Close::OVERLOADED);
            return Ok(());
        }
    };
    let later = |work| Later { line: state.lines.begin(host.id(socket)), work };
    // The frame goes with this: a batch takes several times its text while it is applied.
    let message = frame.into_message();
    host.heard(socket, &message);
    match standing(host, state, socket, &message) {
        Standing::In(holder) if !lacks_version(state, &message) => match react(host, state, socket, &holder, message) {
            Some(long) => Err(later(Work::Pull(long))),
            None => Ok(()),
        },
        Standing::Out(reason) => {
            close(host, socket, reason);
            Ok(())
        }
        Standing::In(_) | Standing::Ask(_) => Err(later(Work::Message(message))),
    }
}

fn standing<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, message: &Message<'_>) -> Standing {
    if matches!(host.graph().borrow_mut().is_deleted(), Ok(true)) {
        return Standing::Out(Close::GRAPH_DELETED);
    }
    let Some(holder) = holder(host, state, socket) else { return Standing::Out(Close::UNKNOWN_SOCKET) };
    if state.graph_id().is_none()
        && let Some(graph_id) = host.graph_id(socket)
    {
        state.remember_graph_id(&graph_id);
    }
    let Some(graph_id) = state.graph_id() else {
        let nameless = message.needs_membership();
        return if nameless { Standing::Out(Close::RECONNECT_REQUIRED) } else { Standing::In(holder) };
    };
    let Some(user) = holder.user() else { return Standing::In(holder) };
    let known = || state.access.get(&graph_id, &user.user_id, host.now_ms());
    // What cannot be read is asked.
    let removed = !matches!(host.graph().borrow_mut().revocation(&user.user_id), Ok(None));
    if removed {
        return if known() == Some(false) { Standing::Out(Close::ACCESS_REVOKED) } else { Standing::Ask(holder) };
    }
    if !message.needs_membership() {
        return Standing::In(holder);
    }
    match known() {
        Some(true) => Standing::In(holder),
        Some(false) => Standing::Out(Close::ACCESS_REVOKED),
        None => Standing::Ask(holder),
    }
}

/// Does what a message asks for. A long pull is given back, begun.
fn react<H: GraphHost>(
    host: &H,
    state: &GraphState,
    socket: &H::Socket,
    holder: &Rc<Holder>,
    message: Message<'_>,
) -> Option<Box<LongPull<H>>> {
    if let Message::Client(ClientMessage::Presence { editing_block_uuid }) = &message {
        let editing = editing_block_uuid.as_deref();
        let id = host.id(socket);
        if !state.roster.borrow_mut().admit_presence(id, editing, host.now_ms()) {
            wake_later(host, state, WINDOW_MS);
            return None;
        }
    }
    if pulls::asks_for_much(&message) && !pulls::admits(host, state, holder) {
        close(host, socket, Close::PULLS_TOO_FAST);
        return None;
    }
    let mut long = None;
    let reaction = host.graph().borrow_mut().react(holder.user(), message);
    match reaction.effect {
        Effect::None => {}
        Effect::Reply(reply) => send(host, state, socket, &reply),
        Effect::ReplyAndTell { reply, others } => {
            send(host, state, socket, &reply);
            tell_others_of_change(host, state, socket, &others);
        }
        Effect::KeepAndTell { user, others } => keep_and_tell(host, state, socket, user, &others),
        Effect::Pull(pull) => long = pulls::send_pull(host, state, socket, holder, pull),
        Effect::EntityPull { since } => pulls::send_entities(host, state, socket, holder, since),
        Effect::Close(reason) => close(host, socket, reason),
    }
    report_failure(host, state, reaction.failure);
    report_notice(host, state);
    rest::later(host, state);
    long
}

fn keep_and_tell<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, user: PresenceUser, others: &str) {
    let about = About::Presence { user_id: user.user_id.clone(), sender: host.id(socket) };
    let holder = Holder::User(user);
    if let Err(failure) = host.keep(socket, &holder) {
        // What is kept would be an older state of this user, or nobody.
        report(host, state, "db-sync/attachment-failed", &failure.0);
        return close(host, socket, Close::UNKNOWN_SOCKET);
    }
    state.roster.borrow_mut().change(host.id(socket), Rc::new(holder));
    post(host, state, about, Some(others.into()));
}

/// A socket goes: its close is answered, the others learn who is left.
pub fn on_close<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, code: u16, reason: &str) {
    host.close(socket, graph::sockets::close_code(code), reason);
    leave(host, state, socket);
}

/// A socket broke. Nothing can be sent to it any more.
pub fn on_error<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, error: &str) {
    let graph_id = state.graph_id();
    let event =
        Event { subject: graph_id.as_deref().map(graph_subject), ..Event::new(Level::Error, "db-sync/ws-error") };
    host.report(&event.with_error(error));
    leave(host, state, socket);
}

fn leave<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket) {
    state.roster.borrow_mut().leave(host.id(socket));
    post(host, state, About::Online, None);
}

/// The time that [`GraphHost::wake_after`] was asked for is over: what was held back is told.
pub fn on_wake<H: GraphHost>(host: &H, state: &GraphState) {
    if state.roster.borrow().holds_presence() {
        for (socket, holder) in open_sockets(host, state) {
            let held = state.roster.borrow().held(host.id(&socket));
            if let Some(Editing(editing)) = held {
                let editing_block_uuid = editing.map(Into::into);
                react(host, state, &socket, &holder, Message::Client(ClientMessage::Presence { editing_block_uuid }));
            }
        }
    }
    // Only now, so that all of these were gathered.
    state.roster.borrow_mut().woke();
    if state.roster.borrow().has_news() {
        tell_news(host, state);
    }
    if state.roster.borrow().holds_presence() {
        wake_later(host, state, WINDOW_MS);
    }
}

/// Whom a socket belongs to; none when that cannot be read, which makes it nobody's.
fn holder<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket) -> Option<Rc<Holder>> {
    let id = host.id(socket);
    let known = state.roster.borrow().holder(id);
    known.or_else(|| {
        let holder = Rc::new(host.holder(socket)?);
        state.roster.borrow_mut().sit(id, Rc::clone(&holder));
        Some(holder)
    })
}

/// All sockets that are open and somebody's. One that is nobody's is closed.
fn open_sockets<H: GraphHost>(host: &H, state: &GraphState) -> Vec<(H::Socket, Rc<Holder>)> {
    let mut open = Vec::new();
    for socket in host.sockets() {
        if state.roster.borrow().is_gone(host.id(&socket)) {
            continue;
        }
        match holder(host, state, &socket) {
            Some(holder) => open.push((socket, holder)),
            None => close(host, &socket, Close::UNKNOWN_SOCKET),
        }
    }
    open
}

pub(super) fn close<H: GraphHost>(host: &H, socket: &H::Socket, close: Close) {
    host.close(socket, close.code, close.reason);
}

/// Whether the user has a socket open.
pub(super) fn is_there<H: GraphHost>(host: &H, state: &GraphState, user_id: &str) -> bool {
    let open = open_sockets(host, state);
    open.iter().any(|(_, holder)| holder.user().is_some_and(|user| user.user_id == user_id))
}

pub(super) fn close_user<H: GraphHost>(host: &H, state: &GraphState, user_id: &str, reason: Close) {
    for (socket, holder) in open_sockets(host, state) {
        if holder.user().is_some_and(|user| user.user_id == user_id) {
            close(host, &socket, reason);
        }
    }
}

pub(super) fn close_all<H: GraphHost>(host: &H, reason: Close) {
    for socket in host.sockets() {
        close(host, &socket, reason);
    }
}

/// Tells one socket something, after the news that are due.
pub(super) fn send<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, text: &str) {
    catch_up(host, state, socket);
    host.send(socket, text);
}

pub(super) fn send_long<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket, text: H::LongText) {
    catch_up(host, state, socket);
    host.send_long(socket, text);
}

/// Tells everyone that the graph has changed.
pub(super) fn tell_all_of_change<H: GraphHost>(host: &H, state: &GraphState, text: &str) {
    tell_of_change(host, state, None, text);
}

fn tell_others_of_change<H: GraphHost>(host: &H, state: &GraphState, sender: &H::Socket, text: &str) {
    tell_of_change(host, state, Some(host.id(sender)), text);
}

fn tell_of_change<H: GraphHost>(host: &H, state: &GraphState, sender: Option<u64>, text: &str) {
    let text: Rc<str> = text.into();
    for (socket, _) in open_sockets(host, state) {
        let id = host.id(&socket);
        if sender != Some(id) && !state.roster.borrow_mut().hold_change(id, &text) {
            send(host, state, &socket, &text);
        }
    }
}

/// News for everyone: told now, or in a moment.
fn post<H: GraphHost>(host: &H, state: &GraphState, about: About, text: Option<Rc<str>>) {
    let now = state.roster.borrow_mut().post(about, text);
    if now {
        tell_news(host, state);
    }
}

/// Tells the open sockets the news that are due, those first that have waited longest, and a bounded number of messages
/// and bytes in one turn. What comes from now on is gathered until the wake-up.
fn tell_news<H: GraphHost>(host: &H, state: &GraphState) {
    let mut open = open_sockets(host, state);
    open.sort_by_cached_key(|(socket, _)| state.roster.borrow().seen(host.id(socket)));
    let mut sent = Sent::default();
    let told = open.iter().take_while(|(socket, _)| {
        let more = sent.messages < SENDS_A_TURN && sent.bytes < NEWS_TURN_BYTES;
        if more {
            let told = catch_up(host, state, socket);
            sent.messages += told.messages;
            sent.bytes += told.bytes;
        }
        more
    });
    if told.count() == open.len() {
        state.roster.borrow_mut().told_all();
    }
    wake_later(host, state, window(sent.bytes));
}

/// What was sent.
#[derive(Default)]
struct Sent {
    messages: usize,
    bytes: usize,
}

/// Tells a socket the news that are due.
fn catch_up<H: GraphHost>(host: &H, state: &GraphState, socket: &H::Socket) -> Sent {
    let due = state.roster.borrow_mut().take_due(host.id(socket));
    let mut sent = Sent::default();
    // At most one for each user with a socket, and one more.
    for news in due {
        let text = match news {
            Due::Text(text) => text,
            Due::Online => online(host, state),
        };
        host.send(socket, &text);
        sent.messages += 1;
        sent.bytes += text.len();
    }
    sent
}

/// Who is online; made once after each change.
fn online<H: GraphHost>(host: &H, state: &GraphState) -> Rc<str> {
    let known = state.roster.borrow().online();
    known.unwrap_or_else(|| {
        let open = open_sockets(host, state);
        let users = open.iter().filter_map(|(_, holder)| holder.user());
        let text: Rc<str> = graph::sockets::online_users(users).into();
        state.roster.borrow_mut().set_online(&text);
        text
    })
}

fn wake_later<H: GraphHost>(host: &H, state: &GraphState, ms: u32) {
    if state.roster.borrow_mut().wants_waking() {
        host.wake_after(ms);
    }
}

pub(super) fn report<H: GraphHost>(host: &H, state: &GraphState, event: &'static str, error: &str) {
    let graph_id = state.graph_id();
    let event = Event { subject: graph_id.as_deref().map(graph_subject), ..Event::new(Level::Error, event) };
    host.report(&event.with_error(error));
}

pub(super) fn report_failure<H: GraphHost>(host: &H, state: &GraphState, failure: Option<graph::Error>) {
    if let Some(failure) = failure {
        report(host, state, "db-sync/transact-failed", &failure.to_string());
    }
}

/// Tells what was found wrong with the graph's rows, and repaired.
pub(super) fn report_notice<H: GraphHost>(host: &H, state: &GraphState) {
    let Some(notice) = host.graph().borrow_mut().take_notice() else { return };
    let graph_id = state.graph_id();
    let event =
        Event { subject: graph_id.as_deref().map(graph_subject), ..Event::new(Level::Warning, "db-sync/damaged-rows") };
    host.report(&event.with_error(&notice.to_string()));
}
