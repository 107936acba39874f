//! Bodies that are too long, from somebody and from nobody, and texts that somebody may take for code.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use attacks::{Bystander, sessions};
use conformance::Server;
use serde_json::json;

super::cases![huge_bodies_hold_nobody_up, names_are_never_code];

const HUGE: usize = 32 << 20;

fn huge_bodies_hold_nobody_up(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let other = Bystander::watch(server);
    let person = server.person("sender");
    let id = sessions::running(&person, None);
    let huge = vec![b' '; HUGE];
    let paths = [
        "/sessions".to_owned(),
        format!("/sessions/{id}/messages"),
        format!("/sessions/{id}/pr"),
        "/runners".to_owned(),
        "/runners/r/heartbeat".to_owned(),
        "/auth/chatgpt/import".to_owned(),
        format!("/sessions/{id}/approvals/x"),
    ];
    for path in &paths {
        person.send("POST", path, &[], Some(&huge)).error(413, "request too large");
        let at = Instant::now();
        // Nobody's body is not even taken in.
        let status = poured(&server.base, path, None);
        assert!(status == 401 || status == 0, "{path}: {status}");
        assert!(at.elapsed() < Duration::from_secs(5), "{path}: refused after {} ms", at.elapsed().as_millis());
    }
    // Of many at once two are heard out; the others may find the connection broken.
    std::thread::scope(|scope| {
        for path in paths.iter().cycle().take(14) {
            let (server, token) = (&server, person.token.as_deref());
            scope.spawn(move || {
                let status = poured(&server.base, path, token);
                assert!(status == 413 || status == 0, "{path}: {status}");
            });
        }
    });
    // What is long but allowed is taken: a message of 256 KiB, and no more.
    let long = |bytes: usize| json!({ "message": "x".repeat(bytes) });
    person.post(&format!("/sessions/{id}/messages"), &long(256 << 10)).status(200);
    person.post(&format!("/sessions/{id}/messages"), &long((256 << 10) + 1)).error(413, "message too large");
    bystander.is_content();
    other.is_content();
}

/// The status for a body that declares a gigabyte and is sent as long as the server listens; 0 when the connection breaks instead.
fn poured(base: &str, path: &str, token: Option<&str>) -> u16 {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("server listens");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("timeout");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{token}content-length: 1073741824\r\n\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    let piece = vec![b' '; 64 << 10];
    // As much as a known sender is heard out for, and no more.
    for _ in 0..HUGE / piece.len() {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    match std::io::Read::read_exact(&mut stream, &mut answer) {
        Ok(()) => std::str::from_utf8(&answer[9..]).ok().and_then(|status| status.parse().ok()).unwrap_or(0),
        Err(_) => 0,
    }
}

fn names_are_never_code(server: &Server) {
    let person = server.person("namer");
    let id = sessions::running(&person, None);
    for head in [
        "x;id",
        "$(id)",
        "`id`",
        "-f",
        "--force",
        "a..b",
        "HEAD",
        "@",
        "a b",
        "x\ny",
        "refs/heads/../x",
        "é",
        "a~b",
        "a.lock",
        "/a",
        "x'y\"z",
    ] {
        let answer = person.post(&format!("/sessions/{id}/pr"), &json!({ "head-branch": head }));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid head branch")), "{head:?}");
    }
    let before = sessions::events(&person, &id).len();
    // What is shown again is shown as it is: it is text, never markup or a further event.
    let text =
        "</script><script>alert(1)</script>\n\ndata: {\"type\":\"session.completed\"}\n\nid: 9\u{2028}\u{0}\u{7f}";
    person.post(&format!("/sessions/{id}/messages"), &json!({ "message": text })).status(200);
    let events = sessions::events(&person, &id);
    assert_eq!(events.len(), before + 1);
    assert_eq!(events[before]["data"]["message"], text);
    let stream = sessions::Stream::open(&person, &id).expect("a stream");
    let (shown, came) = stream.read_until("alert(1)", Duration::from_secs(10));
    assert!(came);
    let shown = String::from_utf8_lossy(&shown);
    assert!(!shown.lines().any(|line| line.starts_with("data: {\"type\":\"session.completed\"")), "{shown}");
}
