//! Where a daemon answers its own routes, and a small client for it (docs/spec/daemon.md 4.4, 4.7).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::record::Record;
use crate::{Scope, files};

/// The longest path that a socket's address takes.
const LONGEST: usize = 107;

/// The largest answer that is read, in bytes.
const ANSWER: usize = 256 * 1024;

/// An address of a daemon's own routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket's path.
    Unix(PathBuf),
    /// An address of this machine.
    Loopback(SocketAddr),
}

impl Endpoint {
    /// Reads an address of metadata. `None` for any other: a token is sent there, and it goes to nobody but this machine.
    pub fn read(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return path.is_absolute().then_some(Self::Unix(path));
        }
        let address: SocketAddr = text.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
        address.ip().is_loopback().then_some(Self::Loopback(address))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "http://{address}"),
        }
    }
}

/// Binds the socket of a scope, for its owner only. To be called by who holds the lock: a socket that is there already was
/// left by a crash.
///
/// # Errors
///
/// What the system refuses.
pub fn bind(scope: &Scope) -> io::Result<UnixListener> {
    let path = scope.socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = Short::of(&path)?;
    // The socket's file has the mode that the mask leaves, and is reachable from the first moment on.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let bound = UnixListener::bind(&short.path);
    rustix::process::umask(mask);
    bound
}

/// A path that is short enough for a socket's address, as long as this lives.
struct Short {
    path: PathBuf,
    _folder: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut options = OpenOptions::new();
        let folder = options.read(true).custom_flags(nix::libc::O_PATH | nix::libc::O_DIRECTORY).open(folder)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        Ok(Self { path: short.join(path.file_name().unwrap_or_default()), _folder: Some(folder) })
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The token of a daemon's own routes, from the file that its metadata names. Only a file beside the metadata is read.
pub fn token(scope: &Scope, record: &Record) -> Option<String> {
    let plain = !record.token_file.is_empty() && !record.token_file.contains('/') && record.token_file != "..";
    let bytes = files::read(&scope.folder().join(plain.then_some(&record.token_file)?), 1024).ok()?;
    let token = String::from_utf8(bytes).ok()?.trim().to_owned();
    let usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then_some(token)
}

/// Sends one request and reads its answer, all within `limit`.
///
/// # Errors
///
/// When there is no answer, or none that can be read.
pub fn request(
    endpoint: &Endpoint,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &[u8],
    limit: Duration,
) -> io::Result<Answer> {
    let deadline = Instant::now() + limit;
    let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{bearer}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let sent = [head.as_bytes(), body].concat();
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = connect(path)?;
            exchange(&stream, &sent, deadline, |limit| {
                stream.set_read_timeout(Some(limit)).and(stream.set_write_timeout(Some(limit)))
            })
        }
        Endpoint::Loopback(address) => {
            let stream = TcpStream::connect_timeout(address, limit)?;
            exchange(&stream, &sent, deadline, |limit| {
                stream.set_read_timeout(Some(limit)).and(stream.set_write_timeout(Some(limit)))
            })
        }
    }
}

