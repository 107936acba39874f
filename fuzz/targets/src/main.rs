//! `fuzz-targets [--mutations N | --seconds N] [--seed S | --random] [--target NAME] | --input NAME FILE…`
//!
//! Runs the corpora under `fuzz/corpus`, then N mutations of each target's inputs (20,000), or N seconds shared by the
//! targets. The seed is 1 unless another is given, or `--random` takes one; it is printed, and with the same number of
//! mutations gives the same run. A failing input is kept under `fuzz/artifacts`, and `--input` runs it alone.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuzz_targets::{Options, TARGETS, Target, Until, keep_failing_inputs, run};

const DEFAULT_MUTATIONS: u64 = 20_000;
const DEFAULT_SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    keep_failing_inputs(fuzz.join("artifacts"));
    let (mut mutations, mut seconds) = (DEFAULT_MUTATIONS, None);
    let mut seed = DEFAULT_SEED;
    let mut targets: Vec<&Target> = TARGETS.iter().collect();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--mutations" => mutations = value()?.parse()?,
            "--seconds" => seconds = Some(value()?.parse()?),
            "--seed" => seed = value()?.parse()?,
            "--random" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                seed = now.as_secs() ^ u64::from(now.subsec_nanos());
            }
            "--target" => targets = vec![find(&value()?)?],
            "--input" => {
                let target = find(&value()?)?;
                return arguments.map(PathBuf::from).try_for_each(|path| {
                    (target.run)(&std::fs::read(&path)?);
                    println!("{}: passed", path.display());
                    Ok(())
                });
            }
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let until = match seconds {
        None => {
            println!("seed {seed}, {mutations} mutations of each target");
            Until::Mutations(mutations)
        }
        Some(seconds) => {
            println!("seed {seed}, {seconds} s in all");
            Until::Elapsed(Duration::from_secs(seconds) / u32::try_from(targets.len())?)
        }
    };
    let options = Options { until, seed, corpus: fuzz.join("corpus") };
    for target in targets {
        let summary = run(target, &options)?;
        println!(
            "{:<10} {} inputs of the corpus, {} mutations, {} of them kept for doing something new",
            target.name,
            summary.corpus,
            summary.mutations,
            summary.pool - summary.corpus
        );
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Target, String> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        format!("no target {name}; there are {}", names.join(", "))
    })
}
