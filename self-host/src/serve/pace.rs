//! How long a connection over HTTP/1.1 may take (self-host.md 9.3): for the head of a request, and between two requests. Hyper has
//! one limit for both, and closes without a word.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The answer to a head that did not come in time.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\
    connection: close\r\n\r\n{\"error\":\"request timeout\"}";

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    Fresh,
    /// The head of a request is coming.
    Head,
    /// A request is answered.
    Busy,
    /// The last request was answered, and the next one is waited for.
    Waiting,
    /// It is no HTTP any more.
    Free,
}

/// What the connection and its requests know of it.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Mutex<(State, Instant)>>);

impl Pace {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((State::Fresh, Instant::now()))))
    }

    fn state(&self) -> MutexGuard<'_, (State, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is answered for as long as this lives.
    pub(super) fn begin(&self) -> Busy {
        *self.state() = (State::Busy, Instant::now());
        Busy(self.clone())
    }

    /// The connection becomes a socket, with limits of its own.
    pub(super) fn free(&self) {
        self.state().0 = State::Free;
    }
}

/// A request that is answered.
#[derive(Debug)]
pub(crate) struct Busy(Pace);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.0 == State::Busy {
            *state = (State::Waiting, Instant::now());
        }
    }
}

/// A stream whose reads end when its client takes too long.
pub(super) struct Paced<I> {
    stream: I,
    pace: Pace,
    head: Duration,
    keep_alive: Duration,
    sleep: Pin<Box<Sleep>>,
    /// What is still to be written of the answer to a head that came too late.
    late: Option<&'static [u8]>,
}

impl<I> Paced<I> {
    /// A stream whose client has so long for the head of a request, and between two of them.
    pub(super) fn new(stream: I, head: Duration, keep_alive: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(head));
        Self { stream, pace: Pace::new(), head, keep_alive, sleep, late: None }
    }

    /// What requests tell it.
    pub(super) fn pace(&self) -> Pace {
        self.pace.clone()
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.late.is_none() {
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(context, buffer) {
                Poll::Ready(read) => {
                    let mut state = this.pace.state();
                    if buffer.filled().len() > before && matches!(state.0, State::Fresh | State::Waiting) {
                        let since = if state.0 == State::Fresh { state.1 } else { Instant::now() };
                        *state = (State::Head, since);
                    }
                    return Poll::Ready(read);
                }
                Poll::Pending => {}
            }
            let (state, since) = *this.pace.state();
            let limit = match state {
                State::Busy | State::Free => return Poll::Pending,
                State::Fresh | State::Head => this.head,
                State::Waiting => this.keep_alive,
            };
            if this.sleep.deadline() != since + limit {
                this.sleep.as_mut().reset(since + limit);
            }
            ready!(this.sleep.as_mut().poll(context));
            // Whoever never said anything, or nothing more, hears nothing.
            this.late = Some(if state == State::Head { TOO_LATE } else { &[] });
        }
        // Ends: each round writes something, or it is given up.
        while let Some(rest) = this.late.filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, rest)).unwrap_or_default();
            this.late = Some(if written == 0 { &[] } else { rest.get(written..).unwrap_or_default() });
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_millis(20);
    const KEPT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_slow_head_is_told_and_silence_is_not() {
        for (said, answered) in [(&b"GET / HT"[..], TOO_LATE), (b"", b"")] {
            let (mut client, server) = duplex(1024);
            let mut paced = Paced::new(server, HEAD, 1000 * KEPT);
            client.write_all(said).await.unwrap();
            let begun = Instant::now();
            let mut heard = Vec::new();
            paced.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, said);
            assert!(begun.elapsed() >= HEAD);
            drop(paced);
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.unwrap();
            assert_eq!(told, answered);
        }
    }

    #[tokio::test]
    async fn a_request_takes_what_it_takes_and_then_the_next_one_is_waited_for() {
        let (mut client, server) = duplex(1024);
        let mut paced = Paced::new(server, 1000 * HEAD, KEPT);
        client.write_all(b"GET").await.unwrap();
        let mut some = [0; 3];
        paced.read_exact(&mut some).await.unwrap();
        let busy = paced.pace().begin();
        let late = tokio::time::timeout(LONG, paced.read_u8()).await;
        assert!(late.is_err(), "no limit is set to an answer");
        drop(busy);
        let begun = Instant::now();
        assert!(paced.read_u8().await.is_err());
        assert!(begun.elapsed() >= KEPT / 2);
    }

    #[tokio::test]
    async fn a_socket_is_not_paced() {
        let (_client, server) = duplex(1024);
        let mut paced = Paced::new(server, HEAD, KEPT);
        let busy = paced.pace().begin();
        paced.pace().free();
        drop(busy);
        assert!(tokio::time::timeout(LONG, paced.read_u8()).await.is_err());
    }
}
