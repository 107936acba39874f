//! The native figures of docs/benchmarks.md: one JSON object a figure.
//!
//! `cargo run --release -p benches -- PART…`, where a part is `engine` (a), `pipeline` (b), `growth` (e) or `writes` (i).
//! `cargo xtask bench` runs them beside their yardsticks and prints the ratios.

mod bare;
mod counted;
mod engine;
mod pipeline;
mod workload;
mod writes;

use std::time::Duration;

/// The allocator that a native server would use. Transactions allocate many small pieces, and with the system's
/// allocator that takes a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    for part in std::env::args().skip(1) {
        match part.as_str() {
            "engine" => engine::run()?,
            "pipeline" => pipeline::run()?,
            "growth" => pipeline::growth()?,
            "writes" => writes::run()?,
            other => anyhow::bail!("unknown part {other}; parts: engine pipeline growth writes"),
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
