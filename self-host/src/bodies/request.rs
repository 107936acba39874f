//! Bodies of requests: what the connection gives, read on whatever thread answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use web::{Failure, Payload, RequestBody};

/// Bytes of a refused body that are let in behind the answer, so that a sender who is still writing gets to read it.
const BEHIND_BYTES: u64 = 64 << 10;

/// What is said of a sender who has stopped.
const SILENCE: &str = "nothing came for too long";

/// How long that may take.
const BEHIND: Duration = Duration::from_secs(1);

/// The body of a request. The connection's own body is a channel of chunks, which may be read on another thread; it asks the
/// connection for the next chunk only when somebody waits for one, so TCP slows the sender.
pub(crate) struct NativeRequest {
    inner: Inner,
    /// How long the next bytes are waited for.
    patience: Duration,
    /// The sender writes its body only once it is told to go on.
    waits_for_continue: bool,
    /// Set when nothing came for so long.
    stalled: Arc<AtomicBool>,
}

enum Inner {
    /// Nothing is there: never was, given up, or taken.
    Gone,
    /// Nothing of it was read.
    Unread(Incoming),
    /// Bytes held in memory.
    Bytes(Vec<u8>),
    /// Being read.
    Read(Incoming),
}

impl NativeRequest {
    /// The body of a request that came in.
    pub(crate) fn incoming(body: Incoming, patience: Duration, waits_for_continue: bool) -> Self {
        let inner = if body.is_end_stream() { Inner::Gone } else { Inner::Unread(body) };
        Self { inner, patience, waits_for_continue, stalled: Arc::default() }
    }

    /// What is set when nothing comes of the body for too long.
    pub(crate) fn stalled(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stalled)
    }

    /// The body of a request that is sent on.
    pub(crate) fn of(payload: Payload<Self>, patience: Duration) -> Self {
        let inner = match payload {
            Payload::None => Inner::Gone,
            Payload::Bytes(bytes) => Inner::Bytes(bytes),
            Payload::Unread(body) => return body,
        };
        Self { inner, patience, waits_for_continue: false, stalled: Arc::default() }
    }

    /// The connection's body, or the bytes, for a client that sends it on.
    pub(crate) fn into_parts(self) -> (Option<Incoming>, Vec<u8>) {
        match self.inner {
            Inner::Gone => (None, Vec::new()),
            Inner::Unread(body) | Inner::Read(body) => (Some(body), Vec::new()),
            Inner::Bytes(bytes) => (None, bytes),
        }
    }

    fn give_up(&mut self) -> Option<Incoming> {
        match std::mem::replace(&mut self.inner, Inner::Gone) {
            Inner::Unread(body) | Inner::Read(body) => Some(body),
            Inner::Gone | Inner::Bytes(_) => None,
        }
    }
}

/// The next bytes of a connection's body, or none at its end.
async fn next(body: &mut Incoming, patience: Duration) -> Result<Option<Bytes>, Failure> {
    // Ends: what is no data is passed over, and there is at most one frame of trailers.
    loop {
        let frame = timeout(patience, body.frame()).await.map_err(|_| Failure(SILENCE.into()))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data()
                    && !bytes.is_empty()
                {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Takes in and throws away, up to a number of bytes.
async fn throw_away(mut body: Incoming, limit: u64, patience: Duration) {
    let mut left = limit;
    while let Ok(Some(bytes)) = next(&mut body, patience).await {
        match left.checked_sub(bytes.len() as u64) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl RequestBody for NativeRequest {
    fn is_empty(&self) -> bool {
        match &self.inner {
            Inner::Gone => true,
            Inner::Bytes(bytes) => bytes.is_empty(),
            Inner::Unread(_) | Inner::Read(_) => false,
        }
    }

    fn take(&mut self) -> Option<Self> {
        let inner = match std::mem::replace(&mut self.inner, Inner::Gone) {
            Inner::Read(body) => {
                self.inner = Inner::Read(body);
                return None;
            }
            inner => inner,
        };
        let stalled = Arc::clone(&self.stalled);
        Some(Self { inner, patience: self.patience, waits_for_continue: self.waits_for_continue, stalled })
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match std::mem::replace(&mut self.inner, Inner::Gone) {
            Inner::Gone => Ok(None),
            Inner::Bytes(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
            Inner::Unread(mut body) | Inner::Read(mut body) => {
                let bytes = next(&mut body, self.patience).await.inspect_err(|failure| {
                    if failure.0 == SILENCE {
                        self.stalled.store(true, Ordering::Relaxed);
                    }
                })?;
                self.inner = Inner::Read(body);
                Ok(bytes.map(Vec::from))
            }
        }
    }

    async fn cancel(&mut self) {
        // Reading would tell a sender to go on that waits to be told.
        if let Some(body) = self.give_up()
            && !self.waits_for_continue
        {
            tokio::task::spawn_local(timeout(BEHIND, throw_away(body, BEHIND_BYTES, BEHIND)));
        }
    }

    async fn discard(&mut self, limit: u64) {
        if let Some(body) = self.give_up()
            && !self.waits_for_continue
        {
            throw_away(body, limit, self.patience).await;
        }
    }
}
