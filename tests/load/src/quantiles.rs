//! Durations by their quantiles, in bounded memory.

use std::time::Duration;

/// Each bucket is so much wider than the one before.
const STEP: f64 = 1.02;

/// Microseconds that the first bucket ends with.
const FIRST: f64 = 10.0;

/// As many buckets as reach beyond ten minutes.
const BUCKETS: usize = 1000;

/// How often which duration was seen, to 2 %.
pub(crate) struct Quantiles {
    counts: Vec<u64>,
    all: u64,
    longest: Duration,
}

impl Quantiles {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], all: 0, longest: Duration::ZERO }
    }

    /// One more.
    pub(crate) fn add(&mut self, duration: Duration) {
        let place = (duration.as_secs_f64() * 1e6 / FIRST).max(1.0).log(STEP);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and small")]
        let place = (place as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.all += 1;
        self.longest = self.longest.max(duration);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.all
    }

    /// The duration that this share of all were no longer than, in milliseconds.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let wanted = ((self.all as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (place, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= wanted {
                let end = FIRST * STEP.powi(i32::try_from(place + 1).unwrap_or(i32::MAX)) / 1000.0;
                return end.min(self.longest.as_secs_f64() * 1000.0);
            }
        }
        0.0
    }

    /// Median, 99th percentile and longest as text.
    pub(crate) fn text(&self) -> String {
        if self.all == 0 {
            return "none".to_owned();
        }
        let longest = self.longest.as_secs_f64() * 1000.0;
        format!("p50 {:.2} ms, p99 {:.2} ms, longest {longest:.1} ms", self.ms(0.5), self.ms(0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_two_percent() {
        let mut quantiles = Quantiles::new();
        assert_eq!(quantiles.text(), "none");
        for ms in 1..=1000 {
            quantiles.add(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = quantiles.ms(share);
            assert!((found / ms - 1.0).abs() < 0.025, "{share}: {found}");
        }
        quantiles.add(Duration::ZERO);
        quantiles.add(Duration::from_secs(100_000));
        assert_eq!(quantiles.count(), 1002);
    }
}
