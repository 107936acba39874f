//! The connection's end of a socket: frames to the graph, texts from it.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use graph::sockets::OwnedFrame;
use protocol::limits::MESSAGE_BYTES;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame as WireClose, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::graphs::{CloseFrame, FrameSender, Outgoing, Queue, Said, SocketEnds};
use crate::host::now_ms;
use crate::metrics::Metrics;

/// Bytes beyond a message's limit that are still read, so that the graph says itself that it is too long.
const BEYOND: usize = 64 << 10;

/// Memory that a socket has for reading while it is idle.
const READ_BUFFER: usize = 4 << 10;

/// How long the other end may take to answer the close of ours.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a reader who was too slow may take to read what was on its way, and with it that the socket is closed.
const CUT_PATIENCE: Duration = Duration::from_secs(10);

/// Why a socket is closed whose reader was too slow (self-host.md 9.3).
const TOO_SLOW: (u16, &str) = (1013, "too slow");

/// Messages that are put together before they are written.
const TOGETHER: usize = 64;

/// Where no close was seen (RFC 6455, 7.4.1): never sent, only told to the graph.
const ABNORMAL: u16 = 1006;

/// Serves a socket until either end has had enough.
pub(super) async fn run<I>(stream: I, ends: SocketEnds, ping: Duration, metrics: &Metrics)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .max_message_size(Some(MESSAGE_BYTES + BEYOND))
        .max_frame_size(Some(MESSAGE_BYTES + BEYOND));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let SocketEnds { frames, mut messages, queue, waiting, device, end } = ends;
    let heard = Cell::new(Instant::now());
    metrics.sockets.fetch_add(1, Ordering::Relaxed);
    let heard_one = || {
        heard.set(Instant::now());
    };
    let written = |said: &Passed| {
        waiting.written(said.bytes);
        metrics.traffic.sent(said.kind);
        if said.kind == "changed" {
            metrics.traffic.broadcasts.add(said.at.elapsed().as_secs_f64());
        }
        if let Some(t) = said.t {
            device.saw(t, now_ms());
        }
    };
    let pinged = || {
        metrics.traffic.received("ping");
        device.spoke(now_ms());
    };
    let ended = tokio::select! {
        ended = read(stream, &frames, &queue, heard_one, pinged) => ended,
        ended = write(sink, &mut messages, written, &heard, ping, &waiting.is_cut) => ended,
    };
    metrics.sockets.fetch_sub(1, Ordering::Relaxed);
    metrics.closed(ended.code);
    // The graph may be gone.
    let _ = end.send(ended);
}

fn close(code: u16, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: reason.to_owned() }
}

/// Hands frames to the graph, and reads on only while there is room for them there.
async fn read(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    frames: &FrameSender,
    queue: &Queue,
    heard: impl Fn(),
    pinged: impl Fn(),
) -> CloseFrame {
    let mut ended = None;
    loop {
        let message = stream.next().await;
        heard();
        let frame = match message {
            Some(Ok(Message::Text(text))) if text.as_str() == "ping" => {
                // A heartbeat keeps no graph busy.
                pinged();
                queue.text("pong".to_owned());
                continue;
            }
            Some(Ok(Message::Text(text))) => OwnedFrame::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => OwnedFrame::Binary(bytes.to_vec()),
            Some(Ok(Message::Close(frame))) => {
                let frame = frame.map(|frame| close(frame.code.into(), frame.reason.as_str()));
                // The answer is written as the stream is read to its end.
                ended = Some(frame.unwrap_or_else(|| close(1005, "")));
                continue;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            None => return ended.unwrap_or_else(|| close(ABNORMAL, "")),
            Some(Err(error)) => match refusal(&error) {
                Some(frame) if ended.is_none() => {
                    queue.close(frame);
                    // The other half ends it.
                    std::future::pending().await
                }
                _ => return ended.unwrap_or_else(|| close(ABNORMAL, "")),
            },
        };
        if !frames.send(frame).await {
            // The graph has said so, or is about to.
            std::future::pending::<()>().await;
        }
    }
}

/// How a socket is closed whose other end breaks the rules; none where the connection broke.
fn refusal(error: &Error) -> Option<CloseFrame> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(close(1009, "message too large")),
        Error::Utf8(_) => Some(close(1007, "invalid text")),
        Error::Protocol(_) => Some(close(1002, "protocol error")),
        _ => None,
    }
}

/// What was written of a message.
struct Passed {
    bytes: usize,
    kind: &'static str,
    t: Option<i64>,
    at: std::time::Instant,
}

/// Writes what the graph says, until the reader is found to be too slow for it.
async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    messages: &mut mpsc::UnboundedReceiver<Outgoing>,
    written: impl Fn(&Passed),
    heard: &Cell<Instant>,
    ping: Duration,
    is_cut: &Notify,
) -> CloseFrame {
    tokio::select! {
        ended = tell(&mut sink, messages, written, heard, ping) => return ended,
        () = is_cut.notified() => {}
    }
    // Nothing is added any more, and what waits is not written.
    messages.close();
    while messages.try_recv().is_ok() {}
    let (code, reason) = TOO_SLOW;
    let wire = WireClose { code: code.into(), reason: reason.into() };
    // It comes behind the message that is on its way.
    if let Ok(Ok(())) = timeout(CUT_PATIENCE, sink.send(Message::Close(Some(wire)))).await {
        // The other half ends as soon as the answer comes. Until then what comes is read: a connection that is closed before takes from its
        // other end what that has not read yet.
        sleep(CUT_PATIENCE).await;
    }
    close(code, reason)
}

/// Writes what the graph says, and asks now and then whether anybody is there.
async fn tell(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    messages: &mut mpsc::UnboundedReceiver<Outgoing>,
    written: impl Fn(&Passed),
    heard: &Cell<Instant>,
    ping: Duration,
) -> CloseFrame {
    let mut asking = interval(ping);
    asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    asking.reset();
    loop {
        let first = tokio::select! {
            message = messages.recv() => message,
            _ = asking.tick() => {
                // Two questions were not answered.
                if heard.get().elapsed() > ping * 2 + ping / 2 {
                    let (code, reason) = (CloseCode::Away, "no answer");
                    let frame = WireClose { code, reason: reason.into() };
                    // Whoever does not read it is not waited for.
                    let _ = timeout(CLOSE_PATIENCE, sink.send(Message::Close(Some(frame)))).await;
                    return close(code.into(), reason);
                }
                if sink.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return close(ABNORMAL, "");
                }
                continue;
            }
        };
        let mut next = first;
        // At most as many as are put together.
        let mut passed = Vec::new();
        while let Some(message) = next.take() {
            match message {
                Outgoing::Text(Said { text, kind, t, at }) => {
                    passed.push(Passed { bytes: text.len(), kind, t, at });
                    if sink.feed(Message::Text(text.into())).await.is_err() {
                        return close(ABNORMAL, "");
                    }
                }
                Outgoing::Close(frame) => {
                    let code = CloseCode::from(frame.code);
                    let wire = WireClose { code, reason: frame.reason.as_str().into() };
                    // The other half ends as soon as the answer comes.
                    if sink.send(Message::Close(Some(wire))).await.is_ok() {
                        sleep(CLOSE_PATIENCE).await;
                    }
                    return frame;
                }
            }
            if passed.len() < TOGETHER {
                next = messages.try_recv().ok();
            }
        }
        if passed.is_empty() || sink.flush().await.is_err() {
            // Without a message there will be none: the graph has gone.
            return close(ABNORMAL, "");
        }
        passed.iter().for_each(&written);
    }
}
