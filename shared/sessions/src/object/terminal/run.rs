//! One terminal from its `ready` to its end: what it writes goes to the viewer, what the viewer says goes to it.
//!
//! Whichever comes first ends it: its process, its connection, its viewer, or the session. Each wait has a deadline: the sandbox gives a
//! sign of life every 50 seconds, orders have ten, a viewer that reads nothing has ten minutes, and one that is silent is asked for
//! its access every minute.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::select;
use web::Host;

use super::frames;
use super::inbox::{Inbox, Item, Over};
use super::outbox::{Outbox, Pace, When};
use crate::object::platform::Socket;
use crate::runtime::exchange::within;
use crate::runtime::{Provider, Runtime, TerminalOrder, TerminalOutput, TerminalSaid};

/// How long output and texts wait for more, and the pause after each order to the terminal, in milliseconds.
const COALESCE_MS: u32 = 10;
/// Silence of a sandbox after which its terminal counts as lost: three signs of life, in milliseconds.
const SILENCE_MS: u32 = 150_000;
/// How long a viewer may leave what it is sent unanswered when it is sent nothing more, in milliseconds.
const UNHEARD_MS: u32 = 600_000;
/// Orders in a row that may fail.
const MAX_FAILURES: u32 = 10;
/// Between two notes that a terminal is used, in milliseconds.
const USED_MS: i64 = 60_000;
/// How often killing a process is tried.
const KILLS: u32 = 2;

/// Why a terminal has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its process has, with this code.
    Exited(i64),
    /// The viewer has gone.
    Gone,
    /// The viewer said more than can be taken.
    Flooded,
    /// The viewer does not read.
    Unread,
    /// The viewer may not use the session any more.
    Denied,
    /// The session ends its runtime.
    RuntimeEnded,
    /// The connection to the sandbox is lost; why, for the log.
    Failed(String),
}

impl End {
    /// The `reason` of `session.terminal.closed`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Gone => "viewer-gone",
            Self::Flooded => "too-much-input",
            Self::Unread => "unread",
            Self::Denied => "access-denied",
            Self::RuntimeEnded => "runtime-ended",
            Self::Failed(_) => "connection-lost",
        }
    }

    /// The last frame, and the code and words with which the socket is closed.
    fn farewell(&self) -> (Option<String>, u16, &'static str) {
        match self {
            Self::Exited(code) => (Some(frames::exit(*code)), 1000, "exit"),
            Self::Gone => (None, 1000, ""),
            Self::Flooded => (Some(frames::error("too much input")), 1009, "too much input"),
            Self::Unread => (Some(frames::error("the output is not read")), 1008, "output not read"),
            Self::Denied => (Some(frames::error("forbidden")), 1008, "forbidden"),
            Self::RuntimeEnded => (Some(frames::error("the session's runtime was ended")), 1001, "runtime ended"),
            Self::Failed(_) => (Some(frames::error("the terminal's connection is lost")), 1011, "connection lost"),
        }
    }
}

/// What the first of both gives; the other one is dropped.
async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    select(pin!(one), pin!(other)).await.factor_first().0
}

/// A terminal that runs.
pub(super) struct Terminal<'a, R, S, H> {
    pub(super) provider: Rc<R>,
    pub(super) runtime: Runtime,
    pub(super) pid: u32,
    pub(super) socket: S,
    pub(super) inbox: Rc<Inbox>,
    pub(super) host: &'a H,
}

