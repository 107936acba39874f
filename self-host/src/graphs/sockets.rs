//! The two ends of a socket: the graph's, on its thread, and the connection's, at the front.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use graph::sockets::OwnedFrame;
use protocol::Holder;
use sync_http::service::Limit;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Present;

/// Bytes of frames that may wait for a graph, of one socket.
const WAITING_BYTES: u32 = 1 << 20;

/// What a graph says to a socket.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A text.
    Text(Said),
    /// The end.
    Close(CloseFrame),
}

/// A text, and what it is.
#[derive(Debug)]
pub(crate) struct Said {
    /// The text.
    pub(crate) text: String,
    /// Its type.
    pub(crate) kind: &'static str,
    /// The counter that it tells.
    pub(crate) t: Option<i64>,
    /// When it was said.
    pub(crate) at: Instant,
}

impl Said {
    fn new(text: String) -> Self {
        let (kind, t) = protocol::server::head(&text);
        Self { text, kind, t, at: Instant::now() }
    }
}

/// How a socket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    /// The code.
    pub(crate) code: u16,
    /// The reason.
    pub(crate) reason: String,
}

/// A queue that nobody waits at, bounded in bytes: a reader who is too slow for it is cut off.
#[derive(Clone)]
pub(crate) struct Queue {
    messages: mpsc::UnboundedSender<Outgoing>,
    waiting: Arc<Waiting>,
}

/// What waits in a queue.
pub(crate) struct Waiting {
    /// Bytes that may wait for a reader before a further message is added (self-host.md 9.3).
    limit: Limit,
    bytes: AtomicUsize,
    cut: AtomicBool,
    /// Told when the reader is cut off.
    pub(crate) is_cut: Notify,
}

impl Queue {
    /// Adds a text. Nothing is added for a reader who has been cut off.
    pub(crate) fn text(&self, text: String) {
        if self.waiting.bytes.load(Ordering::Relaxed) > self.waiting.limit.get() {
            self.waiting.cut.store(true, Ordering::Relaxed);
            self.waiting.is_cut.notify_one();
        }
        if self.waiting.cut.load(Ordering::Relaxed) {
            return;
        }
        self.waiting.bytes.fetch_add(text.len(), Ordering::Relaxed);
        // The connection may have ended already.
        let _ = self.messages.send(Outgoing::Text(Said::new(text)));
    }

    /// Adds the end.
    pub(crate) fn close(&self, frame: CloseFrame) {
        let _ = self.messages.send(Outgoing::Close(frame));
    }
}

/// The connection's ends of a socket.
pub(crate) struct SocketEnds {
    /// Where frames go to.
    pub(crate) frames: FrameSender,
    /// What comes from the graph.
    pub(crate) messages: mpsc::UnboundedReceiver<Outgoing>,
    /// To say something without the graph: the answer to a raw `ping`.
    pub(crate) queue: Queue,
    /// What waits to be sent.
    pub(crate) waiting: Arc<Waiting>,
    /// Whose socket it is, for whoever asks how far it has come.
    pub(crate) device: Arc<Present>,
    /// Tells the graph how it ended; dropping it does too.
    pub(crate) end: oneshot::Sender<CloseFrame>,
}

