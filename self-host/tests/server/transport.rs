//! Encrypted connections, and what a service manager is told.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

use super::support::{Server, TOKEN, binary};

/// A pair that signs itself.
pub(crate) fn pair(folder: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    (cert, key)
}

/// The status of `/health` over a connection that trusts this certificate alone.
fn health(server: &Server, cert: &Path) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, server.connect());
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn connections_are_encrypted_and_a_new_certificate_is_taken() {
    let data = tempfile::tempdir().unwrap();
    let (cert, key) = pair(data.path());
    let settings = [("DB_SYNC_TLS_CERT", cert.to_str().unwrap()), ("DB_SYNC_TLS_KEY", key.to_str().unwrap())];
    let server = Server::start(&data.path().join("data"), &settings);
    assert!(server.ready.contains("https://127.0.0.1:"), "{}", server.ready);
    assert_eq!(health(&server, &cert).unwrap(), "HTTP/1.1 200");
    let old = data.path().join("old.pem");
    std::fs::copy(&cert, &old).unwrap();
    pair(data.path());
    assert!(health(&server, &cert).is_err(), "still the old one");
    server.signal("HUP");
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while health(&server, &cert).is_err() {
        assert!(std::time::Instant::now() < until, "the new certificate is not served");
    }
    assert!(health(&server, &old).is_err());
}

/// Answers over one connection by HTTP/2, to requests with these paths: version, status and body.
fn over_h2(server: &Server, cert: &Path, paths: &[&str]) -> Vec<(String, u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = server.connect();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let stream =
            TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let shaken = http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for path in paths {
            let request = http::Request::get(format!("https://localhost{path}"));
            let request = request.header("authorization", format!("Bearer {TOKEN}")).body(Empty::new()).unwrap();
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            answers.push((format!("{:?}", head.version), head.status.as_u16(), body));
        }
        answers
    })
}

#[test]
fn a_client_that_names_http_2_gets_it() {
    let data = tempfile::tempdir().unwrap();
    let (cert, key) = pair(data.path());
    let settings = [("DB_SYNC_TLS_CERT", cert.to_str().unwrap()), ("DB_SYNC_TLS_KEY", key.to_str().unwrap())];
    let mut server = Server::start(&data.path().join("data"), &settings);
    let answers = over_h2(&server, &cert, &["/health", "/graphs", "/nowhere"]);
    assert_eq!(answers[0], ("HTTP/2.0".into(), 200, "{\"ok\":true}".into()));
    assert!(answers[1].1 == 200 && answers[1].2.starts_with("{\"graphs\":[]"), "{answers:?}");
    assert_eq!(answers[2].1, 404);
    assert_eq!(health(&server, &cert).unwrap(), "HTTP/1.1 200", "others get what they speak");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_key_that_everybody_may_read_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (cert, key) = pair(data.path());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let start = |more: &[(&str, &str)]| {
        let mut command = binary(&data.path().join("data"));
        command.args(["serve", "--bind", "127.0.0.1", "--port", "0"]).env("DB_SYNC_AUTH_DRIVER", "static");
        command.env("DB_SYNC_AUTH_TOKEN", TOKEN).envs(more.iter().copied()).output().unwrap().status.code()
    };
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    assert_eq!(start(&[("DB_SYNC_TLS_CERT", cert), ("DB_SYNC_TLS_KEY", key)]), Some(77));
    assert_eq!(start(&[("DB_SYNC_TLS_CERT", cert)]), Some(78), "half a pair");
}

#[test]
fn a_service_manager_hears_of_the_start_of_beats_and_of_the_end() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut text = [0; 1024];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut server = Server::start(&data.path().join("data"), &settings);
    assert!(server.ready.contains("\"owner\":\"service\""), "{}", server.ready);
    assert_eq!(hear(), format!("READY=1\nMAINPID={}\nSTATUS=serving", server.pid()));
    assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    server.signal("HUP");
    let heard: Vec<String> = std::iter::repeat_with(hear).filter(|text| text != "WATCHDOG=1").take(2).collect();
    assert!(heard[0].starts_with("RELOADING=1\nMONOTONIC_USEC=") && heard[1].starts_with("READY=1\n"), "{heard:?}");
    server.signal("TERM");
    let last = std::iter::repeat_with(hear).find(|text| text != "WATCHDOG=1").unwrap();
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert_eq!(server.wait(), Some(0));
}
