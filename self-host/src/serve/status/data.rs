//! What the status page says: graphs, who uses them, and whether all devices have seen the same (self-host.md 4.5).

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use index::operator::{self, instant};
use serde::Serialize;

use crate::cli::{REVISION, VERSION};
use crate::host::now_ms;
use crate::metrics::Disk as _;
use crate::serve::fronts::Shared;
use crate::store::{Figures, figures, graph_folder};

/// Graphs that are shown at most: those that changed last.
const GRAPHS: usize = 500;

/// How long the figures of graphs hold: each costs a look at its files.
const HOLDS: Duration = Duration::from_secs(2);

/// Whose page it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The operator's: all graphs.
    Operator,
    /// A user's: the graphs that this user may access.
    User(String),
}

/// All that is said.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) server: Server,
    pub(super) graphs: Vec<Graph>,
    /// There are more graphs.
    pub(super) truncated: bool,
}

/// What is said of the server.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) uptime_s: u64,
    /// Who vouches for users.
    pub(super) auth: Vec<String>,
    pub(super) degraded: Vec<&'static str>,
    /// What the operator should know; empty for everyone else.
    pub(super) warnings: Vec<String>,
    pub(super) free_bytes: u64,
    /// None: never.
    pub(super) last_backup: Option<String>,
}

/// What is said of a graph.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that are told")]
pub(super) struct Graph {
    pub(super) graph_id: String,
    pub(super) graph_name: Option<String>,
    pub(super) t: i64,
    pub(super) checksum: Option<String>,
    pub(super) size_bytes: u64,
    pub(super) assets_bytes: u64,
    pub(super) e2ee: bool,
    pub(super) ready: bool,
    pub(super) updated_at: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) members: Vec<String>,
    pub(super) devices: Vec<Device>,
}

/// What is said of a device.
#[derive(Debug, Serialize)]
pub(super) struct Device {
    pub(super) user: String,
    pub(super) client: &'static str,
    pub(super) connected: bool,
    pub(super) since: String,
    pub(super) seen_t: i64,
    /// Transactions that it has not seen.
    pub(super) behind: i64,
    pub(super) last_seen: String,
}

/// Figures that were read a moment ago.
#[derive(Default)]
pub(crate) struct Known(Mutex<keyed::Map<String, (Instant, Figures)>>);

impl Known {
    /// Those of some graphs, read where they are older than a moment. Costs a look at their files.
    fn of(&self, shared: &Shared, ids: &[String]) -> Vec<Figures> {
        let mut known = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        known.retain(|_, (at, _)| at.elapsed() < HOLDS);
        let read = |id: &String| {
            let figures = known.get(id).map_or_else(|| figures(&shared.data, id), |(_, figures)| figures.clone());
            (id.clone(), figures)
        };
        let all: Vec<_> = ids.iter().map(read).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = known;
        for (id, figures) in &all {
            kept.entry(id.clone()).or_insert_with(|| (Instant::now(), figures.clone()));
        }
        all.into_iter().map(|(_, figures)| figures).collect()
    }
}

/// Gathers it for a reader.
pub(super) async fn gather(shared: &std::sync::Arc<Shared>, reader: &Reader) -> Result<Status, index::Error> {
    let db = &shared.front.index;
    let mut graphs = match reader {
        Reader::Operator => operator::graphs(db, None).await?.into_iter().map(of_listed).collect::<Vec<_>>(),
        Reader::User(id) => operator::access(db, id).await?.into_iter().map(of_access).collect(),
    };
    graphs.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.graph_id.cmp(&b.graph_id)));
    let truncated = graphs.len() > GRAPHS;
    graphs.truncate(GRAPHS);
    for graph in &mut graphs {
        let members = index::members::list(db, &graph.graph_id).await?;
        graph.members = members.into_iter().map(|it| it.username.or(it.email).unwrap_or(it.user_id)).collect();
    }
    let ids: Vec<String> = graphs.iter().map(|graph| graph.graph_id.clone()).collect();
    let read = {
        let shared = std::sync::Arc::clone(shared);
        tokio::task::spawn_blocking(move || shared.figures.of(&shared, &ids)).await
    };
    let now = now_ms();
    for (graph, figures) in graphs.iter_mut().zip(read.unwrap_or_default()) {
        let position = figures.position;
        graph.t = position.as_ref().map_or(0, |position| position.t);
        graph.checksum = position.and_then(|position| position.checksum);
        (graph.size_bytes, graph.assets_bytes) = (figures.bytes, figures.assets);
        graph.devices = devices(shared, &graph.graph_id, graph.t, now);
    }
    let last_backup = i64::try_from(shared.space.last_backup()).ok().filter(|at| *at > 0);
    let server = Server {
        version: VERSION,
        revision: REVISION,
        uptime_s: shared.started.elapsed().as_secs(),
        auth: shared.drivers.clone(),
        degraded: shared.metrics.condition.degraded(),
        warnings: if *reader == Reader::Operator { shared.warnings.clone() } else { Vec::new() },
        free_bytes: shared.space.free(),
        last_backup: last_backup.map(|at| instant(at.saturating_mul(1000))),
    };
    Ok(Status { server, graphs, truncated })
}

fn devices(shared: &Shared, graph_id: &str, t: i64, now: i64) -> Vec<Device> {
    let found = shared.devices.of(&graph_folder(graph_id), now);
    let told = found.into_iter().map(|device| Device {
        user: device.user.clone(),
        client: device.client,
        connected: device.is_connected(),
        since: instant(device.since),
        seen_t: device.seen(),
        // What was told a moment ago may be ahead of what was read before.
        behind: t.saturating_sub(device.seen()).max(0),
        last_seen: instant(device.last()),
    });
    told.collect()
}

fn of_listed(graph: operator::Listed) -> Graph {
    Graph {
        owner: graph.owner_username.or(graph.owner_user_id),
        ..bare(graph.graph_id, graph.graph_name, graph.graph_e2ee, graph.graph_ready_for_use, graph.updated_at)
    }
}

fn of_access(graph: operator::Access) -> Graph {
    Graph {
        owner: graph.owner_username.or(graph.owner_user_id),
        ..bare(graph.graph_id, graph.graph_name, graph.graph_e2ee, graph.graph_ready_for_use, graph.updated_at)
    }
}

/// What the index says of a graph itself.
fn bare(graph_id: String, graph_name: Option<String>, e2ee: bool, ready: bool, updated_at: Option<i64>) -> Graph {
    Graph {
        graph_id,
        graph_name,
        t: 0,
        checksum: None,
        size_bytes: 0,
        assets_bytes: 0,
        e2ee,
        ready,
        updated_at: updated_at.map(instant),
        owner: None,
        members: Vec::new(),
        devices: Vec::new(),
    }
}
