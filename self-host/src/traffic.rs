//! What passes through the server, counted for the metrics (self-host.md 4.2). All labels are of ours, so that their number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use auth::Refusal;
use graph::Tally;
use protocol::server::TYPES;

use crate::histogram::{Histogram, NUMBERS, SECONDS};

/// Types of messages of clients.
const RECEIVED: [&str; 7] = ["hello", "ping", "presence", "pull", "entity/pull", "tx/batch", "invalid"];

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// To a client.
    Download,
    /// From a client.
    Upload,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cargo {
    /// Rows of a graph.
    Snapshot,
    /// An asset.
    Asset,
}

/// Everything that is counted of it.
#[derive(Debug)]
pub(crate) struct Traffic {
    received: [AtomicU64; RECEIVED.len()],
    sent: [AtomicU64; TYPES.len()],
    /// Time from a commit to when others were told.
    pub(crate) broadcasts: Histogram,
    entries: Histogram,
    transactions: [AtomicU64; 4],
    transfers: Mutex<BTreeMap<(Cargo, Direction, bool), u64>>,
    bytes: [AtomicU64; 2],
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    /// By issuers, which the configuration names.
    fetches: Mutex<BTreeMap<(String, bool), u64>>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            received: Default::default(),
            sent: Default::default(),
            broadcasts: Histogram::new(SECONDS),
            entries: Histogram::new(NUMBERS),
            transactions: Default::default(),
            transfers: Mutex::default(),
            bytes: Default::default(),
            refusals: Mutex::default(),
            fetches: Mutex::default(),
        }
    }
}

fn add<K: Ord>(counts: &Mutex<BTreeMap<K, u64>>, key: K) {
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
}

