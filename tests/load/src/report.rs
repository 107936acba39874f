//! What came of it, as text.

use std::time::Duration;

use crate::client::Counts;
use crate::options::Options;
use crate::server::Usage;

/// Figures of a run.
pub(crate) struct Report {
    lines: Vec<String>,
    /// The most memory that the server had, in MiB, where it is known.
    pub(crate) peak_mib: Option<f64>,
}

impl Report {
    /// Of what was counted; `usage` is that before sockets were opened, with them, after the time of rest, and at the end.
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
    pub(crate) fn new(
        options: &Options,
        counts: &Counts,
        (opened, lasted): (Duration, Duration),
        [without, before, held, after]: [Usage; 4],
    ) -> Self {
        let Options { sockets, graphs, batch, .. } = options;
        let (seconds, batches) = (lasted.as_secs_f64(), counts.acknowledged.borrow().count() as f64);
        let transactions = batches * *batch as f64;
        let difference = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        let known =
            |value: Option<f64>, digits: usize| value.map_or("unknown".to_owned(), |it| format!("{it:.digits$}"));
        let mut lines = vec![
            format!(
                "sockets        {sockets} on {graphs} graphs, opened in {:.2} s, none failed",
                opened.as_secs_f64()
            ),
            format!(
                "throughput     {:.0} transactions/s in {batches} batches of {batch}, {:.0} messages `changed`/s to others, {seconds:.1} s",
                transactions / seconds,
                counts.told.get() as f64 / seconds,
            ),
            format!("acknowledged   {} after a batch was sent", counts.acknowledged.borrow().text()),
            format!("changed        {} after it was sent, at the other clients", counts.since_sent.borrow().text()),
            format!(
                "               {} after the acknowledgement reached the writer",
                counts.since_acknowledged.borrow().text()
            ),
        ];
        let syncs = difference(after.syncs, before.syncs);
        let per_sync = syncs.filter(|syncs| *syncs > 0.0).map(|syncs| batches / syncs);
        lines.push(format!("fsyncs         {}, {} batches each", known(syncs, 0), known(per_sync, 2)));
        let processor = difference(after.processor, before.processor);
        let each = processor.map(|seconds| seconds * 1e6 / transactions);
        lines.push(format!("processor      {} s, {} us a transaction", known(processor, 2), known(each, 0)));
        let per_socket = difference(before.memory, without.memory).map(|mib| mib * 1024.0 / *sockets as f64);
        lines.push(format!(
            "memory         {} MiB without sockets, {} with them ({} KiB each), {} held, {} at the end, peak {}",
            known(without.memory, 1),
            known(before.memory, 1),
            known(per_socket, 1),
            known(held.memory, 1),
            known(after.memory, 1),
            known(after.peak, 1),
        ));
        lines.push("agreement      counter and checksum are the same for every socket".to_owned());
        Self { lines, peak_mib: after.peak.or(after.memory) }
    }

    /// One line a figure.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}
