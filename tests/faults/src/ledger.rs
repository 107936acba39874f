//! What a user knows to be stored.

use conformance::{Answer, Client, TestGraph, tx};
use serde_json::{Value, json};

/// A graph, and the writes to it that were acknowledged.
pub struct Ledger {
    pub graph: TestGraph,
    page: String,
    /// Blocks whose write was acknowledged.
    acknowledged: Vec<String>,
    /// Number of the next block's title and order.
    next: usize,
}

/// Entries for a batch, and the blocks that they make.
pub struct Draft {
    pub entries: Vec<Value>,
    blocks: Vec<String>,
}

impl Ledger {
    /// A graph with the standard content and one page.
    #[track_caller]
    pub fn begin(owner: &Client) -> Self {
        Self::on(TestGraph::initial(owner))
    }

    /// The same for a graph that was just uploaded.
    #[track_caller]
    pub fn on(graph: TestGraph) -> Self {
        let page = tx::id();
        let entry = tx::entry(&tx::page(&page, "Ledger"), "create-page", &tx::id());
        assert_eq!(graph.batch(graph.t(), &[entry]).json()["type"], "tx/batch/ok");
        Self { graph, acknowledged: vec![page.clone()], page, next: 0 }
    }

    /// Entries for this number of new blocks.
    pub fn draft(&mut self, blocks: usize) -> Draft {
        let blocks: Vec<String> = (0..blocks).map(|_| tx::id()).collect();
        let entries = blocks.iter().map(|block| {
            self.next += 1;
            let (order, title) = (format!("a{}V", self.next), format!("block {}", self.next));
            tx::entry(&tx::new_block(block, &self.page, &self.page, &order, &title), "insert-blocks", &tx::id())
        });
        Draft { entries: entries.collect(), blocks }
    }

    /// Tries to write new blocks over HTTP; whether they were acknowledged.
    pub fn try_write(&mut self, blocks: usize) -> Result<(), Box<Answer>> {
        let draft = self.draft(blocks);
        let answer = self.graph.batch(self.graph.t(), &draft.entries);
        if answer.status != 200 || answer.json()["type"] != "tx/batch/ok" {
            return Err(Box::new(answer));
        }
        self.acknowledge(draft);
        Ok(())
    }

    /// Writes new blocks, which must be acknowledged.
    #[track_caller]
    pub fn write(&mut self, blocks: usize) {
        if let Err(answer) = self.try_write(blocks) {
            panic!("not acknowledged: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
        }
    }

    /// Notes that these blocks were acknowledged.
    pub fn acknowledge(&mut self, draft: Draft) {
        self.acknowledged.extend(draft.blocks);
    }

    /// What was acknowledged is stored and can be downloaded, the log has no gap, the stored checksum is that of the
    /// facts, and the user can go on.
    #[track_caller]
    pub fn prove(&mut self) {
        self.prove_stored();
        self.write(1);
        self.prove_stored();
    }

    #[track_caller]
    fn prove_stored(&self) {
        let pulled = self.graph.pull();
        let log = pulled["txs"].as_array().expect("a log");
        let ts: Vec<i64> = log.iter().map(|entry| entry["t"].as_i64().expect("t")).collect();
        let t = pulled["t"].as_i64().expect("t");
        assert_eq!(ts, (1..=t).collect::<Vec<_>>(), "the log has no gap");
        let diagnostics = self.graph.owner.get(&self.graph.path("/checksum/diagnostics")).status(200).json();
        assert_eq!(diagnostics["checksum"], pulled["checksum"], "the stored checksum is that of the facts");
        let log = Value::from(log.clone()).to_string();
        let rows: String = self.graph.rows().into_iter().map(|row| row.1).collect();
        for block in &self.acknowledged {
            assert!(log.contains(block), "{block} was acknowledged, and is not in the log");
            assert!(rows.contains(block), "{block} was acknowledged, and is not in the rows");
        }
    }

    /// The blocks that are stored for certain.
    pub fn acknowledged(&self) -> &[String] {
        &self.acknowledged
    }

    /// A batch message for a socket.
    pub fn message(&self, draft: &Draft) -> Value {
        json!({ "type": "tx/batch", "t-before": self.graph.t(), "txs": draft.entries })
    }
}
