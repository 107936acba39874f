//! What a graph does when nobody writes to it: it writes the nodes that wait in its journal (datascript.md 13.5), and deletes
//! the rows of what an upload has replaced (sync.md D-40).

use std::cell::Cell;

use super::sockets::report;
use super::{GraphHost, GraphState};

/// Milliseconds after the last batch at which a graph counts as idle. Short enough for a Durable Object, which hibernates ten
/// seconds after its last event.
const IDLE_MS: i64 = 4_000;

/// Milliseconds until a checkpoint that failed is tried again.
const RETRY_MS: i64 = 60_000;

/// Whether a graph is to be called when it is idle. What a restart loses is made up by the next batch.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Whether [`GraphHost::rest_after`] was asked and has not called yet.
    asked: Cell<bool>,
    /// The last batch that was seen to wait, and when that was, in milliseconds.
    last: Cell<(i64, i64)>,
}

/// Sees to it that what waits in the journal is written once the graph is idle.
pub(super) fn later<H: GraphHost>(host: &H, state: &GraphState) {
    let waits = host.graph().borrow().waits_for_checkpoint();
    if let Some(last) = waits
        && state.rest.last.get().0 != last
    {
        state.rest.last.set((last, host.now_ms()));
    }
    // What cannot be read now is looked at again with the next request.
    let is_due = waits.is_some() || matches!(host.graph().borrow_mut().waits_for_sweep(), Ok(true));
    if is_due && !state.rest.asked.get() {
        ask(host, state, IDLE_MS);
    }
}

fn ask<H: GraphHost>(host: &H, state: &GraphState, ms: i64) {
    state.rest.asked.set(true);
    host.rest_after(u32::try_from(ms).unwrap_or(0));
}

/// The time that [`GraphHost::rest_after`] was asked for is over: the graph rests, unless there were batches meanwhile.
pub async fn on_rest<H: GraphHost>(host: &H, state: &GraphState) {
    state.rest.asked.set(false);
    let idle_ms = host.now_ms().saturating_sub(state.rest.last.get().1);
    // A clock that was set back must not keep it awake.
    if (0..IDLE_MS).contains(&idle_ms) {
        return ask(host, state, IDLE_MS - idle_ms);
    }
    if let Err(error) = rest(host).await {
        report(host, state, "db-sync/graph-checkpoint-failed", &error.to_string());
        if !state.rest.asked.get() {
            ask(host, state, RETRY_MS);
        }
    }
}

async fn rest<H: GraphHost>(host: &H) -> graph::Result<()> {
    host.graph().borrow_mut().checkpoint()?;
    // Each step deletes something. What an uploaded graph has replaced is as large as that was.
    while host.graph().borrow_mut().sweep()? {
        host.turn().await;
    }
    Ok(())
}
