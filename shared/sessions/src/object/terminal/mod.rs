//! Terminals in a session's runtime, for browsers (agents.md 2.6.11, 5.3.8).
//!
//! The process runs before the socket comes to be: what cannot be opened is answered with its status. It is written down while it is
//! open, so that an object that was started anew ends what nobody looks at any more.

mod bell;
mod frames;
mod inbox;
mod outbox;
mod register;
mod run;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::join_all;
use http::header::UPGRADE;
use http::{HeaderMap, Request, Response};
use web::url;

pub use inbox::{Inbox, MAX_FRAME_BYTES, MAX_WAITING_BYTES};
pub use register::MAX_TERMINALS;
pub(super) use register::Terminals;

use self::register::Place;
use self::run::{End, Terminal};
use super::jobs::JobError;
use super::routes::Caller;
use super::{Platform, Session};
use crate::error::Error;
use crate::event::Draft;
use crate::runtime::exchange::within;
use crate::runtime::{OpenedTerminal, Provider, Runtime, RuntimeError, TerminalOrder, TerminalSize};
use crate::session::decide;

/// What a runtime without terminals is answered with.
const UNSUPPORTED: &str = "session runtime does not support browser terminal";
/// How long a terminal may take to be ready, in milliseconds (agents.md 3.14).
const READY_MS: u32 = 30_000;
/// How long whoever ends a runtime waits for the processes of its terminals to be killed, in milliseconds.
const STOP_MS: u32 = 5_000;
/// Between two looks whether a viewer may still use the session, in milliseconds.
const ACCESS_MS: u32 = 60_000;

/// The provider's output of a terminal.
type Output<P> = <<P as Platform>::Runtimes as Provider>::Terminal;

/// What a viewer asks for.
struct Wanted {
    cols: Option<u16>,
    rows: Option<u16>,
    is_socket: bool,
}

impl Wanted {
    fn of<B>(request: &Request<B>) -> Self {
        let side = |name: &str| {
            let side = url::query(request.uri(), name)?.parse().ok()?;
            frames::is_side(side).then_some(side)
        };
        Self { cols: side("cols"), rows: side("rows"), is_socket: asks_for_socket(request.headers()) }
    }

    fn size(&self) -> TerminalSize {
        TerminalSize { cols: self.cols.unwrap_or(frames::USUAL.cols), rows: self.rows.unwrap_or(frames::USUAL.rows) }
    }
}

fn asks_for_socket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Opens a terminal in the session's runtime.
pub(super) async fn open<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (is_terminal, runtime) = session.look(|core| (core.state.status.is_terminal(), core.state.runtime.clone()))?;
    if is_terminal {
        return Err(Error::NotWritable);
    }
    let runtime = runtime.ok_or(Error::RuntimeUnavailable)?;
    let wanted = Wanted::of(request);
    let (place, stop) = session.terminals.enter().ok_or(Error::TooManyTerminals)?;
    let opened = open_in(session, caller, &wanted, runtime, (place, stop), request).await;
    opened.map_err(|error| {
        let text = error.to_string();
        let (cols, rows) = (wanted.cols.map(u32::from), wanted.rows.map(u32::from));
        let told = session.change(|core, decide| {
            decide.append(&mut core.state, Draft::terminal_failed(user, &text, cols, rows));
        });
        if let Err(error) = told {
            session.warn("agents/event-not-stored", &error);
        }
        match error {
            RuntimeError::Unsupported(_) => Error::Unsupported(UNSUPPORTED),
            _ => Error::Terminal(session.look(|core| core.redactor.clean(&text)).ok().flatten().unwrap_or(text)),
        }
    })
}

async fn open_in<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    wanted: &Wanted,
    mut runtime: Runtime,
    (place, stop): (Place, oneshot::Receiver<()>),
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, RuntimeError> {
    let provider = session.platform.runtimes(runtime.provider);
    if !wanted.is_socket && runtime.provider.has_terminal() {
        return Err(RuntimeError::Unsupported("a terminal needs a WebSocket"));
    }
    session.compare_resumed_tree(&mut runtime).await?;
    let opening = provider.open_terminal(&mut runtime, wanted.size());
    let OpenedTerminal { pid, output } =
        within(&session.platform, READY_MS, opening).await.unwrap_or(Err(RuntimeError::TimedOut))?;
    place.runs(pid);
    let inbox = Rc::new(Inbox::default());
    let accepted = match session.begin_terminal(caller, wanted, &runtime, pid) {
        Ok(()) => session.platform.accept(request, Rc::clone(&inbox)).map_err(|failure| {
            let end = End::Failed(failure.0.clone());
            session.end_terminal(caller, &runtime, pid, &end);
            RuntimeError::Failed(failure.0)
        }),
        Err(error) => Err(error),
    };
    let (socket, response) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // Nobody would know of it.
            let _ = provider.steer_terminal(&runtime, pid, TerminalOrder::Kill).await;
            return Err(error);
        }
    };
    let terminal = Serving { place, stop, pid, runtime, caller: caller.clone(), inbox, socket, output };
    session.platform.spawn(serve(Rc::clone(session), provider, terminal));
    Ok(response)
}

