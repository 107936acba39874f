//! Kills the native server, or lets its system calls fail, at random points while many clients write, and proves each time that
//! nothing acknowledged is lost: every acknowledged transaction, graph and file is there, `t` is contiguous, the checksum is the
//! recomputed one, and clients agree (docs/spec/self-host.md 9).
#![expect(clippy::indexing_slicing, reason = "of JSON alone: a member that is not there is null")]

mod client;
mod episode;
mod faults;
mod keeper;
mod ledger;
mod process;
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use client::Round;
use episode::{Conduct, Episode};
use faults::Fault;
use process::Place;
use simulation::Rng;

/// Why a run fails.
pub(crate) type Failure = String;

/// Result of anything that may fail a run.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Fails the run unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// Any error as a failure of the run.
pub(crate) fn fail(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

const USAGE: &str = "usage: crash [--kills N] [--faults N] [--seed N] [--random] [--clients N] [--verbose]
Kills and faults of one data directory share a seed, which a failure names. LOGSEQ_SYNC names the binary.";

/// Kills, or faults, of one data directory: with the graphs grows what has to be compared each time.
const TOGETHER: u64 = 25;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) batches: u64,
    pub(crate) transactions: u64,
    pub(crate) graphs: u64,
    pub(crate) files: u64,
    pub(crate) refused: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.transactions += other.transactions;
        self.graphs += other.graphs;
        self.files += other.files;
        self.refused += other.refused;
    }
}

struct Options {
    kills: u64,
    faults: u64,
    seed: u64,
    clients: usize,
    verbose: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let played = play("kills", options.kills, &options, kills).and_then(|()| {
        // Other seeds than those of kills.
        play("faults", options.faults, &Options { seed: options.seed ^ (1 << 63), ..options }, failures)
    });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { kills: 20, faults: 0, seed: 0, clients: 24, verbose: false };
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().and_then(|text| text.parse::<u64>().ok()).ok_or(format!("{arg} takes a number"));
        match arg.as_str() {
            "--kills" => options.kills = number()?,
            "--faults" => options.faults = number()?,
            "--seed" => options.seed = number()?,
            "--random" => options.seed = u64::from(std::process::id()) << 16,
            "--clients" => options.clients = usize::try_from(number()?.max(1)).map_err(fail)?,
            "--verbose" => options.verbose = true,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

/// Plays data directories one after the other until there were so many kills or faults.
fn play(
    what: &str,
    count: u64,
    options: &Options,
    episode: fn(Place, Rng, u64, &Options) -> Result<Totals>,
) -> Result<()> {
    let begun = Instant::now();
    let mut totals = Totals::default();
    let mut done = 0;
    for seed in options.seed.. {
        let some = TOGETHER.min(count - done);
        if some == 0 {
            break;
        }
        let folder = tempfile::tempdir().map_err(fail)?;
        let place = Place { binary: process::binary(), folder: folder.path().to_owned() };
        match episode(place.clone(), Rng::new(seed), some, options) {
            Ok(more) => totals += more,
            Err(failure) => {
                let words = place.last_words();
                let kept = folder.keep();
                return Err(format!(
                    "{failure}\nagain with: --{what} {some} --seed {seed}\nthe server said last:\n{words}\nits data: {}",
                    kept.display()
                ));
            }
        }
        done += some;
    }
    if count > 0 {
        let Totals { batches, transactions, graphs, files, refused } = totals;
        println!(
            "{count} {what}, seeds from {} on, {} clients: {batches} batches of {transactions} transactions, {graphs} graphs and \
             {files} files acknowledged, all there; {refused} refused while storage failed; {} s",
            options.seed,
            options.clients,
            begun.elapsed().as_secs()
        );
    }
    Ok(())
}

/// So many servers on one directory, each of which is killed.
fn kills(place: Place, rng: Rng, count: u64, options: &Options) -> Result<Totals> {
    let (mut episode, mut process, mut address) = Episode::begin(place, rng, options.clients)?;
    for kill in 0..count {
        let told = |failure: Failure| format!("kill {kill}: {failure}");
        let begun = Instant::now();
        episode.round(address, Conduct::Kill(&mut process)).map_err(told)?;
        if episode.rng.percent(10) {
            episode.kill_a_start().map_err(told)?;
        }
        (process, address) = episode.restart().map_err(told)?;
        episode.check(address).map_err(|failure| format!("after kill {kill}: {failure}"))?;
        if options.verbose {
            println!("kill {kill}: {} ms, {} batches so far", begun.elapsed().as_millis(), episode.totals.batches);
        }
    }
    episode.end(address, process)
}

/// One directory whose server has system calls fail so many times. Now and then it is killed while they do.
fn failures(place: Place, rng: Rng, count: u64, options: &Options) -> Result<Totals> {
    let (mut episode, mut process, mut address) = Episode::begin(place, rng, options.clients)?;
    for number in 0..count {
        let fault = Fault::random(&mut episode.rng)?;
        let told = |failure: Failure| format!("fault {number}, {fault}: {failure}");
        let begun = Instant::now();
        let pause = Duration::from_millis(50 + episode.rng.below(500) as u64);
        let (pid, clients, dies) = (process.pid(), episode.clients(), episode.rng.percent(30));
        let conduct = |round: &Round| {
            if dies {
                faults::die(&fault, pid, pause, round)
            } else {
                faults::endure(&fault, pid, pause, clients, round)
            }
        };
        episode.round(address, Conduct::Other(&conduct)).map_err(told)?;
        if dies {
            process.kill().map_err(told)?;
            (process, address) = episode.restart().map_err(told)?;
        }
        let ended = process.has_ended();
        ensure!(ended.is_none(), "fault {number}, {fault}: the server ended by itself: {ended:?}");
        episode.check(address).map_err(|failure| format!("after fault {number}, {fault}: {failure}"))?;
        if options.verbose {
            println!("fault {number}, {fault}: {} ms, dies {dies}", begun.elapsed().as_millis());
        }
    }
    // Of so many, most fail what clients ask for.
    ensure!(count < 5 || episode.totals.refused > 0, "nothing failed");
    episode.end(address, process)
}
