//! What `cargo xtask serve` leaves behind, what it locks, and what it prints.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code, helpers included")]

use std::fs::Metadata;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use conformance::server::free_port;

const PATIENCE: Duration = Duration::from_mins(1);

/// The launcher over a folder. What it prints is kept.
fn launch(port: u16, data: &Path, settings: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "xtask", "--", "serve", "--port", &port.to_string(), "--data"])
        .arg(data)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Polls until the answer is yes.
fn await_that(what: &str, mut yes: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !yes() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status of a request; none if nobody answers.
fn ask(port: u16, path: &str, headers: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n").ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    std::str::from_utf8(&answer).ok()?.rsplit(' ').next()?.parse().ok()
}

fn await_health(port: u16) {
    await_that("the server answers", || ask(port, "/health", "") == Some(200));
}

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

/// The workerd that a launcher has started.
fn workerd_of(launcher: u32) -> u32 {
    let list = Command::new("ps").args(["-A", "-o", "pid=,ppid=,comm="]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let found = list.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (process, parent) = (words.next()?.parse().ok()?, words.next()?.parse::<u32>().ok()?);
        (parent == launcher && words.next()?.contains("workerd")).then_some(process)
    });
    found.unwrap_or_else(|| panic!("the launcher {launcher} has no workerd:\n{list}"))
}

/// The ports that a process listens on, read from Linux's /proc.
fn ports_of(process: u32) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let listening = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let port = u16::from_str_radix(address.rsplit(':').next()?, 16).ok()?;
        (*state == "0A" && sockets.iter().any(|socket| socket == inode)).then_some(port)
    });
    listening.collect()
}

/// The output of a process that ends by itself.
fn ended(mut child: Child) -> Output {
    await_that("the launcher ends", || child.try_wait().unwrap().is_some());
    child.wait_with_output().unwrap()
}

fn below(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let (path, meta) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, meta));
        }
    }
    found
}

#[test]
fn a_killed_launcher_takes_workerd_with_it() {
    let (data, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut launcher = launch(port, data.path(), &[]);
    await_health(port);
    signal("-KILL", launcher.id());
    launcher.wait().unwrap();
    await_that("nobody listens any more", || TcpStream::connect(("127.0.0.1", port)).is_err());
    // The folder is free again, whichever way the first launcher ended.
    let launcher = launch(port, data.path(), &[]);
    await_health(port);
    signal("-TERM", launcher.id());
    assert!(ended(launcher).status.success(), "asked to end, it ends well");
}

#[test]
fn a_dead_workerd_ends_the_launcher() {
    let (data, port) = (tempfile::tempdir().unwrap(), free_port());
    let launcher = launch(port, data.path(), &[]);
    await_health(port);
    signal("-KILL", workerd_of(launcher.id()));
    let output = ended(launcher);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("error: workerd has ended (SIGKILL)"), "{said}");
}

#[test]
fn a_folder_is_served_once_and_read_by_its_owner_only() {
    let (parent, port) = (tempfile::tempdir().unwrap(), free_port());
    let data = parent.path().join("new/data");
    let first = launch(port, &data, &[("DB_SYNC_ADMIN_TOKEN", "operator")]);
    await_health(port);

    let second = ended(launch(free_port(), &data, &[]));
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let sentence = "is served by another process: end it, or name another folder with --data";
    assert!(said.trim_end().ends_with(sentence) && said.trim_end().lines().count() == 1, "{said}");
    assert_eq!(ask(port, "/health", ""), Some(200), "the first goes on");

    // A graph creates its database with the first request to it; the index was created at the start.
    assert_eq!(ask(port, "/sync/g/pull", "x-db-sync-admin-token: operator\r\n"), Some(200));
    let files = below(&data);
    for folder in ["SyncDO", "D1"] {
        let is_database = |path: &Path| {
            path.extension().is_some_and(|end| end == "sqlite") && path.to_string_lossy().contains(folder)
        };
        assert!(files.iter().any(|(path, _)| is_database(path)), "no database of {folder} in {files:?}");
    }
    for (path, meta) in files.into_iter().chain([(data.clone(), data.metadata().unwrap())]) {
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{} is its owner's alone", path.display());
    }
    signal("-TERM", first.id());
    assert!(ended(first).status.success());
}

/// Waits until a launcher says the last line of its start. The port that it names, and all that it said.
fn ready(launcher: &mut Child) -> (u16, String) {
    let mut said = String::new();
    let mut port = None;
    for line in BufReader::new(launcher.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        said += &line;
        said.push('\n');
        if let Some(rest) = line.strip_prefix("==> Ready: http://127.0.0.1:") {
            port = rest.split_once(' ').and_then(|(port, _)| port.parse().ok());
        }
        if line.contains("stop with Ctrl-C") {
            break;
        }
    }
    (port.unwrap_or_else(|| panic!("no address was told:\n{said}")), said)
}

