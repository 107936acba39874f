//! Orders: which call to the platform fails, and how.

use conformance::TestGraph;
use serde_json::{Value, json};

/// An order to the platform. Calls are named by where they go (`at`) and what they say (`text`):
///
/// | `at` | Calls | Text |
/// |---|---|---|
/// | `sql` | a graph's own statements | the statement; `delete all` |
/// | `commit` | the end of a graph's transaction: failing, it undoes everything | `commit` |
/// | `state` | sockets and background work of a graph | the method's name |
/// | `event` | what reaches a graph | `GET /pull`, `message`, `close` |
/// | `graph` | the front worker's calls to a graph | `GET /pull`, with the operation behind it |
/// | `d1` | statements of the index | the statement, `replica: ` before it if any copy may answer; `a; b` for a batch |
/// | `r2` | assets | `get KEY`, `put KEY`, `delete KEY,KEY`, `list PREFIX`, `begin`, `part N`, `complete`, `abort` |
#[derive(Clone)]
pub struct Order {
    at: &'static str,
    matching: String,
    graph: Option<String>,
    does: &'static str,
    after: bool,
    skip: usize,
    times: i64,
    ms: u64,
    message: &'static str,
}

impl Order {
    fn new(does: &'static str, at: &'static str, matching: &str) -> Self {
        let message = "the platform failed by order";
        Self { at, matching: matching.to_owned(), graph: None, does, after: false, skip: 0, times: 1, ms: 0, message }
    }

    /// One call whose text matches the regular expression fails before it has an effect.
    pub fn fail(at: &'static str, matching: &str) -> Self {
        Self::new("fail", at, matching)
    }

    /// All calls from now on are answered late. Only for calls whose answer is awaited: `d1`, `r2`, `graph`.
    pub fn wait(at: &'static str, matching: &str, ms: u64) -> Self {
        Self { ms, times: -1, ..Self::new("wait", at, matching) }
    }

    /// All calls from now on get no answer until the orders are cleared. Only for calls whose answer is awaited.
    pub fn hang(at: &'static str, matching: &str) -> Self {
        Self { times: -1, ..Self::new("hang", at, matching) }
    }

    /// One query finds nothing.
    pub fn find_nothing(at: &'static str, matching: &str) -> Self {
        Self::new("nothing", at, matching)
    }

    /// WebAssembly dies when this event reaches a graph.
    pub fn trap(matching: &str) -> Self {
        Self::new("trap", "event", matching)
    }

    /// The call fails after its effect: only the answer is lost.
    #[must_use]
    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    /// This number of calls succeeds first.
    #[must_use]
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// This number of calls fails, not one.
    #[must_use]
    pub fn times(self, times: i64) -> Self {
        Self { times, ..self }
    }

    /// All calls fail, not one.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(-1)
    }

    /// Only calls of this graph fail.
    #[must_use]
    pub fn of(self, graph: &TestGraph) -> Self {
        Self { graph: Some(graph.id.clone()), ..self }
    }

    /// The error's text.
    #[must_use]
    pub fn saying(self, message: &'static str) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "at": self.at, "matching": self.matching, "graph": self.graph, "does": self.does, "after": self.after,
            "skip": self.skip, "times": self.times, "ms": self.ms, "message": self.message,
        })
    }
}
