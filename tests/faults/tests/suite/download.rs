//! Downloads and pulls that break off.

use std::io::Read as _;
use std::io::Write as _;

use conformance::{Client, Server, frames, raw};
use faults::{Ledger, Order, Platform};

super::cases![a_download_that_breaks_off_does_not_look_whole, a_pull_that_breaks_off_is_no_json];

/// Everything that came of a response, its chunks not put together, and whether the connection ended in order.
fn received(client: &Client, path: &str) -> Vec<u8> {
    let mut stream = raw::connect(client);
    stream.write_all(raw::head(client, "GET", path, &[]).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    bytes
}

/// The body of a chunked answer as far as it goes.
fn body(bytes: &[u8]) -> Vec<u8> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
    let mut rest = &bytes[head..];
    let mut out = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size @ 1..) = size else { break };
        let from = line + 2;
        out.extend_from_slice(&rest[from..(from + size).min(rest.len())]);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
    out
}

/// Whether a client would take this for a whole download.
fn looks_whole(body: &[u8]) -> bool {
    let plain = if body.starts_with(&[0x1f, 0x8b]) {
        let Ok(plain) = std::panic::catch_unwind(|| frames::gunzip(body)) else { return false };
        plain
    } else {
        body.to_vec()
    };
    std::panic::catch_unwind(|| frames::rows(&plain)).is_ok()
}

fn a_download_that_breaks_off_does_not_look_whole(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    // Several frames.
    for _ in 0..4 {
        ledger.write(40);
    }
    let path = ledger.graph.path("/snapshot/stream");
    assert!(looks_whole(&body(&received(&ledger.graph.owner, &path))), "the measure itself");
    let mut broken = 0;
    for place in 0..20 {
        platform.clear();
        platform.order(&Order::fail("sql", "FROM kvs WHERE addr > ").of(&ledger.graph).skip(place));
        let bytes = received(&ledger.graph.owner, &path);
        let was_hit = platform.is_done();
        platform.clear();
        if !was_hit {
            break;
        }
        if bytes.starts_with(b"HTTP/1.1 200") {
            broken += 1;
            assert!(!looks_whole(&body(&bytes)), "statement {place}: an unfinished download like a finished one");
        }
    }
    assert!(broken > 0, "no download has broken off");
    ledger.prove();
}

fn a_pull_that_breaks_off_is_no_json(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    for _ in 0..4 {
        ledger.write(40);
    }
    for place in 0..20 {
        platform.clear();
        platform.order(&Order::fail("sql", "FROM tx_log WHERE t > ").of(&ledger.graph).skip(place));
        let bytes = received(&ledger.graph.owner, &ledger.graph.path("/pull?since=0"));
        let was_hit = platform.is_done();
        platform.clear();
        if !was_hit {
            break;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.starts_with("HTTP/1.1 200") || !text.contains("]}"), "statement {place}: {text}");
    }
    ledger.prove();
}
