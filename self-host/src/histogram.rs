//! Histograms as Prometheus reads them.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Upper bounds of the buckets of durations, in seconds.
pub(crate) const SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the buckets of numbers.
pub(crate) const NUMBERS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// A histogram over bounds.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    /// How many were no more than the bound of the same place, and more than the one before.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// Nothing was counted yet.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counted: Mutex::new(Counted { buckets: vec![0; bounds.len()], count: 0, sum: 0.0 }) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn add(&self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound);
        let mut counted = self.counted();
        if let Some(bucket) = place.and_then(|place| counted.buckets.get_mut(place)) {
            *bucket += 1;
        }
        counted.count += 1;
        counted.sum += value;
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.counted().count
    }

    /// Its lines, under a name, with more labels.
    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str) {
        let counted = self.counted();
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, bucket) in self.bounds.iter().zip(&counted.buckets) {
            below += bucket;
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", counted.count);
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {}\n{name}_count{braces} {}", counted.sum, counted.count);
    }
}
