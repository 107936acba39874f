//! Bodies that are sent while something goes on.

use std::task::{Context, Poll};

use crate::{Failure, ResponseBody};

/// Chunks of a body that come when something happens. Dropping it ends the stream; the platform drops it when the receiver
/// has gone.
pub trait LiveSource {
    /// The next chunk, never empty, or none at the end. Asked again only when the receiver has room for it.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Failure>>;
}

/// A body that can be live.
pub trait LiveBody: ResponseBody {
    /// A body of what the source gives.
    fn live(source: Box<dyn LiveSource>) -> Self;
}
