//! `logseq-sync health`: whether a server answers (self-host.md 3.4).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http::header::HOST;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::failure::{Failure, exit};
use super::output::Output;
use super::{Outcome, flags, pinned};
use crate::config::Config;
use crate::serve::Bind;
use crate::serve::client::{Client, plain};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the server of this machine is called by, under any of its addresses.
const OWN_NAME: &str = "localhost";

/// The verb.
pub(super) fn command() -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("the server, also as unix:/path; else the configured address on this machine, with its certificate");
    flags::of_keys(Command::new("health").about("Say whether the server answers"), KEYS).arg(url)
}

/// What says where the server of this machine listens.
const KEYS: &[&str] = &["port", "bind", "tls.cert", "tls.key"];

/// Who is asked.
enum Asked {
    /// Any server, whose certificate is one that the system trusts.
    Url(Uri),
    /// One that is configured here: where it listens, and its certificate.
    Own(Bind, Option<PathBuf>),
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let (name, asked) = match super::text(matches, "url") {
        Some(url) => named(&url)?,
        None => configured(&Config::new(&flags::resolve(matches)?)?)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("io", exit::IO, error))?;
    let status = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(asked)).await });
    match status {
        Ok(Ok(status)) if status.is_success() => {
            output.result(&json!({ "ok": true }), "ok");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ok(status)) => Err(Failure::new("unwell", exit::FAILED, format!("{name} answers {status}"))),
        Ok(Err(error)) => Err(Failure::new("unreachable", exit::FAILED, format!("{name}: {error}"))),
        Err(_) => Err(Failure::new("unreachable", exit::FAILED, format!("{name}: no answer in time"))),
    }
}

/// The server of a URL.
fn named(url: &str) -> Result<(String, Asked), Failure> {
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok((url.to_owned(), Asked::Own(Bind::Unix(path.into()), None)));
    }
    let base = url.trim_end_matches('/');
    let uri = format!("{base}/health").parse().map_err(|_| Failure::usage(format!("{base:?} is no address")))?;
    Ok((base.to_owned(), Asked::Url(uri)))
}

/// The server of the configuration.
fn configured(config: &Config) -> Result<(String, Asked), Failure> {
    let bind = nearest(&config.binds)
        .ok_or_else(|| Failure::usage("the port is any that is free: name the server with --url"))?;
    let certificate = config.tls.as_ref().map(|(cert, _)| cert.clone());
    Ok((bind.to_string(), Asked::Own(bind, certificate)))
}

/// The address by which this machine reaches a server that listens on all of these: loopback before any other, and a path where there is
/// nothing else. None where the port is not known.
fn nearest(binds: &[Bind]) -> Option<Bind> {
    let reached = |bind: &Bind| match bind {
        Bind::Tcp(address) if address.port() == 0 => None,
        // On all of IPv6 it serves IPv4, too.
        Bind::Tcp(address) if address.ip().is_unspecified() => {
            Some(Bind::Tcp((std::net::Ipv4Addr::LOCALHOST, address.port()).into()))
        }
        other => Some(other.clone()),
    };
    binds.iter().filter_map(reached).min_by_key(|bind| match bind {
        Bind::Tcp(address) => u8::from(!address.ip().is_loopback()),
        Bind::Unix(_) => 2,
    })
}

/// The status of the answer.
async fn ask(asked: Asked) -> Result<StatusCode, String> {
    let (bind, certificate) = match asked {
        Asked::Url(uri) => {
            let client: Client<Empty<Bytes>> = plain();
            return client.get(uri).await.map(|response| response.status()).map_err(|error| error.to_string());
        }
        Asked::Own(bind, certificate) => (bind, certificate),
    };
    let stream = match bind {
        Bind::Tcp(address) => TcpStream::connect(address).await.map(Either::Left),
        Bind::Unix(path) => UnixStream::connect(path).await.map(Either::Right),
    };
    let stream = stream.map_err(|error| error.to_string())?;
    match certificate {
        None => exchange(stream).await,
        Some(certificate) => exchange(encrypted(stream, &certificate).await?).await,
    }
}

/// The same connection, encrypted; at its other end is whoever has this certificate.
async fn encrypted<S>(stream: S, certificate: &Path) -> Result<TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let connector = pinned::connector(certificate)?;
    let name = OWN_NAME.try_into().map_err(|_| "no name for the certificate".to_owned())?;
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

async fn exchange<S>(stream: S) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::get("/health").header(HOST, OWN_NAME).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    // It ends with the runtime at the latest; how is told by the answer.
    tokio::spawn(connection);
    sender.send_request(request).await.map(|response| response.status()).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_where_this_machine_reaches_it() {
        let reached = |binds: &[&str]| {
            let of = |text: &&str| match text.strip_prefix("unix:") {
                Some(path) => Bind::Unix(path.into()),
                None => Bind::Tcp(text.parse().unwrap()),
            };
            nearest(&binds.iter().map(of).collect::<Vec<_>>()).map(|bind| bind.to_string())
        };
        let is = |binds: &[&str], expected: &str| assert_eq!(reached(binds).as_deref(), Some(expected), "{binds:?}");
        is(&["[::]:8080"], "127.0.0.1:8080");
        is(&["0.0.0.0:9"], "127.0.0.1:9");
        is(&["[::1]:9"], "[::1]:9");
        is(&["10.0.0.1:9"], "10.0.0.1:9");
        is(&["unix:/run/s", "10.0.0.1:9", "127.0.0.1:8"], "127.0.0.1:8");
        is(&["unix:/run/s"], "unix:/run/s");
        assert_eq!(reached(&["127.0.0.1:0"]), None);
    }
}
