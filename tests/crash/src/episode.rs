//! A data directory and the servers that live and die on it, one after the other, under the same clients.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use simulation::Rng;

use crate::client::{Client, Round, locked};
use crate::keeper::Keeper;
use crate::ledger::{Copied, Ledger};
use crate::process::{Place, Process};
use crate::wire::{Gone, ask};
use crate::{Failure, Result, Totals, ensure, fail};

/// Graphs that clients share.
const GRAPHS: usize = 6;

/// How long clients may take to connect, and to write again once storage is well: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Graphs, and everybody who writes into them.
pub(crate) struct Episode {
    pub(crate) place: Place,
    pub(crate) rng: Rng,
    graphs: Vec<(String, Mutex<Ledger>)>,
    /// A copy of each graph.
    copies: Vec<Copied>,
    clients: Vec<Client>,
    keeper: Keeper,
    pub(crate) totals: Totals,
}

/// What becomes of a round.
pub(crate) enum Conduct<'a> {
    /// The server is killed.
    Kill(&'a mut Process),
    /// Something else is done to it; everybody writes all the while.
    Other(&'a dyn Fn(&Round) -> Result<()>),
}

fn gone(gone: Gone) -> Failure {
    gone.0
}

impl Episode {
    /// Makes the graphs on a server of its own, which is left running.
    pub(crate) fn begin(place: Place, mut rng: Rng, clients: usize) -> Result<(Self, Process, SocketAddr)> {
        let mut process = place.spawn()?;
        let address = process.ready()?;
        let mut graphs = Vec::new();
        for number in 0..GRAPHS {
            let body =
                json!({ "graph-name": format!("graph {number}"), "graph-e2ee?": false, "graph-ready-for-use?": true });
            let made = ask(address, "POST", "/graphs", body.to_string().as_bytes()).map_err(gone)?.json();
            let id = made["graph-id"].as_str().ok_or_else(|| format!("no graph: {made}"))?;
            graphs.push((id.to_owned(), Mutex::default()));
        }
        let keeper = Keeper::new(Rng::new(rng.next()), graphs.first().map_or("", |(id, _)| id));
        let clients = (0..clients).map(|name| Client::new(name, Rng::new(rng.next()))).collect();
        let copies = graphs.iter().map(|_| Copied::new()).collect::<Result<_>>()?;
        let episode = Self { place, rng, graphs, copies, clients, keeper, totals: Totals::default() };
        Ok((episode, process, address))
    }

    /// Everybody writes while this happens to the server.
    pub(crate) fn round(&mut self, address: SocketAddr, conduct: Conduct<'_>) -> Result<()> {
        let round = Round::default();
        let (graphs, clients, keeper, rng) = (&self.graphs, &mut self.clients, &mut self.keeper, &mut self.rng);
        let count = clients.len();
        std::thread::scope(|scope| {
            let round = &round;
            let mut writers = vec![scope.spawn(move || keeper.write(address, round))];
            for (client, (id, ledger)) in clients.iter_mut().zip(graphs.iter().cycle()) {
                writers.push(scope.spawn(move || client.write(address, id, ledger, round)));
            }
            let done = match conduct {
                Conduct::Kill(process) => kill(process, round, rng, count),
                Conduct::Other(conduct) => connected(round, count).and_then(|()| conduct(round)),
            };
            // Before anybody is waited for.
            round.over.store(true, Ordering::SeqCst);
            let ended = writers.into_iter().map(|writer| writer.join().map_err(|_| "a client panicked".to_owned())?);
            // What clients have seen says more than what the harness has.
            let failures: Vec<Failure> = ended.filter_map(Result::err).collect();
            if failures.is_empty() { done } else { Err(failures.join("; ")) }
        })?;
        self.totals.batches += round.batches.load(Ordering::SeqCst);
        self.totals.refused += round.refused.load(Ordering::SeqCst);
        Ok(())
    }

    /// Compares everything that was acknowledged or shown with what a server has.
    pub(crate) fn check(&mut self, address: SocketAddr) -> Result<()> {
        for ((id, ledger), copied) in self.graphs.iter().zip(&mut self.copies) {
            let look = |path: &str| ask(address, "GET", &format!("/sync/{id}{path}"), b"").map_err(gone);
            let pulled = look("/pull?since=0")?;
            ensure!(pulled.status == 200, "graph {id}: {} {}", pulled.status, pulled.json());
            let recomputed = look("/checksum/diagnostics")?.json()["checksum"].clone();
            let checked = locked(ledger).check(copied, &pulled.json(), &recomputed);
            checked.map_err(|failure| format!("graph {id}: {failure}"))?;
        }
        self.keeper.check(address)
    }

    /// Compares the rows of all graphs with their logs, and leaves the directory to the server's own verb.
    pub(crate) fn end(mut self, address: SocketAddr, mut process: Process) -> Result<Totals> {
        self.check(address)?;
        for ((id, ledger), copied) in self.graphs.iter().zip(&self.copies) {
            let rows = ask(address, "GET", &format!("/sync/{id}/snapshot/stream"), b"").map_err(gone)?;
            copied.replica.compare(&rows.body).map_err(|failure| format!("graph {id}: {failure}"))?;
            self.totals.transactions += locked(ledger).acknowledged() as u64;
        }
        process.kill()?;
        self.place.verify()?;
        let (graphs, files) = self.keeper.count();
        self.totals.graphs += graphs as u64;
        self.totals.files += files as u64;
        Ok(self.totals)
    }

    /// Starts another server on the directory, which must have thrown away what was half done.
    pub(crate) fn restart(&mut self) -> Result<(Process, SocketAddr)> {
        let mut process = self.place.spawn()?;
        let address = process.ready()?;
        let left = self.place.temporaries()?;
        ensure!(left.is_empty(), "left after a start: {left:?}");
        Ok((process, address))
    }

    /// Kills a server that is about to be ready.
    pub(crate) fn kill_a_start(&mut self) -> Result<()> {
        let mut process = self.place.spawn()?;
        std::thread::sleep(Duration::from_millis(self.rng.below(40) as u64));
        process.kill()
    }

    /// How many clients write.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }
}

/// Waits until all clients have a socket.
fn connected(round: &Round, clients: usize) -> Result<()> {
    until(|| round.connected.load(Ordering::SeqCst) >= clients, "not all clients could connect")
}

/// Waits for something that other threads bring about.
pub(crate) fn until(so: impl Fn() -> bool, otherwise: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !so() {
        ensure!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Kills a server at a random moment: while clients connect, while they write, or while it ends in order.
fn kill(process: &mut Process, round: &Round, rng: &mut Rng, clients: usize) -> Result<()> {
    let pause = |ms: usize| std::thread::sleep(Duration::from_millis(ms as u64));
    match rng.below(10) {
        0 => pause(rng.below(60)),
        1 => {
            connected(round, clients)?;
            pause(rng.below(100));
            round.killing.store(true, Ordering::SeqCst);
            process.terminate();
            pause(rng.below(60));
        }
        _ => {
            connected(round, clients)?;
            pause(rng.below(300));
        }
    }
    round.killing.store(true, Ordering::SeqCst);
    let ended = process.has_ended();
    ensure!(ended.is_none() || ended.as_deref() == Some("exit status: 0"), "the server ended by itself: {ended:?}");
    process.kill().map_err(fail)
}
