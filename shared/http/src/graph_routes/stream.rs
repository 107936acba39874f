//! Answers that are made while they are sent. Each piece borrows the graph for one step.

use std::collections::VecDeque;

use graph::snapshot::Export;
use graph::sql::Sql;
use graph::{Diagnostics, Pull};

use super::SharedGraph;
use crate::platform::{Failure, Source};

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

/// A source that has looked one piece ahead, so that what fails at once is still answered with a status, and what is
/// short is sent as a whole.
pub(super) struct Ahead<T> {
    source: T,
    ready: VecDeque<Vec<u8>>,
    ended: bool,
}

impl<T: Source> Ahead<T> {
    pub(super) fn new(mut source: T) -> Result<Self, Failure> {
        let mut ready = VecDeque::new();
        let mut ended = false;
        while ready.len() < 2 && !ended {
            match source.next()? {
                Some(piece) => ready.push_back(piece),
                None => ended = true,
            }
        }
        Ok(Self { source, ready, ended })
    }

    /// The whole body, when it is a single piece.
    pub(super) fn take_whole(&mut self) -> Option<Vec<u8>> {
        if self.ended && self.ready.len() < 2 { Some(self.ready.pop_front().unwrap_or_default()) } else { None }
    }
}

impl<T: Source> Source for Ahead<T> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.ready.pop_front() {
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
