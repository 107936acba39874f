//! What the server tells others, and what it is from outside: Sentry, a path in its address, `server doctor`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::operator::{data, graph_with_pages};
use crate::support::{ADMIN, Server, TOKEN, binary};

/// A Sentry that takes everything: its address, and head and body of each request.
fn sentry() -> (u16, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, hears) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                // Ends when the server closes the connection, or the test ends.
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).unwrap_or_default() == 0 {
                            return;
                        }
                    }
                    let lower = head.to_lowercase();
                    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    let mut body = vec![0; length.trim().parse().unwrap()];
                    stream.read_exact(&mut body).unwrap();
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                    if told.send((head, String::from_utf8(body).unwrap())).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, hears)
}

#[test]
fn errors_and_a_share_of_requests_go_to_sentry() {
    let folder = tempfile::tempdir().unwrap();
    let (port, hears) = sentry();
    let dsn = format!("http://public-key@127.0.0.1:{port}/42");
    let mut server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let file = folder.path().join("graphs").join(&graph_id).join("db.sqlite");
    std::fs::write(&file, "no database, whatever it is called".repeat(300)).unwrap();
    let settings = [("SENTRY_DSN", &*dsn), ("SENTRY_TRACES_SAMPLE_RATE", "1"), ("SENTRY_RELEASE", "r1")];
    let server = Server::start(folder.path(), &settings);
    let (status, _) = server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "");
    assert!(status >= 500, "{status}");
    let (mut errors, mut transactions) = (0, 0);
    while errors == 0 || transactions == 0 {
        let (head, body) = hears.recv_timeout(Duration::from_mins(1)).unwrap();
        assert!(head.starts_with("POST /api/42/envelope/ ") && head.contains("sentry_key=public-key"), "{head}");
        assert!(!body.contains(TOKEN) && !body.contains(ADMIN), "{body}");
        let item: Value = serde_json::from_str(body.lines().nth(2).unwrap()).unwrap();
        assert_eq!((&item["release"], &item["environment"]), (&json!("r1"), &json!("self-host")));
        if item["exception"].is_null() { transactions += 1 } else { errors += 1 }
    }
    drop(server);
    let mut wrong = binary(folder.path());
    let output =
        wrong.args(["serve", "--check"]).env("SENTRY_DSN", "nowhere").env("DB_SYNC_AUTH_DRIVER", "none").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SENTRY_DSN (environment)"), "{output:?}");
}

#[test]
fn a_path_in_the_base_is_taken_off_and_put_into_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_BASE_URL", "https://home.example/notes/")]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    for path in ["/health", "/notes/health"] {
        assert_eq!(server.ask("GET", path, TOKEN, "").0, 200, "{path}");
    }
    assert_eq!(server.ask("GET", "/other/health", TOKEN, "").0, 404);
    let (status, told) = server.ask("GET", &format!("/notes/sync/{graph_id}/snapshot/download"), TOKEN, "");
    let url = told["url"].as_str().unwrap_or_default();
    assert!(status == 200 && url.starts_with(&format!("https://home.example/notes/sync/{graph_id}/")), "{told}");
    let (status, page) = server.ask_with("GET", "/notes/", &["accept: text/html"], "");
    assert!(status == 200 && page.contains("status/login"), "{page}");
}

#[test]
fn doctor_looks_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let home = folder.path().join("data");
    let server = Server::start(&home, &[]);
    let doctor = |more: &[(&str, &str)], arguments: &[&str]| -> Vec<Value> {
        let mut command = binary(&home);
        command.env("DB_SYNC_AUTH_DRIVER", "static").env("DB_SYNC_AUTH_TOKEN", TOKEN).envs(more.iter().copied());
        command.args(["server", "doctor", "--json"]).args(arguments);
        let told: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let told = if told["data"].is_null() { &told["error"] } else { &told["data"] };
        told["checks"].as_array().unwrap_or_else(|| panic!("{told}")).clone()
    };
    let of = |checks: &[Value], code: &str| -> Vec<(String, String)> {
        let of = checks.iter().filter(|check| check["code"] == code);
        of.map(|it| (it["level"].as_str().unwrap().to_owned(), it["message"].as_str().unwrap().to_owned())).collect()
    };
    let checks = doctor(&[], &["--base-url", &server.base()]);
    assert_eq!(of(&checks, "base-url"), [("ok".to_owned(), format!("{} is this server", server.base()))]);
    assert_eq!(of(&checks, "backup")[0].0, "warning", "{checks:?}");
    data(&home, &["backup", "--output", folder.path().join("backup").to_str().unwrap()]);
    let other = Server::start(&folder.path().join("other"), &[]);
    // A proxy that does not pass on what it does not know.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", proxy.local_addr().unwrap());
    let to = server.base().trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for stream in proxy.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let mut behind = std::net::TcpStream::connect(&to).unwrap();
            write!(behind, "{line}host: h\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            behind.read_to_end(&mut answer).unwrap();
            stream.get_mut().write_all(&answer).unwrap();
        }
    });
    let certificate = [("DB_SYNC_TLS_CERT", cert.to_str().unwrap()), ("DB_SYNC_TLS_KEY", key.to_str().unwrap())];
    let checks =
        doctor(&certificate, &["--base-url", &other.base(), "--base-url", &deaf, "--base-url", "http://127.0.0.1:1"]);
    let told = of(&checks, "base-url");
    for (at, expected) in ["is not this server", "sockets do not come through", "127.0.0.1:1"].iter().enumerate() {
        assert!(told[at].0 == "warning" && told[at].1.contains(expected), "{told:?}");
    }
    assert_eq!(of(&checks, "certificate")[0].0, "error");
    assert_eq!(of(&checks, "backup")[0].0, "ok");
}
