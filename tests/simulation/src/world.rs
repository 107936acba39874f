//! One seed, from its start until all clients agree.

use graph::faults;

use crate::base::{self, Base};
use crate::client::Client;
use crate::download::Download;
use crate::rng::Rng;
use crate::server::{POINTS, Server};
use crate::{Result, ensure, state};

/// What a seed did.
#[derive(Copy, Clone, Debug, Default)]
pub struct Stats {
    /// Seeds played.
    pub seeds: u64,
    /// Transactions in the log at the end.
    pub transactions: u64,
    /// Facts at the end.
    pub facts: usize,
    /// Times the server died.
    pub deaths: u32,
    /// Snapshots downloaded.
    pub downloads: u32,
    /// Batches refused as stale.
    pub stale: u32,
    /// Batches refused for one of their entries.
    pub rejected: u32,
}

struct World {
    rng: Rng,
    kind: Base,
    server: Server,
    clients: Vec<Client>,
    download: Option<Download>,
    stats: Stats,
    trace: bool,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.transactions += other.transactions;
        self.facts += other.facts;
        self.deaths += other.deaths;
        self.downloads += other.downloads;
        self.stale += other.stale;
        self.rejected += other.rejected;
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seeds, transactions, facts, deaths, downloads, stale, rejected } = self;
        write!(
            f,
            "{seeds} seeds: {transactions} transactions, {stale} batches stale, {rejected} rejected, {deaths} deaths of \
             the server, {downloads} downloads, {facts} facts that all agree on"
        )
    }
}

/// Plays a seed. With `trace`, every step is printed.
pub fn run(seed: u64, trace: bool) -> Result<Stats> {
    faults::disarm();
    let mut rng = Rng::new(seed);
    let kind = if rng.percent(30) { Base::Logseq } else { Base::Empty };
    // Small caches load and evict all the time.
    let cache_bytes = [1 << 12, 1 << 16, 24 << 20].get(rng.below(3)).copied().unwrap_or(1 << 16);
    // From a checkpoint with nearly each batch to one that comes when the server is idle.
    let journal_datoms = [8, 60, 300, 1024].get(rng.below(4)).copied().unwrap_or(60);
    let server = Server::new(kind, cache_bytes, journal_datoms)?;
    let mut clients = Vec::new();
    for name in 0..2 + rng.below(3) {
        clients.push(Client::new(name, kind, base::db(kind)?, 0));
    }
    let steps = 40 + rng.below(120);
    let mut world =
        World { rng, kind, server, clients, download: None, stats: Stats { seeds: 1, ..Stats::default() }, trace };
    for step in 0..steps {
        world.step(step).map_err(|failure| format!("step {step}: {failure}"))?;
        if world.server.deaths > world.stats.deaths {
            world.died();
        }
    }
    world.settle()?;
    Ok(world.stats)
}

impl World {
    fn step(&mut self, step: usize) -> Result<()> {
        let at = self.rng.below(self.clients.len());
        let action = self.rng.below(100);
        if self.trace {
            let (t, online) = self.clients.get(at).map_or((0, false), |client| (client.t, client.online));
            eprintln!("step {step}: action {action} of client {at} (t {t}, online {online})");
        }
        if self.download.is_some() && self.rng.percent(30) {
            self.download()?;
        }
        if action >= 94 {
            return self.happen(action);
        }
        let Some(client) = self.clients.get_mut(at) else { return Ok(()) };
        match action {
            0..50 => client.edit(&mut self.rng),
            50..60 if client.online => {
                client.online = false;
                Ok(())
            }
            50..75 if !client.online => client.connect(&mut self.server),
            60..65 if client.behind => client.pull(&mut self.server),
            91..94 if client.online => client.send_stale(&mut self.server, &mut self.rng),
            60..94 if client.online => self.flush(at),
            _ => Ok(()),
        }
    }

    /// What happens to the server.
    fn happen(&mut self, action: usize) -> Result<()> {
        match action {
            94 => self.server.restart()?,
            95 => drop(self.server.rest()?),
            96..98 => {
                let point = self.rng.pick(&POINTS).copied();
                let passes = u32::try_from(self.rng.below(2)).unwrap_or(0);
                if let Some(point) = point {
                    faults::arm(point, passes);
                }
            }
            _ => self.download()?,
        }
        Ok(())
    }

    /// Begins a download or takes its next piece.
    fn download(&mut self) -> Result<()> {
        match self.download.take() {
            Some(download) => match download.go_on(&mut self.server, self.clients.len(), self.kind)? {
                Ok(client) => {
                    self.stats.downloads += 1;
                    self.clients.push(client);
                }
                Err(download) => self.download = Some(download),
            },
            None => self.download = Download::begin(&mut self.server)?,
        }
        Ok(())
    }

    /// Connections and streams end with the server.
    fn died(&mut self) {
        self.stats.deaths = self.server.deaths;
        self.download = None;
        for client in &mut self.clients {
            client.online = false;
        }
    }

    fn flush(&mut self, at: usize) -> Result<()> {
        let lost = self.rng.percent(5);
        let Some(client) = self.clients.get_mut(at) else { return Ok(()) };
        let changed = client.flush(&mut self.server, &mut self.rng, lost)?;
        if changed.is_some() {
            for (other, client) in self.clients.iter_mut().enumerate() {
                client.behind |= other != at && client.online;
            }
        }
        Ok(())
    }

    /// All clients come online and send their pending edits; then all must agree.
    fn settle(&mut self) -> Result<()> {
        faults::disarm();
        self.download = None;
        for round in 0.. {
            ensure!(round < 1000, "clients never come to rest");
            let mut moved = false;
            for client in &mut self.clients {
                client.connect(&mut self.server)?;
                if client.has_pending() {
                    moved = true;
                    if self.trace {
                        eprintln!("round {round}: {client:?}");
                    }
                    client.flush(&mut self.server, &mut self.rng, false)?;
                }
            }
            if !moved {
                break;
            }
        }
        self.server.check()?;
        self.server.rest()?;
        let facts = self.server.check_facts()?;
        for (name, client) in self.clients.iter_mut().enumerate() {
            client.connect(&mut self.server)?;
            if let Some(difference) = state::difference(&state::facts(&client.copy)?, &facts) {
                return Err(format!("client {name} and server: {difference}"));
            }
            self.stats.transactions = u64::try_from(client.t).unwrap_or(0);
            self.stats.stale += client.refused.0;
            self.stats.rejected += client.refused.1;
        }
        self.stats.facts = facts.len();
        Ok(())
    }
}
