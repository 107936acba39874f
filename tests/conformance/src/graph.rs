//! A graph made for one test case.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::frames;

/// A graph that holds the standard initial content (or nothing).
pub struct TestGraph {
    pub id: String,
    pub owner: Client,
}

impl TestGraph {
    /// Creates the index row only.
    pub fn create(owner: &Client) -> Self {
        let name = format!("graph-{}", uuid::Uuid::new_v4().simple());
        let answer =
            owner.post("/graphs", &json!({ "graph-name": name, "schema-version": "65", "graph-e2ee?": false }));
        let id = answer.status(200).json()["graph-id"].as_str().expect("graph-id").to_owned();
        Self { id, owner: owner.clone() }
    }

    /// Creates a graph and uploads the standard initial content in one request.
    pub fn initial(owner: &Client) -> Self {
        let graph = Self::create(owner);
        graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
        graph
    }

    /// The path of a route of this graph.
    pub fn path(&self, tail: &str) -> String {
        format!("/sync/{}{tail}", self.id)
    }

    /// Posts bytes to the upload route.
    pub fn upload(&self, query: &str, body: &[u8]) -> Answer {
        let path = self.path(&format!("/snapshot/upload?{query}"));
        self.owner.send("POST", &path, &[("content-type", "application/transit+json")], Some(body))
    }

    /// `t`, checksum and log from 0.
    pub fn pull(&self) -> Value {
        self.owner.get(&self.path("/pull?since=0")).status(200).json()
    }

    pub fn t(&self) -> i64 {
        self.pull()["t"].as_i64().expect("t")
    }

    /// Posts a batch over HTTP.
    pub fn batch(&self, t_before: i64, entries: &[Value]) -> Answer {
        self.owner.post(&self.path("/tx/batch"), &json!({ "t-before": t_before, "txs": entries }))
    }

    /// Rows of the snapshot stream.
    pub fn rows(&self) -> Vec<frames::Row> {
        frames::rows(&self.owner.get(&self.path("/snapshot/stream")).status(200).bytes)
    }

    /// Adds a member by user id.
    pub fn invite(&self, member: &Client, role: &str) {
        let path = format!("/graphs/{}/members", self.id);
        self.owner.post(&path, &json!({ "user-id": member.user, "role": role })).expect(200, &json!({ "ok": true }));
    }
}
