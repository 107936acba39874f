//! The native figures of docs/benchmarks.md: one JSON object a figure.
//!
//! `cargo run --release -p benches -- PART…`, where a part is `engine` (a), `pipeline` (b), `growth` (e), `writes` (i) or
//! `commits FOLDER` (j).
//! `cargo xtask bench` runs them beside their yardsticks and prints the ratios.

mod bare;
mod commits;
mod counted;
mod engine;
mod pipeline;
mod workload;
mod writes;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// The allocator that a native server would use. Transactions allocate many small pieces, and with the system's
/// allocator that takes a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut parts = std::env::args().skip(1);
    while let Some(part) = parts.next() {
        match part.as_str() {
            "engine" => engine::run()?,
            "pipeline" => pipeline::run()?,
            "growth" => pipeline::growth()?,
            "writes" => writes::run()?,
            "commits" => commits::run(Path::new(&parts.next().context("commits needs a folder")?))?,
            other => anyhow::bail!("unknown part {other}; parts: engine pipeline growth writes commits"),
        }
    }
    Ok(())
}

/// The rate of the median round, from the times of equal rounds.
pub(crate) fn rate(count: usize, mut rounds: Vec<Duration>) -> f64 {
    rounds.sort();
    let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count as f64;
    count / median.as_secs_f64()
}
