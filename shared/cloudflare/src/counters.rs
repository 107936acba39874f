//! Counters in Analytics Engine.

use worker::{AnalyticsEngineDataPointBuilder, AnalyticsEngineDataset, Env};

/// A dataset of Analytics Engine. Writing neither waits nor fails: a point that the runtime does not take is lost.
pub struct Counters(AnalyticsEngineDataset);

impl Counters {
    /// The dataset that is bound under this name, if there is one.
    pub fn bound(env: &Env, binding: &str) -> Option<Self> {
        env.analytics_engine(binding).ok().map(Self)
    }

    /// Counts once, under these names and with this measure beside the count. The first name is the index by which points are sampled.
    pub fn count<const NAMES: usize>(&self, names: [&str; NAMES], measure: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a measure for people")]
        let mut point = AnalyticsEngineDataPointBuilder::new().doubles([1.0, measure as f64]);
        if let Some(first) = names.first() {
            point = point.indexes([*first]);
        }
        let point = point.blobs(names).build();
        let _ = self.0.write_data_point(&point);
    }
}
