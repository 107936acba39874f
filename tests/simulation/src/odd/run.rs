//! Many graphs on many threads; what fails is made smaller and kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::failure::{Failure, Kind};
use super::make;
use super::plan::Plan;
use super::play::{Failed, Player};
use super::reader::Reader;
use super::shrink::shrink;
use super::stats::Stats;
use crate::{Result, fail};

/// How graphs are played.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seeds, one for each graph.
    pub seeds: Range<u64>,
    /// Threads, each with a reader of its own.
    pub threads: usize,
    /// Whether the independent reader takes part.
    pub reader: bool,
    /// Whether all graphs are about entities that lose and get names.
    pub told: bool,
    /// Whether every step is printed.
    pub trace: bool,
    /// Checks that do not count, because a known defect would hide others.
    pub without: Vec<Kind>,
    /// Failures of one kind that are made smaller and kept; further ones are only counted.
    pub keep: u64,
    /// Where failing plans are written.
    pub failures: PathBuf,
}

/// The outcome.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Of the graphs that passed.
    pub stats: Stats,
    /// Graphs that failed.
    pub failed: u64,
}

struct Shared<'o> {
    options: &'o Options,
    next: AtomicU64,
    summary: Mutex<Summary>,
    kinds: Mutex<BTreeMap<Kind, u64>>,
}

/// Plays a graph for each seed.
///
/// # Errors
/// The independent reader cannot be started.
pub fn run_all(options: &Options) -> Result<Summary> {
    let shared = Shared {
        options,
        next: AtomicU64::new(options.seeds.start),
        summary: Mutex::default(),
        kinds: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(|| shared.work())).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread ended".to_owned())))
    })?;
    for (kind, count) in shared.kinds.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{kind:?}: {count} graphs failed");
    }
    Ok(shared.summary.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Plays the plans of files again; how many failed.
///
/// # Errors
/// A file is no plan, or the independent reader cannot be started.
pub fn replay(files: &[PathBuf], options: &Options) -> Result<Summary> {
    let mut reader = options.reader.then(Reader::start).transpose()?;
    let mut summary = Summary::default();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let plan = Plan::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        match play(&plan, &mut reader, options, options.trace) {
            Ok(stats) => summary.stats += stats,
            Err((step, failure)) => {
                println!("{}: step {step}: {failure}", file.display());
                summary.failed += 1;
            }
        }
    }
    Ok(summary)
}

/// A panic is a failure like any other.
fn play(plan: &Plan, reader: &mut Option<Reader>, options: &Options, trace: bool) -> Result<Stats, Failed> {
    let mut player = Player { reader: reader.as_mut(), trace, without: &options.without };
    let played = catch_unwind(AssertUnwindSafe(|| player.play(plan)));
    played.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
        Err((plan.steps.len(), Failure::new(Kind::Panic, text.unwrap_or("without a text"))))
    })
}

impl Shared<'_> {
    fn work(&self) -> Result<()> {
        let mut reader = self.options.reader.then(Reader::start).transpose()?;
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.options.seeds.end {
                return Ok(());
            }
            let plan = if self.options.told { make::told(seed) } else { make::plan(seed) };
            match play(&plan, &mut reader, self.options, self.options.trace) {
                Ok(stats) => self.summary.lock().unwrap_or_else(PoisonError::into_inner).stats += stats,
                Err(failed) => self.failed(seed, plan, failed, &mut reader)?,
            }
        }
    }

    fn failed(&self, seed: u64, plan: Plan, (step, failure): Failed, reader: &mut Option<Reader>) -> Result<()> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
        let kind = failure.kind;
        let before = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            let count = kinds.entry(kind).or_default();
            *count += 1;
            *count - 1
        };
        if before >= self.options.keep {
            return Ok(());
        }
        let mut plan = plan;
        plan.steps.truncate(step + 1);
        let mut again = |plan: &Plan| play(plan, reader, self.options, false).err().map(|(_, failure)| failure);
        let small = shrink(plan, &mut |plan| again(plan).is_some_and(|failure| failure.kind == kind));
        let now = again(&small).map_or_else(|| failure.to_string(), |failure| failure.to_string());
        let file = self.options.failures.join(format!("{seed}-{kind:?}.jsonl").to_lowercase());
        keep(&file, &small)?;
        println!(
            "graph {seed} ({}) failed at step {step}: {failure}\n  made smaller: {now}\n  \
             again: simulation odd --graph {seed} --trace, or --replay {}",
            if self.options.told { "told".to_owned() } else { format!("{:?}", make::flavour(seed)) },
            file.display()
        );
        Ok(())
    }
}

fn keep(file: &Path, plan: &Plan) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    std::fs::write(file, plan.to_text()).map_err(fail)
}
