//! Answers that are made while they are sent. Each piece borrows the graph for one step.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use database::local::Sql;
use graph::snapshot::Export;
use graph::{Diagnostics, Pull};
use protocol::limits::{PULL_IDLE_MS, PULL_STREAMS};
use web::{Failure, Source};

use super::SharedGraph;
use crate::error::Error;

/// A source that knows its end before it is asked for more.
pub(super) trait Pieces: Source {
    /// Whether all of it was given.
    fn has_ended(&self) -> bool;
}

/// A pull, piece by piece.
pub(super) struct PullPieces<S> {
    graph: SharedGraph<S>,
    pull: Pull,
}

impl<S> PullPieces<S> {
    pub(super) const fn new(graph: SharedGraph<S>, pull: Pull) -> Self {
        Self { graph, pull }
    }
}

impl<S: Sql + 'static> Source for PullPieces<S> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut out = String::new();
        let more = self.graph.borrow_mut().pull_piece(&mut self.pull, &mut out).map_err(failure)?;
        Ok(more.then(|| out.into_bytes()))
    }
}

impl<S: Sql + 'static> Pieces for PullPieces<S> {
    fn has_ended(&self) -> bool {
        self.pull.has_ended()
    }
}

/// Diagnostics, piece by piece.
pub(super) struct DiagnosticsPieces<S> {
    graph: SharedGraph<S>,
    diagnostics: Diagnostics,
}

impl<S> DiagnosticsPieces<S> {
    pub(super) const fn new(graph: SharedGraph<S>, diagnostics: Diagnostics) -> Self {
        Self { graph, diagnostics }
    }
}

impl<S: Sql + 'static> Source for DiagnosticsPieces<S> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut out = String::new();
        let more = self.graph.borrow_mut().diagnostics_piece(&mut self.diagnostics, &mut out).map_err(failure)?;
        Ok(more.then(|| out.into_bytes()))
    }
}

impl<S: Sql + 'static> Pieces for DiagnosticsPieces<S> {
    fn has_ended(&self) -> bool {
        self.diagnostics.has_ended()
    }
}

/// A snapshot, chunk by chunk. Dropping it ends the export, so that commits stop saving rows for it.
///
/// One that fails ends within a frame before it breaks off: an error alone looks to clients like the end.
pub(super) struct ExportChunks<S: Sql + 'static> {
    graph: SharedGraph<S>,
    export: Option<Export>,
    /// Why it breaks off.
    failure: Option<Failure>,
}

impl<S: Sql + 'static> ExportChunks<S> {
    pub(super) const fn new(graph: SharedGraph<S>, export: Export) -> Self {
        Self { graph, export: Some(export), failure: None }
    }

    fn end(&mut self) -> Result<(), graph::Error> {
        match self.export.take() {
            Some(export) => self.graph.borrow_mut().end_export(export),
            None => Ok(()),
        }
    }
}

impl<S: Sql + 'static> Source for ExportChunks<S> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let Some(export) = &mut self.export else { return Ok(None) };
        let chunk = self.graph.borrow_mut().next_chunk(export);
        match chunk {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => {
                self.end().map_err(failure)?;
                Ok(None)
            }
            Err(error) => {
                let error = failure(error);
                let unfinished = export.unfinished();
                self.failure = Some(error.clone());
                if unfinished.is_empty() { Err(error) } else { Ok(Some(unfinished)) }
            }
        }
    }
}

impl<S: Sql + 'static> Drop for ExportChunks<S> {
    fn drop(&mut self) {
        // The graph is never borrowed while a stream is dropped; were it, the next commit would forget the export.
        if let Ok(mut graph) = self.graph.try_borrow_mut()
            && let Some(export) = self.export.take()
        {
            let _ = graph.end_export(export);
        }
    }
}

/// A source that has looked one piece ahead, so that what fails at once is still answered with a status.
pub(super) struct Ahead<T, C> {
    source: T,
    place: Rc<Place>,
    ended: bool,
    now_ms: C,
}

/// How an answer is sent.
pub(super) enum Begun<T, C> {
    /// All of it.
    Whole(Vec<u8>),
    /// While it is made.
    Stream(Ahead<T, C>),
}

/// The streams that run over a graph, at most [`PULL_STREAMS`].
#[derive(Debug, Default)]
pub(crate) struct Streams(RefCell<Vec<Rc<Place>>>);

/// One of them.
#[derive(Debug)]
struct Place {
    /// Pieces that were made before they were asked for.
    ready: RefCell<VecDeque<Vec<u8>>>,
    /// When it was last read, in milliseconds.
    read_at: Cell<i64>,
    /// Nobody has read it for too long.
    over: Cell<bool>,
}

impl Streams {
    /// A place for another stream, once those were ended that nobody reads.
    fn enter(&self, now_ms: i64) -> Result<Rc<Place>, Error> {
        let mut running = self.0.borrow_mut();
        running.retain(|place| {
            let idle = now_ms.saturating_sub(place.read_at.get()) > PULL_IDLE_MS;
            if idle {
                place.over.set(true);
                place.ready.take();
            }
            // Otherwise its stream was dropped.
            !idle && Rc::strong_count(place) > 1
        });
        if running.len() >= PULL_STREAMS {
            return Err(Error::TooManyDownloads);
        }
        let place = Rc::new(Place { ready: RefCell::default(), read_at: Cell::new(now_ms), over: Cell::new(false) });
        running.push(Rc::clone(&place));
        Ok(place)
    }
}

impl<T: Pieces, C: Fn() -> i64> Ahead<T, C> {
    /// Begins an answer. What fits into one piece takes no place among the streams.
    pub(super) fn begin(mut source: T, streams: &Streams, now_ms: C) -> Result<Begun<T, C>, Error> {
        let first = source.next()?;
        if source.has_ended() {
            return Ok(Begun::Whole(first.unwrap_or_default()));
        }
        let place = streams.enter(now_ms())?;
        let second = source.next()?;
        let ended = second.is_none();
        place.ready.borrow_mut().extend(first.into_iter().chain(second));
        Ok(Begun::Stream(Self { source, place, ended, now_ms }))
    }
}

impl<T: Source, C: Fn() -> i64> Source for Ahead<T, C> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.place.over.get() {
            return Err(failure(graph::Error::Stalled));
        }
        self.place.read_at.set((self.now_ms)());
        let ready = self.place.ready.borrow_mut().pop_front();
        match ready {
            Some(piece) => Ok(Some(piece)),
            None if self.ended => Ok(None),
            None => self.source.next(),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn failure(error: graph::Error) -> Failure {
    Failure(error.to_string())
}
