//! Runs targets over their corpora and over mutations of them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::{Mutator, Random};

/// How many inputs that did something new are kept for further mutation.
const POOL: usize = 4000;

/// How long to mutate the inputs of a target.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// This number of mutations, so that a seed gives the same run every time; 0 runs the corpora only.
    Mutations(u64),
    /// For this long.
    Elapsed(Duration),
}

impl Until {
    fn is_reached(self, mutations: u64, start: Instant) -> bool {
        match self {
            Self::Mutations(count) => mutations >= count,
            Self::Elapsed(time) => start.elapsed() >= time,
        }
    }
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// When to stop mutating for a target.
    pub until: Until,
    /// Decides all mutations.
    pub seed: u64,
    /// The folder with one folder of inputs per target.
    pub corpus: PathBuf,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Inputs of the corpus.
    pub corpus: usize,
    /// Mutations.
    pub mutations: u64,
    /// Inputs that did something new.
    pub pool: usize,
}

thread_local! {
    /// The input under test, for the hook that keeps it when the target panics.
    static CURRENT: RefCell<(&'static str, Vec<u8>)> = const { RefCell::new(("", Vec::new())) };
}

/// Runs one target. A wrong answer panics; [`keep_failing_inputs`] sees to it that the input is kept.
pub fn run(target: &Target, options: &Options) -> io::Result<Summary> {
    let mut pool = corpus(&options.corpus.join(target.name))?;
    let mut seen = HashSet::new();
    let mut summary = Summary { corpus: pool.len(), ..Summary::default() };
    for input in &pool {
        seen.insert(once(target, input));
    }
    let fixed = pool.len();
    let mut mutator = Mutator::new(Random::new(options.seed), target.dictionaries);
    let mut replaced = fixed;
    let start = Instant::now();
    while !options.until.is_reached(summary.mutations, start) {
        let input = mutator.mutant(&pool);
        summary.mutations += 1;
        if !seen.insert(once(target, &input)) {
            continue;
        }
        if pool.len() < POOL {
            pool.push(input);
        } else if let Some(old) = pool.get_mut(replaced) {
            *old = input;
            replaced = if replaced + 1 < POOL { replaced + 1 } else { fixed };
        }
    }
    summary.pool = pool.len();
    Ok(summary)
}

fn once(target: &Target, input: &[u8]) -> crate::Trace {
    CURRENT.with_borrow_mut(|(name, bytes)| {
        *name = target.name;
        bytes.clear();
        bytes.extend_from_slice(input);
    });
    (target.run)(input)
}

/// The files of a folder, by name.
fn corpus(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries =
        fs::read_dir(folder).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Makes a panic write the input under test to `artifacts` and print where, before anything else.
pub fn keep_failing_inputs(artifacts: PathBuf) {
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let (target, input) = CURRENT.with_borrow(Clone::clone);
        let path = artifacts.join(format!("{target}-{:016x}", fingerprint(&input)));
        let kept = fs::create_dir_all(&artifacts).and_then(|()| fs::write(&path, &input));
        match kept {
            Ok(()) => {
                eprintln!("{target}: failing input in {0}; again: fuzz-targets --input {target} {0}", path.display());
            }
            Err(error) => eprintln!("{target}: failing input not kept ({error}): {input:?}"),
        }
        next(info);
    }));
}

fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
