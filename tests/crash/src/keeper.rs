//! A client that makes graphs and keeps files: what the index and the folder of assets have promised.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use simulation::Rng;

use crate::client::Round;
use crate::wire::ask;
use crate::{Result, ensure};

/// Files that are looked at again after a restart, besides those of the last round.
const SAMPLE: usize = 5;

/// Graphs that are made: a user has a limit.
const GRAPHS: usize = 40;

/// What was acknowledged.
#[derive(Debug)]
pub(crate) struct Keeper {
    rng: Rng,
    graph_id: String,
    graphs: Vec<String>,
    /// Ids of files, with their lengths.
    files: Vec<(String, usize)>,
    /// How many of them were there when the round began.
    old: usize,
}

/// A file's bytes follow from its id.
fn content(id: &str, length: usize) -> Vec<u8> {
    id.bytes().cycle().take(length).collect()
}

impl Keeper {
    pub(crate) fn new(rng: Rng, graph_id: &str) -> Self {
        Self { rng, graph_id: graph_id.to_owned(), graphs: Vec::new(), files: Vec::new(), old: 0 }
    }

    /// Makes and keeps until the round is over or the server is gone.
    pub(crate) fn write(&mut self, address: SocketAddr, round: &Round) -> Result<()> {
        self.old = self.files.len();
        while !round.over.load(Ordering::SeqCst) {
            let id = self.rng.uuid().to_string();
            let makes_graph = self.graphs.len() < GRAPHS && self.rng.percent(30);
            let length = 1 + self.rng.below(60_000);
            let answer = if makes_graph {
                let body = json!({ "graph-name": id, "graph-e2ee?": false, "graph-ready-for-use?": true });
                ask(address, "POST", "/graphs", body.to_string().as_bytes())
            } else {
                let path = format!("/assets/{}/{id}.png", self.graph_id);
                ask(address, "PUT", &path, &content(&id, length))
            };
            let may_fail = round.failing.load(Ordering::SeqCst) || round.killing.load(Ordering::SeqCst);
            match answer {
                Ok(answer) if answer.status == 200 && makes_graph => {
                    let id = answer.json()["graph-id"].as_str().map(str::to_owned);
                    self.graphs.push(id.ok_or("a graph without an id")?);
                }
                Ok(answer) if answer.status == 200 => self.files.push((id, length)),
                Ok(answer) => {
                    let known = matches!(answer.status, 503 | 507);
                    ensure!(known && may_fail, "the keeper got {}: {}", answer.status, answer.json());
                }
                Err(_) if round.killing.load(Ordering::SeqCst) => return Ok(()),
                Err(gone) => ensure!(may_fail, "the keeper got no answer: {}", gone.0),
            }
            // There is more to a server than its index.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Looks whether everything is there.
    pub(crate) fn check(&mut self, address: SocketAddr) -> Result<()> {
        let gone = |gone: crate::wire::Gone| gone.0;
        let listed = ask(address, "GET", "/graphs", b"").map_err(gone)?.json();
        let listed = listed["graphs"].as_array().ok_or_else(|| format!("no graphs in {listed}"))?.clone();
        for id in &self.graphs {
            ensure!(
                listed.iter().any(|graph| graph["graph-id"] == id.as_str()),
                "graph {id} was acknowledged and is gone"
            );
        }
        let mut looked: Vec<usize> = (self.old..self.files.len()).collect();
        looked.extend((0..SAMPLE.min(self.old)).map(|_| self.rng.below(self.old)));
        for (id, length) in looked.iter().filter_map(|place| self.files.get(*place)) {
            let answer = ask(address, "GET", &format!("/assets/{}/{id}.png", self.graph_id), b"").map_err(gone)?;
            ensure!(answer.status == 200, "file {id} was acknowledged and is {}", answer.status);
            ensure!(answer.body == content(id, *length), "file {id} is another one");
        }
        Ok(())
    }

    /// How much was acknowledged: graphs and files.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.graphs.len(), self.files.len())
    }
}
