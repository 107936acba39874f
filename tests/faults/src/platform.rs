//! The platform under the worker, which carries out orders.

use conformance::{Client, Server, TestGraph};
use serde_json::Value;

use crate::Order;

/// Orders to the platform. They are withdrawn when this is dropped.
pub struct Platform {
    control: Client,
}

/// A call to the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub at: String,
    pub text: String,
    /// The graph that called, or that was called; none for the index and assets.
    pub graph: Option<String>,
}

impl Platform {
    /// A platform without orders.
    pub fn of(server: &Server) -> Self {
        let platform = Self { control: server.anonymous() };
        platform.clear();
        platform
    }

    /// Adds an order.
    #[track_caller]
    pub fn order(&self, order: &Order) {
        self.control.put("/faults/orders", &order.to_json()).status(200);
    }

    /// Withdraws all orders. Calls that hang fail, and the list of calls is cleared.
    #[track_caller]
    pub fn clear(&self) {
        self.control.delete("/faults/orders").status(200);
    }

    /// Whether every order has been carried out as often as it says.
    pub fn is_done(&self) -> bool {
        let orders = self.control.get("/faults/orders").status(200).json();
        orders.as_array().expect("a list").iter().all(|order| order["times"] == 0)
    }

    /// Calls since the orders were cleared.
    pub fn calls(&self) -> Vec<Call> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let calls = self.control.get("/faults/calls").status(200).json();
        let calls = calls.as_array().expect("a list").iter();
        calls
            .map(|call| Call {
                at: text(&call["at"]).unwrap_or_default(),
                text: text(&call["text"]).unwrap_or_default(),
                graph: text(&call["graph"]),
            })
            .collect()
    }

    /// How many of the calls went to `at` and hold `part`.
    pub fn count(&self, at: &str, part: &str) -> usize {
        self.calls().iter().filter(|call| call.at == at && call.text.contains(part)).count()
    }

    /// How many statements this graph has run.
    pub fn statements(&self, graph: &TestGraph) -> usize {
        self.calls().iter().filter(|call| call.at == "sql" && call.graph.as_deref() == Some(&graph.id)).count()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear();
        }
    }
}
