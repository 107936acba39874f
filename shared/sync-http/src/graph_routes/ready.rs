//! Whether a graph may be used (sync.md 5): its own lock, and the flag of the index, which is to say the same.

use std::cell::Cell;

use web::{Event, Level};

use super::{GraphHost, GraphState};
use crate::error::Error;
use crate::graph_subject;

/// Times the flag is written at most before one request is done with it: again only after a change that came meanwhile.
const ROUNDS: usize = 5;

/// What is known of writes of the index's flag. The index may carry out two of them in either order, so whoever is the last
/// to have an answer looks at the graph again.
#[derive(Debug, Default)]
pub(crate) struct ReadyFlag {
    /// Uploads that are about to close the graph.
    closing: Cell<u32>,
    /// Writes without an answer so far.
    writing: Cell<u32>,
    /// Whether two writes overlapped since the flag was last known to be right.
    overlapped: Cell<bool>,
}

/// One more in a count while this lives.
struct Counted<'c>(&'c Cell<u32>);

impl<'c> Counted<'c> {
    fn new(count: &'c Cell<u32>) -> Self {
        count.set(count.get().saturating_add(1));
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Refuses while an upload runs here or the index says so. The local flag is asked again at the end: an upload may
/// have begun while the index was asked.
///
/// Where the index says so although the graph is open, an upload has failed before it changed anything, or its last answer
/// was lost: the index is told.
pub(super) async fn require<H: GraphHost>(host: &H, state: &GraphState) -> Result<(), Error> {
    require_local(host)?;
    if let (Some(db), Some(graph_id)) = (host.db(), state.graph_id()) {
        if !index::graphs::is_ready(&*db, &graph_id).await? {
            if !is_open(host, state)? {
                return Err(Error::NotReady);
            }
            tell_or_report(host, state, &graph_id).await;
        }
        require_local(host)?;
    }
    Ok(())
}

/// Refuses while an upload closes the graph.
pub(super) fn require_local<H: GraphHost>(host: &H) -> Result<(), Error> {
    if host.graph().borrow_mut().is_uploading()? { Err(Error::NotReady) } else { Ok(()) }
}

fn is_open<H: GraphHost>(host: &H, state: &GraphState) -> Result<bool, Error> {
    Ok(state.ready.closing.get() == 0 && host.graph().borrow_mut().is_open()?)
}

/// Closes a graph for an upload: first in the index, then here by `close` (D-29). When either fails the graph is as it was,
/// and the index is told so.
pub(super) async fn close<H: GraphHost>(
    host: &H,
    state: &GraphState,
    graph_id: &str,
    close: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let db = host.db().ok_or(Error::IndexMissing)?;
    if index::graphs::is_ready_at_primary(&*db, graph_id).await? && !host.graph().borrow_mut().is_uploading()? {
        // Nobody may have used it yet. Its first rows tell later that it was open, should the upload come to nothing.
        host.graph().borrow_mut().position()?;
    }
    let closing = Counted::new(&state.ready.closing);
    let outcome = match tell(host, state, graph_id).await {
        Ok(()) => close(),
        Err(error) => Err(error),
    };
    drop(closing);
    if outcome.is_err() {
        tell_or_report(host, state, graph_id).await;
    }
    outcome
}

/// Writes to the index whether the graph is open. What changes meanwhile is written too, here or by who changes it.
pub(super) async fn tell<H: GraphHost>(host: &H, state: &GraphState, graph_id: &str) -> Result<(), Error> {
    let db = host.db().ok_or(Error::IndexMissing)?;
    let flag = &state.ready;
    for _ in 0..ROUNDS {
        let open = is_open(host, state)?;
        if flag.writing.get() > 0 {
            flag.overlapped.set(true);
        }
        let writing = Counted::new(&flag.writing);
        let written = index::graphs::set_ready(&*db, graph_id, open, host.now_ms()).await;
        drop(writing);
        written?;
        if flag.writing.get() > 0 {
            return Ok(());
        }
        let settled = !flag.overlapped.replace(false);
        if settled && is_open(host, state)? == open {
            return Ok(());
        }
    }
    Ok(())
}

/// The same where a failure changes nothing for who asks: the next one who finds the flag wrong tells again.
async fn tell_or_report<H: GraphHost>(host: &H, state: &GraphState, graph_id: &str) {
    if let Err(error) = tell(host, state, graph_id).await {
        let event = Event::new(Level::Warning, "db-sync/ready-flag-failed");
        host.report(&event.about(graph_subject(graph_id)).with_error(&error.to_string()));
    }
}
