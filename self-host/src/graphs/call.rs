//! What goes to a thread of graphs, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, response};
use tokio::sync::oneshot;
use web::Failure;

use super::SocketEnds;
use super::care::{Task, Told};
use crate::bodies::{ByteReceiver, NativeRequest, NativeResponse};
use crate::store::Quarantine;

/// A request for a graph.
pub(super) struct Call {
    /// The name of the graph's folder, which is its name here: two ways to write an id that share files are one graph.
    pub(super) folder: String,
    pub(super) request: Request<NativeRequest>,
    pub(super) answer: oneshot::Sender<Result<Answer, Failure>>,
}

/// What a thread of graphs is told.
pub(super) enum Command {
    /// Answer a request.
    Call(Box<Call>),
    /// Care for a graph, as the operator asks.
    Care {
        /// Its folder.
        folder: String,
        task: Task,
        /// Where repairs put what is in the way.
        quarantine: Quarantine,
        told: Told,
    },
    /// Close the sockets that came with these tokens.
    Revoke(Arc<[String]>),
    /// Checkpoint the open graphs.
    Checkpoint,
    /// End all sockets without touching a file; told when that is done.
    Abandon(oneshot::Sender<()>),
    /// End.
    Stop {
        /// How long streams and uploads may go on.
        limit: Duration,
        /// Told when all is closed.
        done: oneshot::Sender<()>,
    },
}

/// An answer on its way to another thread.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: AnswerBody,
}

/// A body that can cross threads.
pub(super) enum AnswerBody {
    Empty,
    Full(Vec<u8>),
    Channel(ByteReceiver),
    Socket(Box<SocketEnds>),
}

impl Answer {
    pub(super) fn into_response(self) -> Response<NativeResponse> {
        let body = match self.body {
            AnswerBody::Empty => NativeResponse::Empty,
            AnswerBody::Full(bytes) => NativeResponse::Full(bytes),
            AnswerBody::Channel(receiver) => NativeResponse::Channel(receiver),
            AnswerBody::Socket(ends) => NativeResponse::Socket(ends),
        };
        Response::from_parts(self.head, body)
    }
}
