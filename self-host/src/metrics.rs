//! What is counted, and how it is told (self-host.md 4.2): Prometheus text 0.0.4. Labels name routes, methods and codes; never a
//! user, a token or a graph.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use database::Trouble;
use web::Trace;

use crate::cli::{REVISION, VERSION};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Methods that have a label of their own; a client may make up others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    durations: Mutex<BTreeMap<&'static str, Durations>>,
    closes: Mutex<BTreeMap<u16, u64>>,
    syncs: Mutex<Durations>,
    /// Open sockets.
    pub(crate) sockets: AtomicI64,
    /// Messages that came in.
    pub(crate) received: AtomicU64,
    /// Messages that went out.
    pub(crate) sent: AtomicU64,
    /// Open graphs.
    pub(crate) graphs: AtomicI64,
    /// Checkpoints that were asked for.
    pub(crate) checkpoints: AtomicU64,
    /// Failures of storage by kind, and when one of the kind was logged last, in milliseconds.
    troubles: Mutex<BTreeMap<&'static str, (u64, i64)>>,
}

/// What the metrics say of the data directory, asked when they are read.
pub(crate) trait Disk {
    /// Bytes that are free.
    fn free(&self) -> u64;

    /// When the last backup was made, in seconds since the epoch; 0: never.
    fn last_backup(&self) -> u64;
}

/// How often a failure of storage is logged: with a full disk there would be one for each request.
const TROUBLE_LOGGED_MS: i64 = 60_000;

/// A histogram.
#[derive(Debug, Default)]
struct Durations {
    /// How many were no longer than the bound of the same place, and longer than the one before.
    buckets: [u64; SECONDS.len()],
    count: u64,
    sum: f64,
}

impl Durations {
    fn add(&mut self, seconds: f64) {
        let place = SECONDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, bucket) in SECONDS.iter().zip(self.buckets) {
            below += bucket;
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {}\n{name}_count{braces} {}", self.sum, self.count);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// A request was answered. Routes are those of the table of routes, so their number is bounded.
    pub(crate) fn answered(&self, trace: &Trace<'_>) {
        let method = METHODS.into_iter().find(|method| *method == trace.method).unwrap_or("other");
        *locked(&self.requests).entry((trace.route, method, trace.status)).or_default() += 1;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a request are far below 2^53")]
        let seconds = (trace.ended_ms - trace.started_ms).max(0) as f64 / 1000.0;
        locked(&self.durations).entry(trace.route).or_default().add(seconds);
    }

    /// A socket has ended with this code.
    pub(crate) fn closed(&self, code: u16) {
        // Codes of clients are their own: beyond those of RFC 6455 they count as one.
        let code = if (1000..=1015).contains(&code) { code } else { 4000 };
        *locked(&self.closes).entry(code).or_default() += 1;
    }

    /// Storage has failed in a way that is counted. True: it is to be logged.
    pub(crate) fn troubled(&self, trouble: Trouble, now_ms: i64) -> bool {
        let kind = match trouble {
            Trouble::Full => "full",
            Trouble::Unavailable => "io",
            Trouble::Damaged => "corrupt",
        };
        let mut troubles = locked(&self.troubles);
        let (count, logged) = troubles.entry(kind).or_insert((0, i64::MIN));
        *count += 1;
        let due = now_ms.saturating_sub(*logged) >= TROUBLE_LOGGED_MS;
        if due {
            *logged = now_ms;
        }
        due
    }

    /// A log of a graph was synced, in so many seconds.
    pub(crate) fn synced(&self, seconds: f64) {
        locked(&self.syncs).add(seconds);
    }

    /// All of it as text.
    pub(crate) fn text(&self, disk: &impl Disk) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP logseq_sync_{name} {help}\n# TYPE logseq_sync_{name} {kind}");
        };
        head(&mut out, "build_info", "gauge", "What is running.");
        let _ = writeln!(out, "logseq_sync_build_info{{version=\"{VERSION}\",revision=\"{REVISION}\"}} 1");
        head(&mut out, "http_requests_total", "counter", "Answered requests.");
        for ((route, method, code), count) in &*locked(&self.requests) {
            let labels = format!("route=\"{route}\",method=\"{method}\",code=\"{code}\"");
            let _ = writeln!(out, "logseq_sync_http_requests_total{{{labels}}} {count}");
        }
        head(&mut out, "http_request_duration_seconds", "histogram", "Time until the head of an answer.");
        for (route, durations) in &*locked(&self.durations) {
            durations.write(&mut out, "logseq_sync_http_request_duration_seconds", &format!("route=\"{route}\""));
        }
        let mut single = |name: &str, kind: &str, help: &str, value: String| {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "logseq_sync_{name} {value}");
        };
        let gauge = |value: &AtomicI64| value.load(Ordering::Relaxed).to_string();
        single("websocket_connections", "gauge", "Open sockets.", gauge(&self.sockets));
        single("graphs_open", "gauge", "Open graphs.", gauge(&self.graphs));
        single("fsyncs_total", "counter", "Syncs of graphs' logs.", locked(&self.syncs).count.to_string());
        let checkpoints = self.checkpoints.load(Ordering::Relaxed).to_string();
        single("checkpoints_total", "counter", "Checkpoints that were asked for.", checkpoints);
        head(&mut out, "commit_duration_seconds", "histogram", "Time that a sync of a graph's log takes.");
        locked(&self.syncs).write(&mut out, "logseq_sync_commit_duration_seconds", "");
        head(&mut out, "websocket_messages_total", "counter", "Messages over sockets.");
        for (direction, count) in [("in", &self.received), ("out", &self.sent)] {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "logseq_sync_websocket_messages_total{{direction=\"{direction}\"}} {count}");
        }
        head(&mut out, "websocket_closes_total", "counter", "Sockets that ended.");
        for (code, count) in &*locked(&self.closes) {
            let _ = writeln!(out, "logseq_sync_websocket_closes_total{{code=\"{code}\"}} {count}");
        }
        head(&mut out, "storage_errors_total", "counter", "Failures of storage.");
        for (kind, (count, _)) in &*locked(&self.troubles) {
            let _ = writeln!(out, "logseq_sync_storage_errors_total{{kind=\"{kind}\"}} {count}");
        }
        head(&mut out, "storage_bytes", "gauge", "Bytes of the disk of the data directory.");
        let _ = writeln!(out, "logseq_sync_storage_bytes{{kind=\"free\"}} {}", disk.free());
        head(&mut out, "last_backup_timestamp_seconds", "gauge", "When the last backup was made; 0: never.");
        let _ = writeln!(out, "logseq_sync_last_backup_timestamp_seconds {}", disk.last_backup());
        process(&mut out);
        out
    }
}