#[test]
fn a_start_says_who_may_come_in() {
    let first_lines = |settings: &[(&str, &str)]| {
        let data = tempfile::tempdir().unwrap();
        let mut launcher = launch(0, data.path(), settings);
        let (port, said) = ready(&mut launcher);
        let status = ask(port, "/health", "");
        signal("-TERM", launcher.id());
        assert!(ended(launcher).status.success());
        (status, said)
    };
    let (status, said) = first_lines(&[("DB_SYNC_AUTH_DRIVER", "Static"), ("DB_SYNC_AUTH_TOKEN", "do-not-print")]);
    assert_eq!(status, Some(200));
    assert!(said.contains("authentication: static token in DB_SYNC_AUTH_TOKEN"), "{said}");
    assert!(!said.contains("do-not-print"), "{said}");

    let lists = [
        ("DB_SYNC_AUTH_DRIVER", "none"),
        ("DB_SYNC_ALLOW_ORIGINS", "https://notes.example, https://wiki.example"),
        ("DB_SYNC_ALLOW_HOSTS", "nas.local"),
    ];
    let (status, said) = first_lines(&lists);
    assert_eq!(status, Some(200));
    assert!(said.contains("authentication: NONE, every request is user user"), "{said}");
    let pages = "web pages let in: loopback, Logseq's apps, https://notes.example, https://wiki.example; \
        host names: loopback, nas.local";
    assert!(said.contains(pages), "{said}");
}

/// What a start that fails says beside its steps, and that it never said to be ready.
fn refusal(port: u16, data: &Path, settings: &[(&str, &str)]) -> String {
    let output = ended(launch(port, data, settings));
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("Ready"), "it is not ready");
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().filter(|line| !line.starts_with("==> ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wrong_setting_stops_the_start_with_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    for (settings, sentence) in [
        (&[("DB_SYNC_AUTH_DRIVER", "Ldap")][..], "DB_SYNC_AUTH_DRIVER must be cognito, static or none, not \"ldap\""),
        (&[("DB_SYNC_AUTH_DRIVER", "static")], "DB_SYNC_AUTH_DRIVER=static needs DB_SYNC_AUTH_TOKEN"),
        (
            &[("DB_SYNC_LIMIT_USER_SOCKETS", "many")],
            "DB_SYNC_LIMIT_USER_SOCKETS must be a whole number above 0, not \"many\"",
        ),
        (
            &[("COGNITO_JWKS_URL", "keys.example")],
            "COGNITO_JWKS_URL must be an address such as https://keys.example/jwks.json, not \"keys.example\"",
        ),
        (
            &[("AGENTS_SERVICE_URL", "127.0.0.1:8788")],
            "AGENTS_SERVICE_URL must be an address such as http://127.0.0.1:8788, not \"127.0.0.1:8788\"",
        ),
    ] {
        assert_eq!(refusal(free_port(), data.path(), settings), format!("error: {sentence}"));
    }
}

#[test]
fn a_taken_port_is_told_in_one_line() {
    let (data, taken) = (tempfile::tempdir().unwrap(), TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let port = taken.local_addr().unwrap().port();
    let said = refusal(port, data.path(), &[]);
    assert_eq!(said, format!("error: port {port} of 127.0.0.1 is in use: choose another with --port"));
}

#[test]
fn a_free_port_is_chosen_and_told() {
    let data = tempfile::tempdir().unwrap();
    let mut launcher = launch(0, data.path(), &[]);
    let (port, _) = ready(&mut launcher);
    assert_eq!(ask(port, "/health", ""), Some(200));
    signal("-TERM", launcher.id());
    assert!(ended(launcher).status.success());
}

#[test]
fn no_header_from_outside_speaks_to_miniflare() {
    let (data, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut launcher = launch(port, data.path(), &[]);
    await_health(port);
    let own = ports_of(launcher.id());
    assert!(!own.is_empty(), "the launcher has a port of its own");
    for port in [&[port], &*own, &*ports_of(workerd_of(launcher.id()))].concat() {
        for header in [
            "MF-Custom-Node-Service: 0/x",
            "mf-custom-node-service: 0/x\r\nconnection: upgrade\r\nupgrade: websocket",
            "MF-Custom-Fetch-Service: 0/x",
            "MF-Custom-Fetch-Service: 0/x\r\nMF-Original-URL: http://localhost/core/error",
            "Origin: https://evil.example\r\nMF-Original-URL: http://localhost/core/log",
        ] {
            for path in ["/graphs", "/core/error"] {
                // The request is refused or cut off; the assertion is below.
                let status = ask(port, path, &format!("{header}\r\n"));
                assert!(!own.contains(&port) || status.is_none(), "{header}: {status:?}");
            }
        }
    }
    await_health(port);
    assert!(launcher.try_wait().unwrap().is_none(), "the launcher goes on");
    signal("-TERM", launcher.id());
    assert!(ended(launcher).status.success());
}

#[test]
fn without_authentication_strangers_are_kept_out() {
    let (data, port) = (tempfile::tempdir().unwrap(), free_port());
    let launcher = launch(port, data.path(), &[("DB_SYNC_AUTH_DRIVER", "none")]);
    await_health(port);
    let socket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask(port, "/graphs", ""), Some(200));
    assert_eq!(ask(port, "/graphs", "origin: lsp://logseq.com\r\n"), Some(200));
    assert_eq!(ask(port, "/graphs", "origin: https://evil.example\r\n"), Some(403));
    assert_eq!(ask(port, "/sync/g", &format!("{socket}origin: https://evil.example\r\n")), Some(403));
    assert_eq!(ask(port, "/sync/g", &format!("{socket}origin: null\r\n")), Some(403));
    // A host name that an attacker points at this address.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /graphs HTTP/1.1\r\nhost: rebound.example:{port}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("{\"error\":\"host not allowed\"}"), "{answer}");
    assert!(!answer.to_lowercase().contains("access-control-allow-origin"), "{answer}");
    signal("-TERM", launcher.id());
    assert!(ended(launcher).status.success());
}