impl Waiting {
    /// A message was written.
    pub(crate) fn written(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Sends frames to a graph, once there is room for them.
pub(crate) struct FrameSender {
    room: Arc<Semaphore>,
    frames: mpsc::UnboundedSender<(OwnedFrame, OwnedSemaphorePermit)>,
}

impl FrameSender {
    /// Sends a frame. False: the graph does not listen any more.
    pub(crate) async fn send(&self, frame: OwnedFrame) -> bool {
        let bytes = match &frame {
            OwnedFrame::Text(text) => text.len(),
            OwnedFrame::Binary(bytes) => bytes.len(),
        };
        // An empty frame takes room too, so that their number has a bound.
        let wanted = u32::try_from(bytes).unwrap_or(WAITING_BYTES).saturating_add(64).min(WAITING_BYTES);
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(wanted) => room,
            () = self.frames.closed() => return false,
        };
        match room {
            Ok(room) => self.frames.send((frame, room)).is_ok(),
            Err(_) => false,
        }
    }
}

/// The graph's end of a socket.
pub(super) struct Socket {
    pub(super) number: u64,
    pub(super) holder: RefCell<Holder>,
    pub(super) graph_id: Option<String>,
    /// The stored token that it came with, by its id.
    pub(super) token: Option<String>,
    /// What is known of it beside the graph.
    pub(super) device: Arc<Present>,
    pub(super) queue: Queue,
    /// Its close was sent, or is about to be.
    pub(super) closing: Cell<bool>,
}

/// What the graph's task of a socket waits for.
pub(super) struct Arrivals {
    pub(super) frames: mpsc::UnboundedReceiver<(OwnedFrame, OwnedSemaphorePermit)>,
    pub(super) end: oneshot::Receiver<CloseFrame>,
}

/// A socket of somebody.
pub(super) fn pair(
    number: u64,
    holder: &Holder,
    graph_id: Option<&str>,
    token: Option<String>,
    device: Present,
    unread: &Limit,
) -> (Socket, Arrivals, SocketEnds) {
    let device = Arc::new(device);
    let (frames_in, frames) = mpsc::unbounded_channel();
    let (messages_in, messages) = mpsc::unbounded_channel();
    let (ended, end) = oneshot::channel();
    let waiting = Arc::new(Waiting {
        limit: unread.clone(),
        bytes: AtomicUsize::default(),
        cut: AtomicBool::default(),
        is_cut: Notify::default(),
    });
    let queue = Queue { messages: messages_in, waiting: Arc::clone(&waiting) };
    let socket = Socket {
        number,
        holder: RefCell::new(holder.clone()),
        graph_id: graph_id.map(str::to_owned),
        token,
        device: Arc::clone(&device),
        queue: queue.clone(),
        closing: Cell::new(false),
    };
    let frames_in = FrameSender { room: Arc::new(Semaphore::new(WAITING_BYTES as usize)), frames: frames_in };
    let ends = SocketEnds { frames: frames_in, messages, queue, waiting, device, end: ended };
    (socket, Arrivals { frames, end }, ends)
}

#[cfg(test)]
mod tests {
    use super::super::Devices;
    use super::*;

    const UNREAD_BYTES: usize = 16 << 20;

    fn ends() -> (Socket, Arrivals, SocketEnds) {
        let device = Devices::default().enter("g", &Holder::Operator, "", 0);
        pair(0, &Holder::Operator, None, None, device, &Limit::new(UNREAD_BYTES))
    }

    #[test]
    fn a_reader_who_is_too_slow_is_cut_off_and_one_long_message_is_not() {
        let (socket, _arrivals, mut ends) = ends();
        socket.queue.text("x".repeat(2 * UNREAD_BYTES));
        assert!(!ends.waiting.cut.load(Ordering::Relaxed), "one message may be of any length");
        socket.queue.text("y".to_owned());
        assert!(ends.waiting.cut.load(Ordering::Relaxed));
        assert!(matches!(ends.messages.try_recv(), Ok(Outgoing::Text(said)) if said.text.len() == 2 * UNREAD_BYTES));
        assert!(ends.messages.try_recv().is_err(), "nothing more was added");
    }

    #[test]
    fn a_reader_who_keeps_up_is_not() {
        let (socket, _arrivals, mut ends) = ends();
        for _ in 0..40 {
            socket.queue.text("x".repeat(1 << 20));
            let Ok(Outgoing::Text(said)) = ends.messages.try_recv() else { panic!("it was added") };
            ends.waiting.written(said.text.len());
        }
        assert!(!ends.waiting.cut.load(Ordering::Relaxed));
    }
}
