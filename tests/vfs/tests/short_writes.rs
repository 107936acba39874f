//! A graph whose files are written short at random points: nothing acknowledged is lost, whether it goes on or is opened again by
//! another process. `SHORT_WRITES` is the number of seeds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use database::local::Sql as _;
use database::local_sqlite::{Rusqlite, Synchronous};
use graph::sockets::{Effect, Frame, Message};
use graph::{Graph, Options};
use serde_json::{Value, json};
use simulation::{Replica, Rng};
use vfs::Fault;

/// Steps of a seed.
const STEPS: usize = 60;

struct Server {
    graph: Graph<Rusqlite>,
}

impl Server {
    fn open(path: &Path) -> Self {
        let sql = Rusqlite::open(path, Synchronous::Normal).unwrap();
        // Few enough that checkpoints of either kind come between the batches of a seed.
        let options = Options { journal_datoms: 60, cache_bytes: 1 << 16, ..Options::DEFAULT };
        Self { graph: Graph::new(sql, || 1_755_000_000_000, options) }
    }

    /// The answer to a batch; none where the server could not even say that it failed.
    fn batch(&mut self, t: i64, title: &str, uuid: &str) -> Option<Value> {
        let add = |attribute: &str, value: Value| json!(["~:db/add", uuid, format!("~:{attribute}"), value]);
        let items = json!([
            add("block/uuid", json!(format!("~u{uuid}"))),
            add("block/name", json!(title)),
            add("block/title", json!(title)),
        ]);
        let message = json!({
            "type": "tx/batch", "t-before": t,
            "txs": [{ "tx": items.to_string(), "tx-id": uuid, "outliner-op": "create-page" }],
        });
        let text = message.to_string();
        match self.graph.react(None, Message::parse(Frame::Text(&text))).effect {
            Effect::Reply(reply) | Effect::ReplyAndTell { reply, .. } => Some(serde_json::from_str(&reply).unwrap()),
            _ => None,
        }
    }

    /// All that was acknowledged is there, `t` is contiguous, and the checksum is that of the rows and that of the log.
    fn check(&mut self, acknowledged: &[String]) -> i64 {
        let mut log = Vec::new();
        let position = self.graph.position().unwrap();
        let read = self.graph.sql().query("SELECT t, tx FROM tx_log ORDER BY t", &[], &mut |row| {
            log.push((row.int(0)?.unwrap(), row.text(1)?.unwrap().into_owned()));
            Ok(ControlFlow::Continue(()))
        });
        read.unwrap();
        let mut replica = Replica::empty().unwrap();
        for ((t, tx), expected) in log.iter().zip(1..) {
            assert_eq!(*t, expected, "t is contiguous");
            replica.apply(tx).unwrap();
        }
        assert_eq!(i64::try_from(log.len()).unwrap(), position.t);
        for title in acknowledged {
            assert!(log.iter().any(|(_, tx)| tx.contains(title)), "{title} was acknowledged");
        }
        let mut diagnostics = self.graph.diagnostics().unwrap();
        let mut text = String::new();
        while self.graph.diagnostics_piece(&mut diagnostics, &mut text).unwrap() {}
        let recomputed: Value = serde_json::from_str(&text).unwrap();
        if let Some(checksum) = &position.checksum {
            assert_eq!(recomputed["checksum"], **checksum, "recomputed from the rows");
            assert_eq!(replica.checksum().unwrap(), *checksum, "made of the log");
        }
        position.t
    }
}

fn play(seed: u64) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let mut rng = Rng::new(seed);
    let mut server = Server::open(&path);
    let mut acknowledged = Vec::new();
    let (mut t, mut failed) = (server.check(&acknowledged), 0);
    for step in 0..STEPS {
        let part = u8::try_from(rng.below(100)).unwrap();
        let passes = u32::try_from(rng.below(12)).unwrap();
        match rng.below(4) {
            0 => vfs::arm(passes, Fault::Short { part, full: rng.percent(50) }),
            1 => vfs::arm(passes, Fault::Death { part }),
            _ => {}
        }
        // Words of 60 to 6,000 letters: from one page of the file to several.
        let title = format!("page {seed} {step} {}.", "x".repeat(60 + rng.below(10) * rng.below(600)));
        if let Some(answer) = server.batch(t, &title, &rng.uuid().to_string())
            && answer["type"] == "tx/batch/ok"
        {
            acknowledged.push(title);
        }
        if rng.percent(10) {
            // Both kinds: what the journal holds into the rows, and the log into the file. Either may fail.
            let _ = server.graph.checkpoint();
            let _ = server.graph.sql().execute("PRAGMA wal_checkpoint(TRUNCATE)", &[]);
        }
        let dies = rng.percent(30);
        if dies {
            drop(server);
            failed += usize::from(vfs::disarm());
            server = Server::open(&path);
        } else {
            failed += usize::from(vfs::disarm());
        }
        t = server.check(&acknowledged);
    }
    (acknowledged.len(), failed)
}

#[test]
fn what_is_written_short_loses_nothing_acknowledged() {
    vfs::install();
    let seeds = std::env::var("SHORT_WRITES").map_or(8, |seeds| seeds.parse().unwrap());
    let (mut acknowledged, mut failed) = (0, 0);
    for seed in 0..seeds {
        let played = std::panic::catch_unwind(|| play(seed));
        let (more, failures) = played.unwrap_or_else(|_| panic!("seed {seed}"));
        acknowledged += more;
        failed += failures;
    }
    println!("{seeds} seeds: {acknowledged} batches acknowledged, {failed} writes failed");
    let seeds = usize::try_from(seeds).unwrap();
    assert!(acknowledged > seeds * STEPS / 4 && failed > seeds * STEPS / 20, "{acknowledged} and {failed} of {seeds}");
}
