//! Where connections come from, and the one loop that takes them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::listen::Listener;
use super::pulse::Turning;

/// How long to wait after the system gave no connection: most often there are too many open files.
pub(super) const BREATHER: Duration = Duration::from_millis(100);

/// A connection.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address; that of this machine where it came through a Unix socket.
    pub(crate) address: IpAddr,
    /// It came through a Unix socket.
    pub(crate) is_unix: bool,
    /// The connection is encrypted.
    pub(crate) is_tls: bool,
}

/// A listener on the runtime of this thread.
pub(super) enum Accepting {
    /// TCP, and whether connections are encrypted.
    Tcp(TcpListener, bool),
    /// A Unix socket, and whether they are.
    Unix(UnixListener, bool),
}

impl Accepting {
    /// The same listener as others may have, on this thread.
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        let is_tls = listener.is_tls;
        Ok(match listener.socket {
            Either::Left(tcp) => {
                tcp.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(tcp)?, is_tls)
            }
            Either::Right(unix) => {
                unix.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(unix)?, is_tls)
            }
        })
    }

    async fn next(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener, is_tls) => {
                let (stream, address) = listener.accept().await?;
                // Only costs time where the system does not know it.
                let _ = stream.set_nodelay(true);
                Ok((Either::Left(stream), Peer { address: address.ip(), is_unix: false, is_tls: *is_tls }))
            }
            Self::Unix(listener, is_tls) => {
                let (stream, _) = listener.accept().await?;
                let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                Ok((Either::Right(stream), Peer { address, is_unix: true, is_tls: *is_tls }))
            }
        }
    }
}

/// Takes connections until something comes about, and shows that it does. `take` begins what becomes of each; `failed` hears that the
/// system gave none.
pub(super) async fn accept(
    listener: &Accepting,
    mut turning: Turning,
    until: impl Future<Output = ()>,
    failed: impl Fn(&io::Error),
    mut take: impl FnMut(Stream, Peer),
) {
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = listener.next() => accepted,
            () = turning.turn() => continue,
            () = &mut until => return,
        };
        match accepted {
            Ok((stream, peer)) => take(stream, peer),
            Err(error) => {
                failed(&error);
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}
