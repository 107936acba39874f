//! A channel of chunks that is bounded in bytes, not in number: one chunk may hold a row of a megabyte, or a byte.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use web::Failure;

/// Bytes that may wait in one channel.
const ROOM: u32 = 256 << 10;

/// The end that gives.
pub(crate) struct ByteSender {
    room: Arc<Semaphore>,
    pieces: mpsc::UnboundedSender<Piece>,
}

/// The end that takes. Dropping it tells the other end that nobody reads any more.
pub(crate) struct ByteReceiver(mpsc::UnboundedReceiver<Piece>);

/// A chunk with the room that it takes, or why there are no more.
struct Piece {
    bytes: Result<Vec<u8>, Failure>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The receiver is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// A channel.
pub(crate) fn channel() -> (ByteSender, ByteReceiver) {
    let (pieces, taken) = mpsc::unbounded_channel();
    (ByteSender { room: Arc::new(Semaphore::new(ROOM as usize)), pieces }, ByteReceiver(taken))
}

impl ByteSender {
    /// Sends a chunk once there is room for it. One that is larger than all of the room waits until the channel is empty.
    pub(crate) async fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        let wanted = u32::try_from(bytes.len()).unwrap_or(ROOM).clamp(1, ROOM);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted);
        let room = tokio::select! {
            room = room => room.map_err(|_| Gone)?,
            () = self.pieces.closed() => return Err(Gone),
        };
        self.pieces.send(Piece { bytes: Ok(bytes), _room: Some(room) }).map_err(|_| Gone)
    }

    /// Says that the body breaks off here.
    pub(crate) fn fail(&self, failure: Failure) {
        // Nobody is told where nobody listens.
        let _ = self.pieces.send(Piece { bytes: Err(failure), _room: None });
    }
}

impl ByteReceiver {
    /// The next chunk, or none at the end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.bytes).transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    }

    async fn next(receiver: &mut ByteReceiver) -> Result<Option<Vec<u8>>, Failure> {
        poll_fn(|context| receiver.poll_next(context)).await
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        run(async {
            let (sender, mut receiver) = channel();
            sender.send(vec![0; ROOM as usize - 1]).await.unwrap();
            {
                let mut second = pin!(sender.send(vec![1; 2]));
                let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await;
                assert!(waits, "there is room for one byte only");
                next(&mut receiver).await.unwrap();
                second.await.unwrap();
            }
            assert_eq!(next(&mut receiver).await.unwrap(), Some(vec![1; 2]));
            sender.send(vec![2; 3 * ROOM as usize]).await.unwrap();
            drop(sender);
            assert_eq!(next(&mut receiver).await.unwrap().map(|bytes| bytes.len()), Some(3 * ROOM as usize));
            assert_eq!(next(&mut receiver).await.unwrap(), None);
        });
    }

    #[test]
    fn a_sender_learns_that_nobody_reads() {
        run(async {
            let (sender, receiver) = channel();
            sender.send(vec![0; ROOM as usize]).await.unwrap();
            drop(receiver);
            assert!(sender.send(vec![0; 1]).await.is_err());
        });
    }

    #[test]
    fn a_body_that_breaks_off_does_not_end() {
        run(async {
            let (sender, mut receiver) = channel();
            sender.fail(Failure("broken".into()));
            drop(sender);
            assert!(next(&mut receiver).await.is_err());
        });
    }
}
