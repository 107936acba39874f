//! A user who works on another graph during an attack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use conformance::{Server, Socket, TestGraph};
use serde_json::json;

/// The longest that a bystander may wait for an answer, on two cores.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says hello on a graph of its own, again and again.
pub struct Bystander {
    over: Arc<AtomicBool>,
    worst: JoinHandle<Duration>,
}

impl Bystander {
    pub fn watch(server: &Server) -> Self {
        let graph = TestGraph::initial(&server.person("bystander"));
        let mut socket = Socket::open(&graph.owner, &graph.id);
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let worst = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(socket.ask(&json!({ "type": "hello", "client": "bystander" }))["type"], "hello");
                worst = worst.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            worst
        });
        Self { over, worst }
    }

    /// Fails the case if an answer took too long.
    #[track_caller]
    pub fn is_content(self) {
        self.over.store(true, Ordering::Relaxed);
        let worst = self.worst.join().expect("the bystander was answered");
        assert!(worst < PATIENCE, "a bystander waited {} ms for an answer", worst.as_millis());
    }
}
