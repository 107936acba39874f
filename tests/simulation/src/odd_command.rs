//! `simulation odd`: random graphs of odd facts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use simulation::odd::{self, Options, Summary};

const USAGE: &str = "\
usage: simulation odd [--graphs N] [--from N] [--graph N] [--random] [--threads N] [--told] [--no-reader] [--trace]
                      [--without CHECK[,CHECK…]] [--keep N] [--failures FOLDER] | --replay FILE…";

/// Plays the graphs, or the plans, that the arguments name.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let start = Instant::now();
    match parse(args).and_then(|command| command.run()) {
        Ok(summary) => {
            println!("{}, {:.1} s", summary.stats, start.elapsed().as_secs_f64());
            println!("{} passed, {} failed", summary.stats.graphs, summary.failed);
            if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Command {
    options: Options,
    /// Plans to play instead of seeds.
    replay: Vec<PathBuf>,
}

impl Command {
    fn run(&self) -> Result<Summary, String> {
        if !self.replay.is_empty() {
            return odd::replay(&self.replay, &self.options);
        }
        println!("graphs from {} on", self.options.seeds.start);
        odd::run_all(&self.options)
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut from, mut count) = (0, 2000);
    let mut options = Options {
        seeds: 0..0,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        reader: true,
        told: false,
        trace: false,
        without: Vec::new(),
        keep: 3,
        failures: Path::new(env!("CARGO_MANIFEST_DIR")).join("failures"),
    };
    let mut replay = Vec::new();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match arg.as_str() {
            "--graphs" => count = number(value()?)?,
            "--from" => from = number(value()?)?,
            "--graph" => (from, count) = (number(value()?)?, 1),
            "--random" => from = seed_of_the_moment()?,
            "--threads" => options.threads = usize::try_from(number(value()?)?.max(1)).unwrap_or(1),
            "--keep" => options.keep = number(value()?)?,
            "--failures" => options.failures = PathBuf::from(value()?),
            "--told" => options.told = true,
            "--no-reader" => options.reader = false,
            "--without" => {
                options.without = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--trace" => options.trace = true,
            "--replay" => {
                replay.push(PathBuf::from(value()?));
                replay.extend(args.by_ref().take_while(|arg| !arg.starts_with("--")).map(PathBuf::from));
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    options.seeds = from..from.saturating_add(count);
    Ok(Command { options, replay })
}

/// A random seed, small enough to be typed again.
pub(crate) fn seed_of_the_moment() -> Result<u64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    Ok(now.as_secs() % 1_000_000 * 1_000_000)
}
