//! `fuzz-targets [--seconds N] [--seed S] [--target NAME] | --input NAME FILE…`
//!
//! Runs the corpora under `fuzz/corpus`, then N seconds (60, or `FUZZ_SECONDS`) of random mutations shared by the targets.
//! The seed is printed; the same one gives the same mutations. A failing input is kept under `fuzz/artifacts`, and
//! `--input` runs it alone.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuzz_targets::{Options, TARGETS, Target, keep_failing_inputs, run};

fn main() -> Result<(), Box<dyn Error>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    keep_failing_inputs(fuzz.join("artifacts"));
    let mut seconds = number("FUZZ_SECONDS")?.unwrap_or(60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut seed = number("FUZZ_SEED")?.unwrap_or(now.as_secs() ^ u64::from(now.subsec_nanos()));
    let mut targets: Vec<&Target> = TARGETS.iter().collect();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => seconds = value()?.parse()?,
            "--seed" => seed = value()?.parse()?,
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
    println!("seed {seed}, {seconds} s in all");
    let share = Duration::from_secs(seconds) / u32::try_from(targets.len())?;
    let options = Options { time: share, seed, corpus: fuzz.join("corpus") };
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

fn number(variable: &str) -> Result<Option<u64>, Box<dyn Error>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text.parse().map_err(|error| format!("{variable}: {error}"))?)),
        Err(_) => Ok(None),
    }
}
