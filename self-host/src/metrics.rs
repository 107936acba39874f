//! What is counted, and how it is told (self-host.md 4.2): Prometheus text 0.0.4. Labels name routes, methods and codes; never a
//! user, a token or a graph.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};
use web::Trace;

use crate::cli::{REVISION, VERSION};
use crate::condition::Condition;
use crate::histogram::{Histogram, SECONDS};
use crate::traffic::{Traffic, label};

/// Methods that have a label of their own; a client may make up others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
    closes: Mutex<BTreeMap<u16, u64>>,
    syncs: Histogram,
    /// Open sockets.
    pub(crate) sockets: AtomicI64,
    /// What passes through.
    pub(crate) traffic: Traffic,
    /// Open graphs.
    pub(crate) graphs: AtomicI64,
    /// Checkpoints that were asked for.
    pub(crate) checkpoints: AtomicU64,
    /// What is wrong with storage.
    pub(crate) condition: Condition,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            durations: Mutex::default(),
            closes: Mutex::default(),
            syncs: Histogram::new(SECONDS),
            sockets: AtomicI64::default(),
            traffic: Traffic::default(),
            graphs: AtomicI64::default(),
            checkpoints: AtomicU64::default(),
            condition: Condition::default(),
        }
    }
}

/// What lies in the data directory, as it was found a while ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Graphs of the index.
    pub(crate) graphs: u64,
    /// Bytes of their databases.
    pub(crate) graph_bytes: u64,
    /// Bytes of assets.
    pub(crate) asset_bytes: u64,
    /// Bytes of the index.
    pub(crate) index_bytes: u64,
    /// Bytes of single graphs, by their ids, where those may be told.
    pub(crate) each: Vec<(String, u64)>,
}

/// What the metrics say of the data directory, asked when they are read.
pub(crate) trait Disk {
    /// What lies there.
    fn census(&self) -> Census;

    /// Bytes that are free.
    fn free(&self) -> u64;

    /// When the last backup was made, in seconds since the epoch; 0: never.
    fn last_backup(&self) -> u64;
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
        locked(&self.durations).entry(trace.route).or_insert_with(|| Histogram::new(SECONDS)).add(seconds);
    }

    /// A socket has ended with this code.
    pub(crate) fn closed(&self, code: u16) {
        // Codes of clients are their own: beyond those of RFC 6455 they count as one.
        let code = if (1000..=1015).contains(&code) { code } else { 4000 };
        *locked(&self.closes).entry(code).or_default() += 1;
    }

    /// A log of a graph was synced, in so many seconds.
    pub(crate) fn synced(&self, seconds: f64) {
        self.syncs.add(seconds);
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
        let damaged = self.condition.damaged_graphs().to_string();
        single("graphs_damaged", "gauge", "Graphs whose file was found damaged.", damaged);
        single("fsyncs_total", "counter", "Syncs of graphs' logs.", self.syncs.count().to_string());
        let checkpoints = self.checkpoints.load(Ordering::Relaxed).to_string();
        single("checkpoints_total", "counter", "Checkpoints that were asked for.", checkpoints);
        head(&mut out, "commit_duration_seconds", "histogram", "Time that a sync of a graph's log takes.");
        self.syncs.write(&mut out, "logseq_sync_commit_duration_seconds", "");
        self.traffic.write(&mut out);
        head(&mut out, "websocket_closes_total", "counter", "Sockets that ended.");
        for (code, count) in &*locked(&self.closes) {
            let _ = writeln!(out, "logseq_sync_websocket_closes_total{{code=\"{code}\"}} {count}");
        }
        head(&mut out, "storage_errors_total", "counter", "Failures of storage.");
        for (kind, count) in self.condition.counts() {
            let _ = writeln!(out, "logseq_sync_storage_errors_total{{kind=\"{kind}\"}} {count}");
        }
        let census = disk.census();
        head(&mut out, "graphs", "gauge", "Graphs.");
        let _ = writeln!(out, "logseq_sync_graphs {}", census.graphs);
        head(&mut out, "storage_bytes", "gauge", "Bytes of the data directory, and what is free on its disk.");
        for (kind, bytes) in [
            ("graphs", census.graph_bytes),
            ("assets", census.asset_bytes),
            ("index", census.index_bytes),
            ("free", disk.free()),
        ] {
            let _ = writeln!(out, "logseq_sync_storage_bytes{{kind=\"{kind}\"}} {bytes}");
        }
        if !census.each.is_empty() {
            head(&mut out, "graph_bytes", "gauge", "Bytes of the database of a graph.");
            for (graph, bytes) in &census.each {
                let _ = writeln!(out, "logseq_sync_graph_bytes{{graph=\"{}\"}} {bytes}", label(graph));
            }
        }
        head(&mut out, "last_backup_timestamp_seconds", "gauge", "When the last backup was made; 0: never.");
        let _ = writeln!(out, "logseq_sync_last_backup_timestamp_seconds {}", disk.last_backup());
        process(&mut out);
        out
    }
}

/// Processor time of the process in seconds, and when it began, in seconds since the epoch.
fn times() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<f64>().ok();
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "the system ticks a hundred times a second")]
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Some(((number(11)? + number(12)?) / ticks, boot + number(19)? / ticks))
}

/// What the system says of the process, under the usual names. Nothing where it does not say.
fn process(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let limits = getrlimit(Resource::Nofile).current;
    if let Some((cpu, started)) = times() {
        let _ = writeln!(
            out,
            "# HELP process_cpu_seconds_total Processor time.\n# TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total {cpu}\n# HELP process_start_time_seconds When the process began.\n\
             # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}"
        );
    }
    let files = std::fs::read_dir("/proc/self/fd").map(|files| files.count() as u64).ok();
    for (name, kind, help, value) in [
        ("process_resident_memory_bytes", "gauge", "Resident memory.", field("VmRSS").map(|kib| kib << 10)),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", field("VmSize").map(|kib| kib << 10)),
        ("process_threads", "gauge", "Threads.", field("Threads")),
        ("process_open_fds", "gauge", "Open files.", files),
        ("process_max_fds", "gauge", "Files that may be open.", limits),
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
        fn census(&self) -> Census {
            Census { graphs: 2, graph_bytes: 10, each: vec![("g\"".into(), 10)], ..Census::default() }
        }

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
        metrics.condition.failed(database::Trouble::Full, 0);
        metrics.condition.damaged(std::path::Path::new("/g"));
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
            "logseq_sync_storage_errors_total{kind=\"full\"} 1",
            "logseq_sync_graphs_damaged 1",
            "logseq_sync_storage_bytes{kind=\"free\"} 7",
            "logseq_sync_graphs 2",
            "logseq_sync_storage_bytes{kind=\"graphs\"} 10",
            "logseq_sync_graph_bytes{graph=\"g\\\"\"} 10",
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
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
        }
    }
}
