//! Addresses that the server listens on: its own, and those that a service manager has opened for it (self-host.md 3.4).

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use inherited::Activated;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::either::Either;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Whoever is in the group may connect: a proxy runs as another user.
const SOCKET_MODE: u32 = 0o660;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// An address.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that is listened on.
pub(crate) struct Listener {
    /// The socket.
    pub(super) socket: Either<TcpListener, UnixListener>,
    /// Connections are encrypted.
    pub(super) is_tls: bool,
}

/// The file of a Unix socket, which goes with this.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    is: Identity,
}

/// Which file it is: numbers are used again, so the time of its last change stands beside.
type Identity = (u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let meta = path.symlink_metadata()?;
    Ok((meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own there.
        if identity(&self.path).is_ok_and(|is| is == self.is) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What the server listens on.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Of clients.
    pub(super) public: Vec<Listener>,
    /// Of whoever reads the metrics there.
    pub(super) metrics: Option<Listener>,
    /// Files to remove at the end.
    pub(super) files: Vec<SocketFile>,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// An address.
    #[error("{bind}: {cause}")]
    Bind {
        /// Which.
        bind: Bind,
        /// Why not.
        cause: io::Error,
    },
    /// A descriptor of the service manager.
    #[error("descriptor {name:?} of the service manager: {why}")]
    Descriptor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Listeners {
    /// Those of the configuration, or those that a service manager has opened in their place.
    pub(crate) fn open(
        binds: &[Bind],
        metrics: Option<SocketAddr>,
        has_tls: bool,
        activated: Vec<Activated>,
    ) -> Result<Self, ListenError> {
        let mut listeners = Self::default();
        for Activated { descriptor, name } in activated {
            let listener = match &*name {
                "https" if !has_tls => {
                    return Err(ListenError::Descriptor { name, why: "there is no certificate: set tls.cert".into() });
                }
                "http" | "https" | "metrics" => taken(descriptor, name == "https"),
                _ => return Err(ListenError::Descriptor { name, why: "must be http, https or metrics".into() }),
            };
            let listener = listener.map_err(|why| ListenError::Descriptor { name: name.clone(), why })?;
            if name == "metrics" { listeners.metrics = Some(listener) } else { listeners.public.push(listener) }
        }
        if listeners.public.is_empty() {
            for bind in binds {
                let failed = |cause| ListenError::Bind { bind: bind.clone(), cause };
                let socket = match bind {
                    Bind::Tcp(address) => Either::Left(tcp(*address).map_err(failed)?),
                    Bind::Unix(path) => {
                        let (socket, file) = unix(path).map_err(failed)?;
                        listeners.files.push(file);
                        Either::Right(socket)
                    }
                };
                listeners.public.push(Listener { socket, is_tls: has_tls });
            }
        }
        if let (Some(address), None) = (metrics, &listeners.metrics) {
            let failed = |cause| ListenError::Bind { bind: Bind::Tcp(address), cause };
            listeners.metrics = Some(Listener { socket: Either::Left(tcp(address).map_err(failed)?), is_tls: false });
        }
        Ok(listeners)
    }
}

impl Listener {
    /// Another handle to the same socket.
    pub(super) fn again(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Either::Left(tcp) => Either::Left(tcp.try_clone()?),
            Either::Right(unix) => Either::Right(unix.try_clone()?),
        };
        Ok(Self { socket, is_tls: self.is_tls })
    }

    /// Its address as it is told, with the port that it got.
    pub(super) fn name(&self) -> io::Result<String> {
        Ok(match &self.socket {
            Either::Left(tcp) => {
                format!("{}://{}", if self.is_tls { "https" } else { "http" }, tcp.local_addr()?)
            }
            Either::Right(unix) => {
                let address = unix.local_addr()?;
                format!("unix:{}", address.as_pathname().unwrap_or(Path::new("?")).display())
            }
        })
    }
}

/// A descriptor as what it is.
fn taken(descriptor: OwnedFd, is_tls: bool) -> Result<Listener, String> {
    let socket = Socket::from(descriptor);
    let failed = |error: io::Error| format!("it is no socket: {error}");
    if socket.r#type().map_err(failed)? != Type::STREAM || !socket.is_listener().map_err(failed)? {
        return Err("it is no socket that listens for connections".into());
    }
    let domain = socket.domain().map_err(failed)?;
    let socket = if domain == Domain::UNIX {
        Either::Right(UnixListener::from(OwnedFd::from(socket)))
    } else {
        Either::Left(TcpListener::from(socket))
    };
    Ok(Listener { socket, is_tls })
}

/// A listener on an address. On all of IPv6 it serves IPv4, too.
fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A server that has just ended leaves connections behind that would be in the way.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listener at a path. A socket that nobody listens on was left by a crash; whatever else is there stays.
fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Ok(meta) = path.symlink_metadata() {
        let is_left = meta.file_type().is_socket()
            && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !is_left {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    let is = identity(path)?;
    Ok((listener, SocketFile { path: path.to_owned(), is }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_was_left_is_taken_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (first, file) = unix(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert_eq!(unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let (_second, newer) = unix(&path).unwrap();
        drop(file);
        assert!(path.exists(), "it is another one's by now");
        drop(newer);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(unix(&path).is_err() && path.is_file());
    }

    #[test]
    fn descriptors_take_the_place_of_addresses() {
        let given = |name: &str| Activated {
            descriptor: OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()),
            name: name.into(),
        };
        let binds = [Bind::Tcp("127.0.0.1:0".parse().unwrap())];
        let open = |given: Vec<Activated>, has_tls| Listeners::open(&binds, None, has_tls, given);
        let both = open(vec![given("http"), given("metrics")], false).unwrap();
        assert_eq!((both.public.len(), both.metrics.is_some()), (1, true));
        let own = open(vec![given("metrics")], false).unwrap();
        assert_eq!(own.public.len(), 1, "the metrics alone replace nothing else");
        assert!(open(vec![given("https")], true).unwrap().public[0].name().unwrap().starts_with("https://"));
        assert!(open(vec![given("https")], false).is_err() && open(vec![given("other")], true).is_err());
        let file = Activated { descriptor: std::fs::File::open("/dev/null").unwrap().into(), name: "http".into() };
        assert!(open(vec![file], false).is_err());
    }
}