/// What the system says of the process, under the usual names. Nothing where it does not say.
fn process(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let files = std::fs::read_dir("/proc/self/fd").map(|files| files.count() as u64).ok();
    for (name, kind, help, value) in [
        ("process_resident_memory_bytes", "gauge", "Resident memory.", field("VmRSS").map(|kib| kib << 10)),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", field("VmSize").map(|kib| kib << 10)),
        ("process_threads", "gauge", "Threads.", field("Threads")),
        ("process_open_fds", "gauge", "Open files.", files),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoDisk;

    impl Disk for NoDisk {
        fn free(&self) -> u64 {
            7
        }

        fn last_backup(&self) -> u64 {
            0
        }
    }

    #[test]
    fn each_metric_has_a_type_and_durations_add_up() {
        let metrics = Metrics::default();
        for (method, status, ms) in [("GET", 200, 0), ("GET", 200, 3), ("BREW", 404, 60_000)] {
            metrics.answered(&Trace { method, route: "/graphs", status, started_ms: 0, ended_ms: ms });
        }
        metrics.closed(1008);
        metrics.closed(4999);
        metrics.synced(0.004);
        assert!(metrics.troubled(Trouble::Full, 0) && !metrics.troubled(Trouble::Full, 59_999));
        assert!(metrics.troubled(Trouble::Damaged, 0) && metrics.troubled(Trouble::Full, 60_000));
        let text = metrics.text(&NoDisk);
        for line in [
            "logseq_sync_http_requests_total{route=\"/graphs\",method=\"GET\",code=\"200\"} 2",
            "logseq_sync_http_requests_total{route=\"/graphs\",method=\"other\",code=\"404\"} 1",
            "logseq_sync_http_request_duration_seconds_bucket{route=\"/graphs\",le=\"0.001\"} 1",
            "logseq_sync_http_request_duration_seconds_bucket{route=\"/graphs\",le=\"10\"} 2",
            "logseq_sync_http_request_duration_seconds_bucket{route=\"/graphs\",le=\"+Inf\"} 3",
            "logseq_sync_http_request_duration_seconds_count{route=\"/graphs\"} 3",
            "logseq_sync_websocket_closes_total{code=\"1008\"} 1",
            "logseq_sync_websocket_closes_total{code=\"4000\"} 1",
            "logseq_sync_fsyncs_total 1",
            "logseq_sync_storage_errors_total{kind=\"full\"} 3",
            "logseq_sync_storage_bytes{kind=\"free\"} 7",
            "logseq_sync_last_backup_timestamp_seconds 0",
            "logseq_sync_commit_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let typed: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(typed.iter().any(|name| line.starts_with(name)), "{line}");
        }
        assert!(text.contains("process_resident_memory_bytes "));
    }
}
