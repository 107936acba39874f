//! Many seeds on many threads.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Failure, Result, Stats, run};

/// Plays all seeds; the failure of the first that fails says how to play it again.
pub fn run_all(seeds: Range<u64>, threads: usize, trace: bool) -> Result<Stats> {
    let next = AtomicU64::new(seeds.start);
    let outcome: Mutex<Result<Stats>> = Mutex::new(Ok(Stats::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !record(&outcome, play(seed, trace)) {
                        break;
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn play(seed: u64, trace: bool) -> Result<Stats> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, trace)));
    outcome.unwrap_or_else(|_| Err("panic".into())).map_err(|failure: Failure| {
        format!("seed {seed} failed: {failure}\nreplay: cargo run --release -p simulation -- --seed {seed} --trace")
    })
}

/// Adds an outcome to the others; false once one has failed.
fn record(total: &Mutex<Result<Stats>>, outcome: Result<Stats>) -> bool {
    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match (&mut *total, outcome) {
        (Ok(total), Ok(stats)) => {
            *total += stats;
            true
        }
        (Ok(_), Err(failure)) => {
            *total = Err(failure);
            false
        }
        (Err(_), _) => false,
    }
}