fn bump(names: &[&str], counts: &[AtomicU64], name: &str) {
    if let Some(count) = names.iter().position(|known| *known == name).and_then(|place| counts.get(place)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// A client said something of a type; all others count as invalid.
    pub(crate) fn received(&self, kind: &str) {
        bump(&RECEIVED, &self.received, if RECEIVED.contains(&kind) { kind } else { "invalid" });
    }

    /// A client was told something.
    pub(crate) fn sent(&self, kind: &str) {
        bump(&TYPES, &self.sent, kind);
    }

    /// What became of transactions.
    pub(crate) fn transactions(&self, tally: &Tally) {
        for (count, more) in self.transactions.iter().zip([tally.ok, tally.stale, tally.rejected, tally.failed]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        if tally.ok > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch has few entries")]
            self.entries.add(tally.ok as f64);
        }
    }

    /// Something was carried, and whether all of it was.
    pub(crate) fn carried(&self, cargo: Cargo, direction: Direction, whole: bool) {
        add(&self.transfers, (cargo, direction, whole));
    }

    /// Bytes of snapshots and assets.
    pub(crate) fn bytes(&self, direction: Direction, bytes: u64) {
        let [down, up] = &self.bytes;
        match direction {
            Direction::Download => down.fetch_add(bytes, Ordering::Relaxed),
            Direction::Upload => up.fetch_add(bytes, Ordering::Relaxed),
        };
    }

    /// A token counted for nothing.
    pub(crate) fn refused(&self, why: Refusal) {
        add(&self.refusals, why.name());
    }

    /// An issuer was asked for its keys.
    pub(crate) fn fetched(&self, issuer: &str, good: bool) {
        add(&self.fetches, (issuer.to_owned(), good));
    }

    /// Its lines.
    pub(crate) fn write(&self, out: &mut String) {
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP logseq_sync_{name} {help}\n# TYPE logseq_sync_{name} {kind}");
        };
        head(out, "websocket_messages_total", "counter", "Messages over sockets.");
        let ways = [("in", &RECEIVED[..], &self.received[..]), ("out", &TYPES[..], &self.sent[..])];
        for (direction, names, counts) in ways {
            for (name, count) in names.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                let labels = format!("direction=\"{direction}\",type=\"{name}\"");
                let _ = writeln!(out, "logseq_sync_websocket_messages_total{{{labels}}} {count}");
            }
        }
        head(out, "transactions_total", "counter", "Transactions of clients.");
        for (result, count) in ["ok", "stale", "rejected", "failed"].iter().zip(&self.transactions) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "logseq_sync_transactions_total{{result=\"{result}\"}} {count}");
        }
        head(out, "commit_entries", "histogram", "Transactions that were committed together.");
        self.entries.write(out, "logseq_sync_commit_entries", "");
        head(out, "broadcast_delay_seconds", "histogram", "Time from a commit until another client was told.");
        self.broadcasts.write(out, "logseq_sync_broadcast_delay_seconds", "");
        let transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        for (cargo, name) in [(Cargo::Snapshot, "snapshot"), (Cargo::Asset, "asset")] {
            head(out, &format!("{name}_transfers_total"), "counter", "Downloads and uploads.");
            for ((_, direction, whole), count) in transfers.iter().filter(|((it, ..), _)| *it == cargo) {
                let result = if *whole { "ok" } else { "failed" };
                let labels = format!("direction=\"{}\",result=\"{result}\"", direction.name());
                let _ = writeln!(out, "logseq_sync_{name}_transfers_total{{{labels}}} {count}");
            }
        }
        drop(transfers);
        head(out, "transfer_bytes_total", "counter", "Bytes of snapshots and assets.");
        for (direction, count) in [Direction::Download, Direction::Upload].iter().zip(&self.bytes) {
            let (name, count) = (direction.name(), count.load(Ordering::Relaxed));
            let _ = writeln!(out, "logseq_sync_transfer_bytes_total{{direction=\"{name}\"}} {count}");
        }
        head(out, "auth_failures_total", "counter", "Tokens that counted for nothing.");
        for (reason, count) in &*self.refusals.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "logseq_sync_auth_failures_total{{reason=\"{reason}\"}} {count}");
        }
        head(out, "jwks_fetches_total", "counter", "Issuers that were asked for their keys.");
        for ((issuer, good), count) in &*self.fetches.lock().unwrap_or_else(PoisonError::into_inner) {
            let (issuer, result) = (label(issuer), if *good { "ok" } else { "failed" });
            let _ = writeln!(out, "logseq_sync_jwks_fetches_total{{issuer=\"{issuer}\",result=\"{result}\"}} {count}");
        }
    }
}

/// A text as the value of a label.
pub(crate) fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_passes_is_counted_under_names_of_ours() {
        let traffic = Traffic::default();
        traffic.received("pull");
        traffic.received("<made up>");
        traffic.sent("changed");
        traffic.sent("<made up>");
        traffic.transactions(&Tally { ok: 3, stale: 1, rejected: 0, failed: 0 });
        traffic.carried(Cargo::Asset, Direction::Upload, false);
        traffic.bytes(Direction::Download, 5);
        traffic.refused(Refusal::Expired);
        traffic.fetched("https://a\"b", true);
        let mut text = String::new();
        traffic.write(&mut text);
        for line in [
            "logseq_sync_websocket_messages_total{direction=\"in\",type=\"pull\"} 1",
            "logseq_sync_websocket_messages_total{direction=\"in\",type=\"invalid\"} 1",
            "logseq_sync_websocket_messages_total{direction=\"out\",type=\"changed\"} 1",
            "logseq_sync_transactions_total{result=\"ok\"} 3",
            "logseq_sync_transactions_total{result=\"stale\"} 1",
            "logseq_sync_commit_entries_bucket{le=\"5\"} 1",
            "logseq_sync_asset_transfers_total{direction=\"upload\",result=\"failed\"} 1",
            "logseq_sync_transfer_bytes_total{direction=\"download\"} 5",
            "logseq_sync_auth_failures_total{reason=\"expired\"} 1",
            "logseq_sync_jwks_fetches_total{issuer=\"https://a\\\"b\",result=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("made up"));
    }
}