/// Connects without waiting: where a frozen daemon's queue of connections is full, a connect would wait for as long as it
/// is frozen.
///
/// # Errors
///
/// When nobody listens, or the queue is full.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(&short.path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn exchange<S>(
    stream: &S,
    sent: &[u8],
    deadline: Instant,
    set_limit: impl Fn(Duration) -> io::Result<()>,
) -> io::Result<Answer>
where
    for<'s> &'s S: io::Read + io::Write,
{
    let mut stream = stream;
    let rest = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        rest => Ok(rest),
    };
    set_limit(rest()?)?;
    stream.write_all(sent)?;
    let mut received = Vec::new();
    let mut piece = [0; 8192];
    // Bounded by the deadline and by the size of an answer.
    loop {
        if let Some(answer) = parse(&received, false)? {
            return Ok(answer);
        }
        set_limit(rest()?)?;
        let count = match stream.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        received.extend(piece.get(..count).unwrap_or_default());
        if received.len() > ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
        if count == 0 {
            let whole = parse(&received, true)?;
            return whole.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads an answer. `None` when something is missing. Without a length its body goes to the end of the connection.
fn parse(received: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    let odd = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(received).map_err(|error| odd(&error.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if header("transfer-encoding").is_some() {
        return Err(odd("an answer in chunks"));
    }
    let rest = received.get(length..).unwrap_or_default();
    let declared = match header("content-length") {
        Some(header) => {
            let declared = std::str::from_utf8(header.value).ok().and_then(|text| text.parse::<usize>().ok());
            Some(declared.ok_or_else(|| odd("content-length"))?)
        }
        None => None,
    };
    let body = match declared {
        Some(declared) => rest.get(..declared),
        None => ended.then_some(rest),
    };
    Ok(body.map(|body| Answer { status: head.code.unwrap_or(0), body: body.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_addresses_of_this_machine_are_read() {
        assert_eq!(Endpoint::read("unix:/run/x"), Some(Endpoint::Unix("/run/x".into())));
        assert!(matches!(Endpoint::read("http://127.0.0.1:9"), Some(Endpoint::Loopback(_))));
        assert!(matches!(Endpoint::read("http://[::1]:9"), Some(Endpoint::Loopback(_))));
        for text in ["unix:relative", "http://192.0.2.1:9", "https://127.0.0.1:9", "http://localhost:9", ""] {
            assert_eq!(Endpoint::read(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_read_with_and_without_a_length() {
        let parsed = |text: &str, ended| parse(text.as_bytes(), ended).map(|answer| answer.map(|answer| answer.body));
        assert_eq!(parsed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", false).unwrap(), None);
        assert_eq!(parsed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false).unwrap(), Some(b"{}".to_vec()));
        assert_eq!(parsed("HTTP/1.1 503 No\r\n\r\nx", false).unwrap(), None);
        assert_eq!(parsed("HTTP/1.1 503 No\r\n\r\nx", true).unwrap(), Some(b"x".to_vec()));
        for odd in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        ] {
            assert!(parsed(odd, true).is_err(), "{odd}");
        }
    }

    /// A data directory of 200 characters: its socket works, and is its owner's alone.
    #[test]
    fn a_long_path_has_a_socket_too() {
        let root = tempfile::tempdir().unwrap();
        let scope = Scope::new(&root.path().join("d".repeat(200)), None).unwrap();
        fs::create_dir(scope.directory()).unwrap();
        drop(bind(&scope).unwrap());
        // What the first one left is no obstacle.
        let listener = bind(&scope).unwrap();
        assert_eq!(fs::metadata(scope.socket()).unwrap().permissions().mode() & 0o777, 0o700);
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            String::from_utf8(asked[..count].to_vec()).unwrap()
        });
        let endpoint = Endpoint::Unix(scope.socket());
        let answer = request(&endpoint, "POST", "/shutdown", Some("t"), b"{}", Duration::from_secs(5)).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"ok".to_vec() });
        let asked = served.join().unwrap();
        assert!(asked.starts_with("POST /shutdown HTTP/1.1\r\n") && asked.contains("Bearer t\r\n"));
    }

    /// A frozen daemon: connections wait in its queue, and then there is no room for more. Both end in time.
    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let scope = Scope::new(root.path(), None).unwrap();
        let _listener = bind(&scope).unwrap();
        let endpoint = Endpoint::Unix(scope.socket());
        let limit = Duration::from_millis(20);
        let started = Instant::now();
        let mut waiting = Vec::new();
        // The queue holds no more than this; each turn takes no time.
        for _ in 0..5000 {
            match connect(&scope.socket()) {
                Ok(stream) => waiting.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        assert!(request(&endpoint, "GET", "/healthz", None, b"", limit).is_err());
        waiting.truncate(1);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