/// A terminal with its viewer.
struct Serving<P: Platform> {
    place: Place,
    stop: oneshot::Receiver<()>,
    pid: u32,
    runtime: Runtime,
    caller: Caller,
    inbox: Rc<Inbox>,
    socket: P::Socket,
    output: Output<P>,
}

async fn serve<P: Platform>(session: Rc<Session<P>>, provider: Rc<P::Runtimes>, serving: Serving<P>) {
    let Serving { place, stop, pid, runtime, caller, inbox, socket, output } = serving;
    let denied = async {
        // Ends with the access, or is dropped with the terminal.
        loop {
            session.platform.sleep_ms(ACCESS_MS).await;
            if let Err(Error::Forbidden | Error::NotFound) = session.seen_by(&caller).await {
                break;
            }
        }
    };
    let used = || {
        if let Err(error) = session.change(|core, decide| decide::on_terminal_used(&mut core.state, decide)) {
            session.warn("agents/event-not-stored", &error);
        }
    };
    let terminal = Terminal { provider, runtime, pid, socket, inbox, host: &session.platform };
    let end = terminal.run(output, stop, denied, used).await;
    session.end_terminal(&caller, &terminal.runtime, pid, &end);
    drop(place);
}

impl<P: Platform> Session<P> {
    /// Writes the terminal down. Refused when the session has ended or moved to another runtime while it was being opened.
    fn begin_terminal(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        runtime: &Runtime,
        pid: u32,
    ) -> Result<(), RuntimeError> {
        let user = caller.user_id.as_deref().unwrap_or_default();
        let opened = Draft::terminal_opened(user, wanted.cols.map(u32::from), wanted.rows.map(u32::from));
        let begun =
            self.change(|core, decide| decide::on_terminal_opened(&mut core.state, decide, runtime, pid, user, opened));
        match begun {
            Ok(true) => Ok(()),
            Ok(false) => Err(RuntimeError::Unavailable("the runtime was ended meanwhile".to_owned())),
            Err(error) => Err(RuntimeError::Failed(error.to_string())),
        }
    }

    fn end_terminal(&self, caller: &Caller, runtime: &Runtime, pid: u32, end: &End) {
        let exit_code = if let End::Exited(code) = end { Some(*code) } else { None };
        let error = if let End::Failed(text) = end { Some(text.as_str()) } else { None };
        let user = caller.user_id.as_deref().unwrap_or_default();
        let draft = Draft::terminal_closed(user, end.reason(), exit_code, error);
        if let Err(error) = self.change(|core, decide| {
            decide::on_terminal_closed(&mut core.state, decide, runtime.sandbox_id.as_deref(), pid, draft);
        }) {
            self.warn("agents/event-not-stored", &error);
        }
    }

    /// Ends all terminals, because the runtime is about to be.
    pub(super) async fn close_terminals(&self) {
        let ends = self.terminals.stop();
        if !ends.is_empty() {
            // What takes longer ends with its sandbox.
            let _ = within(&self.platform, STOP_MS, join_all(ends)).await;
        }
    }

    /// Ends terminals that nobody looks at: they were open when the object was started anew.
    pub(super) async fn settle_terminals(&self) -> Result<(), JobError> {
        let (lost, runtime) = self.look(|core| {
            let lost = core.state.terminals.iter().filter(|terminal| !self.terminals.serves(terminal.pid));
            (lost.cloned().collect::<Vec<_>>(), core.state.runtime.clone())
        })?;
        // At most as many as may be open at a time.
        for terminal in lost {
            let there = runtime.as_ref().filter(|runtime| runtime.sandbox_id == terminal.sandbox_id);
            if let Some(runtime) = there {
                // One that fails is told as ended all the same: the process ends with its sandbox.
                let provider = self.platform.runtimes(runtime.provider);
                let _ = provider.steer_terminal(runtime, terminal.pid, TerminalOrder::Kill).await;
            }
            let draft = Draft::terminal_closed(&terminal.by, "interrupted", None, None);
            self.change(|core, decide| {
                decide::on_terminal_closed(
                    &mut core.state,
                    decide,
                    terminal.sandbox_id.as_deref(),
                    terminal.pid,
                    draft,
                );
            })?;
        }
        Ok(())
    }
}
