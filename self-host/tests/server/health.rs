//! `logseq-sync health`, which finds the server of its configuration (docs/spec/self-host.md 3.4).

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Server, TOKEN, binary};
use crate::transport::pair;

/// How `health` ends with these settings, and what it says.
fn health(folder: &Path, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = binary(folder).arg("health").envs(settings.iter().copied()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// The port that a server got, as a setting.
fn port(server: &Server) -> String {
    server.base().rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn the_configured_port_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let port = port(&server);
    assert_eq!(health(folder.path(), &[("DB_SYNC_PORT", &port)]), (Some(0), "ok\n".into()));
    assert_eq!(health(folder.path(), &[("DB_SYNC_PORT", &port), ("DB_SYNC_BIND", "::")]).0, Some(0));
    drop(server);
    assert_eq!(health(folder.path(), &[("DB_SYNC_PORT", &port)]).0, Some(1));
    assert_eq!(health(folder.path(), &[("DB_SYNC_PORT", "0")]).0, Some(2), "nobody knows which");
}

#[test]
fn with_a_certificate_its_server_is_asked_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair(folder.path());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&folder.path().join("data"), &[("DB_SYNC_TLS_CERT", cert), ("DB_SYNC_TLS_KEY", key)]);
    let port = port(&server);
    let ask = |cert: &str| {
        let settings = [("DB_SYNC_PORT", &*port), ("DB_SYNC_TLS_CERT", cert), ("DB_SYNC_TLS_KEY", key)];
        health(folder.path(), &settings)
    };
    assert_eq!(ask(cert), (Some(0), "ok\n".into()));
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (other, _) = pair(&other);
    assert_eq!(ask(other.to_str().unwrap()).0, Some(0), "it was written just now: the server takes it within a minute");
    let before = SystemTime::now() - Duration::from_hours(1);
    std::fs::File::options().write(true).open(&other).unwrap().set_modified(before).unwrap();
    let (code, said) = ask(other.to_str().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(health(folder.path(), &[("DB_SYNC_PORT", &port)]).0, Some(1), "it speaks otherwise");
}

#[test]
fn a_path_is_asked_where_there_is_no_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.sock");
    let bind = format!("unix:{}", path.display());
    let settings = [("DB_SYNC_BIND", &*bind), ("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", TOKEN)];
    let mut server = binary(folder.path());
    let mut server = server.arg("serve").envs(settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while health(folder.path(), &settings).0 != Some(0) {
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", health(folder.path(), &settings));
    }
    assert_eq!(binary(folder.path()).args(["health", "--url", &bind]).status().unwrap().code(), Some(0));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(health(folder.path(), &settings).0, Some(1));
}
