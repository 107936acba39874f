//! A client that writes as fast as it is let, follows the others, and finds back to the server after whatever happens to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use simulation::Rng;

use crate::ledger::Ledger;
use crate::wire::{Gone, Socket};
use crate::{Failure, Result};

/// How long a client waits before it tries again what storage refused.
const BREATHER: Duration = Duration::from_millis(20);

/// Most transactions of a batch.
const BATCH: usize = 4;

/// What clients and the harness tell each other during a round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Clients with an open socket.
    pub(crate) connected: AtomicUsize,
    /// From now on connections may be lost.
    pub(crate) killing: AtomicBool,
    /// System calls fail, or did lately: storage may refuse, and sockets be closed.
    pub(crate) failing: AtomicBool,
    /// Everybody is to end.
    pub(crate) over: AtomicBool,
    /// Acknowledged batches of the round.
    pub(crate) batches: AtomicU64,
    /// Answers that say that storage fails, and sockets that ended while it did.
    pub(crate) refused: AtomicU64,
    /// System calls go well again.
    pub(crate) healed: AtomicBool,
    /// Clients that were acknowledged something since then.
    pub(crate) well: AtomicUsize,
}

impl Round {
    fn may_lose(&self) -> bool {
        self.killing.load(Ordering::SeqCst) || self.failing.load(Ordering::SeqCst)
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An edit that was not acknowledged yet.
#[derive(Clone, Debug)]
struct Edit {
    id: String,
    /// A text that stands in this transaction and in none before it.
    mark: String,
    items: Value,
    operation: &'static str,
    /// The block that it makes.
    makes: Option<String>,
}

/// A client. It outlives the server's process.
#[derive(Debug)]
pub(crate) struct Client {
    name: usize,
    rng: Rng,
    t: i64,
    made: u64,
    page: Option<String>,
    blocks: Vec<String>,
    pending: Vec<Edit>,
    /// It was acknowledged something since system calls go well again.
    is_well: bool,
}

/// Why a client's connection ended.
enum Ended {
    /// It is gone.
    Gone(Gone),
    /// The server broke a promise.
    Failure(Failure),
}

impl From<Gone> for Ended {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Client {
    pub(crate) fn new(name: usize, rng: Rng) -> Self {
        Self { name, rng, t: 0, made: 0, page: None, blocks: Vec::new(), pending: Vec::new(), is_well: false }
    }

    /// Writes until the round is over or the server is gone; opens another socket where one is lost that may be.
    pub(crate) fn write(
        &mut self,
        address: SocketAddr,
        graph_id: &str,
        ledger: &Mutex<Ledger>,
        round: &Round,
    ) -> Result<()> {
        self.is_well = false;
        loop {
            let ended = match Socket::open(address, graph_id) {
                Ok(socket) => {
                    round.connected.fetch_add(1, Ordering::SeqCst);
                    self.converse(socket, ledger, round)
                }
                Err(gone) => Err(gone.into()),
            };
            let over = round.over.load(Ordering::SeqCst) || round.killing.load(Ordering::SeqCst);
            match ended {
                Ok(()) => return Ok(()),
                Err(Ended::Failure(failure)) => return Err(format!("client {}: {failure}", self.name)),
                Err(Ended::Gone(_)) if over => return Ok(()),
                Err(Ended::Gone(_)) if round.may_lose() => {
                    round.refused.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(BREATHER);
                }
                Err(Ended::Gone(gone)) => {
                    return Err(format!("client {}: the server ended a socket by itself: {}", self.name, gone.0));
                }
            }
        }
    }

    fn converse(&mut self, mut socket: Socket, ledger: &Mutex<Ledger>, round: &Round) -> Result<(), Ended> {
        let hello =
            socket.ask(&json!({ "type": "hello", "client": format!("client {}", self.name) }), &["hello", "error"])?;
        let Some(t) = hello["t"].as_i64() else { return refused(&hello, round) };
        if t < self.t {
            return Err(Ended::Failure(format!("the server is at {t}, and showed {}", self.t)));
        }
        self.pull(&mut socket, ledger, round)?;
        while !round.over.load(Ordering::SeqCst) {
            self.flush(&mut socket, ledger, round)?;
        }
        Ok(())
    }

    /// Follows the server.
    fn pull(&mut self, socket: &mut Socket, ledger: &Mutex<Ledger>, round: &Round) -> Result<(), Ended> {
        let pulled = socket.ask(&json!({ "type": "pull", "since": self.t }), &["pull/ok", "error"])?;
        let Some(rows) = pulled["txs"].as_array() else { return refused(&pulled, round) };
        for row in rows {
            let (t, tx) = (row["t"].as_i64().unwrap_or_default(), row["tx"].as_str().unwrap_or_default());
            if t != self.t + 1 {
                return Err(Ended::Failure(format!("pulled {t} after {}", self.t)));
            }
            locked(ledger).show(t, tx)?;
            self.t = t;
            // It was taken before the connection was lost, and the answer was lost with it.
            if self.pending.first().is_some_and(|edit| tx.contains(&edit.mark)) {
                self.settle(1);
            }
        }
        if pulled["t"] != self.t {
            return Err(Ended::Failure(format!("pulled to {} of {}", self.t, pulled["t"])));
        }
        Ok(())
    }

    /// Sends what is pending.
    fn flush(&mut self, socket: &mut Socket, ledger: &Mutex<Ledger>, round: &Round) -> Result<(), Ended> {
        if socket.told > self.t {
            self.pull(socket, ledger, round)?;
        }
        if self.pending.is_empty() {
            for _ in 0..=self.rng.below(BATCH) {
                let edit = self.edit();
                self.pending.push(edit);
            }
        }
        let entries: Vec<Value> = self
            .pending
            .iter()
            .map(|edit| json!({ "tx": edit.items.to_string(), "tx-id": edit.id, "outliner-op": edit.operation }))
            .collect();
        let batch = json!({ "type": "tx/batch", "t-before": self.t, "txs": entries });
        let answer = socket.ask(&batch, &["tx/batch/ok", "tx/reject", "error"])?;
        match (answer["type"].as_str(), answer["t"].as_i64()) {
            (Some("tx/batch/ok"), Some(t)) => {
                let count = self.pending.len();
                if i64::try_from(count).ok() != t.checked_sub(self.t) {
                    return Err(Ended::Failure(format!("{count} transactions from {} on led to {t}", self.t)));
                }
                locked(ledger).acknowledge(t, self.pending.iter().map(|edit| &*edit.mark))?;
                self.settle(count);
                round.batches.fetch_add(1, Ordering::SeqCst);
                if round.healed.load(Ordering::SeqCst) && !std::mem::replace(&mut self.is_well, true) {
                    round.well.fetch_add(1, Ordering::SeqCst);
                }
                self.pull(socket, ledger, round)
            }
            (Some("tx/reject"), Some(_)) if answer["reason"] == "stale" => self.pull(socket, ledger, round),
            _ => {
                refused(&answer, round)?;
                std::thread::sleep(BREATHER);
                self.pull(socket, ledger, round)
            }
        }
    }

    /// The first edits are taken.
    fn settle(&mut self, count: usize) {
        for edit in self.pending.drain(..count.min(self.pending.len())) {
            self.blocks.extend(edit.makes);
        }
    }

    fn edit(&mut self) -> Edit {
        self.made += 1;
        let (id, mark) = (self.rng.uuid().to_string(), format!("mark {} {}.", self.name, self.made));
        let add = |entity: &Value, attribute: &str, value: Value| {
            json!(["~:db/add", entity, format!("~:{attribute}"), value])
        };
        let reference = |uuid: &str| json!(["~:block/uuid", format!("~u{uuid}")]);
        let known = self.rng.pick(&self.blocks).cloned();
        if let Some(block) = known.filter(|_| self.rng.percent(30)) {
            let items = json!([add(&reference(&block), "block/title", json!(mark))]);
            return Edit { id, mark, items, operation: "save-block", makes: None };
        }
        let uuid = self.rng.uuid().to_string();
        let new = json!(uuid);
        let mut items = vec![
            add(&new, "block/uuid", json!(format!("~u{uuid}"))),
            add(&new, "block/title", json!(mark)),
            add(&new, "block/created-at", json!(1_755_000_000_000_i64)),
            add(&new, "block/updated-at", json!(1_755_000_000_000_i64)),
        ];
        let Some(page) = &self.page else {
            items.push(add(&new, "block/name", json!(mark)));
            self.page = Some(uuid);
            return Edit { id, mark, items: json!(items), operation: "create-page", makes: None };
        };
        items.push(add(&new, "block/parent", reference(page)));
        items.push(add(&new, "block/page", reference(page)));
        items.push(add(&new, "block/order", json!(format!("a{}V", self.rng.below(10)))));
        if self.rng.percent(5) {
            // Now and then one that fills pages of the file.
            items.push(add(&new, "block/title", json!(format!("{mark} {}", "x".repeat(self.rng.below(20_000))))));
        }
        Edit { id, mark, items: json!(items), operation: "insert-blocks", makes: Some(uuid) }
    }
}

/// What the server may say while its storage fails, and at no other time.
fn refused(answer: &Value, round: &Round) -> Result<(), Ended> {
    let known = match answer["type"].as_str() {
        Some("tx/reject") => matches!(answer["error-detail"].as_str(), Some("storage full" | "storage unavailable")),
        Some("error") => answer["message"] == "server error",
        _ => false,
    };
    if !known || !round.may_lose() {
        return Err(Ended::Failure(format!("the server answered {answer}")));
    }
    round.refused.fetch_add(1, Ordering::SeqCst);
    Ok(())
}