impl<R: Provider, S: Socket, H: Host> Terminal<'_, R, S, H> {
    /// Serves the viewer until the terminal ends. `stop` ends it from here, `denied` is over when the viewer's access is, `used` is
    /// called when something is typed, once a minute. Its process is gone, as far as that can be had, when this is over.
    pub(super) async fn run(
        &self,
        output: R::Terminal,
        stop: oneshot::Receiver<()>,
        denied: impl Future<Output = ()>,
        used: impl Fn(),
    ) -> End {
        self.socket.text(frames::READY);
        let end = {
            let outbox = Outbox::default();
            let over = async {
                match self.inbox.over().await {
                    Over::Gone => End::Gone,
                    Over::Flooded => End::Flooded,
                }
            };
            let stopped = async {
                // Whoever would say so is there as long as the terminal.
                let _ = stop.await;
                End::RuntimeEnded
            };
            let denied = async {
                denied.await;
                End::Denied
            };
            let work = first(self.send_on(&outbox), first(self.take_in(output, &outbox), self.tell(&used)));
            first(over, first(stopped, first(denied, work))).await
        };
        let (frame, code, words) = end.farewell();
        if let Some(frame) = frame {
            self.socket.text(&frame);
        }
        self.socket.close(code, words);
        if !matches!(end, End::Exited(_)) {
            self.kill().await;
        }
        end
    }

    /// Ends the process. A sandbox that does not answer has none, or is asked for nothing any more.
    pub(super) async fn kill(&self) {
        for _ in 0..KILLS {
            if self.provider.steer_terminal(&self.runtime, self.pid, TerminalOrder::Kill).await.is_ok() {
                return;
            }
        }
    }

    /// Takes in what the terminal writes, as far as there is room for it.
    async fn take_in(&self, mut output: R::Terminal, outbox: &Outbox) -> End {
        let end = loop {
            outbox.room().await;
            match within(self.host, SILENCE_MS, output.next()).await {
                Some(Ok(TerminalSaid::Output(bytes))) => outbox.push(&bytes),
                Some(Ok(TerminalSaid::Exited(code))) => break End::Exited(code),
                Some(Err(error)) => break End::Failed(error.to_string()),
                None => break End::Failed("the sandbox gives no sign of life".to_owned()),
            }
        };
        outbox.end(end);
        // The connection stays until the viewer has got the rest.
        std::future::pending().await
    }

    /// Sends the viewer what was written, to the end.
    async fn send_on(&self, outbox: &Outbox) -> End {
        let pace = Pace::new(self.host.now_ms());
        loop {
            outbox.ready().await;
            self.host.sleep_ms(COALESCE_MS).await;
            let frame = match outbox.take() {
                Ok(frame) => frame,
                Err(Some(end)) => return end,
                Err(None) => continue,
            };
            // Ends when there is time or a word of the viewer for the frame.
            loop {
                match pace.take(frame.len(), self.inbox.frames(), self.host.now_ms()) {
                    When::Now => break,
                    When::After(ms) => self.host.sleep_ms(ms).await,
                    When::Heard(frames) => {
                        if within(self.host, UNHEARD_MS, self.inbox.heard(frames)).await.is_none() {
                            return End::Unread;
                        }
                    }
                }
            }
            self.socket.bytes(&frame);
        }
    }

    /// Tells the terminal what the viewer says: one order at a time, in their order.
    async fn tell(&self, used: &impl Fn()) -> End {
        let (mut failures, mut used_at) = (0_u32, None::<i64>);
        loop {
            self.inbox.ready().await;
            if self.inbox.may_wait() {
                self.host.sleep_ms(COALESCE_MS).await;
            }
            let Some(item) = self.inbox.take() else { continue };
            let order = match &item {
                Item::Input { bytes, .. } => TerminalOrder::Input(bytes),
                Item::Resize(size) => TerminalOrder::Resize(*size),
            };
            let told = self.provider.steer_terminal(&self.runtime, self.pid, order).await;
            // One that fails is ignored (agents.md 5.3.8); a viewer whose every word is lost is told.
            failures = if told.is_err() { failures.saturating_add(1) } else { 0 };
            if failures >= MAX_FAILURES {
                return End::Failed("what is typed does not arrive".to_owned());
            }
            let now = self.host.now_ms();
            if matches!(item, Item::Input { .. }) && used_at.is_none_or(|at| now.saturating_sub(at) >= USED_MS) {
                used_at = Some(now);
                used();
            }
            self.host.sleep_ms(COALESCE_MS).await;
        }
    }
}
