//! A user who works on another graph during an attack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use conformance::{Server, Socket, TestGraph};
use serde_json::json;

use crate::sessions;

/// The longest that a bystander may wait for an answer, on two cores.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks for something of its own, again and again.
pub struct Bystander {
    over: Arc<AtomicBool>,
    worst: JoinHandle<Duration>,
}

impl Bystander {
    /// Somebody who says hello on a graph.
    pub fn watch(server: &Server) -> Self {
        let graph = TestGraph::initial(&server.person("bystander"));
        let mut socket = Socket::open(&graph.owner, &graph.id);
        Self::asking(move || {
            assert_eq!(socket.ask(&json!({ "type": "hello", "client": "bystander" }))["type"], "hello");
        })
    }

    /// Somebody who looks at a session, the agents worker being there.
    pub fn of_a_session(server: &Server) -> Self {
        let person = server.person("bystander");
        let id = sessions::id();
        person.post("/sessions", &sessions::wanted(&id, None)).status(200);
        Self::asking(move || {
            person.get(&format!("/sessions/{id}")).status(200);
        })
    }

    fn asking(mut ask: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let worst = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                ask();
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
