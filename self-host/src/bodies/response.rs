//! Bodies of responses: made here, read from a file, or sent over by another thread or server.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};
use web::{Failure, ResponseBody, Source};

use super::ByteReceiver;
use crate::graphs::SocketEnds;
use crate::serve::Busy;

/// Bytes of a file that are read at once.
const FILE_CHUNK: usize = 128 << 10;

/// The body of a response.
pub(crate) enum NativeResponse {
    /// None.
    Empty,
    /// Bytes.
    Full(Vec<u8>),
    /// Made while it is sent, on the thread that made the source.
    Streamed(Box<dyn Source>),
    /// Chunks that another thread sends.
    Channel(ByteReceiver),
    /// A file, or a part of one.
    File(FileBody),
    /// What another server answers, passed on as it is.
    Passed(Incoming),
    /// No body: the connection becomes a socket.
    Socket(Box<SocketEnds>),
}

impl NativeResponse {
    /// How long it is, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Socket(_) => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.left),
            Self::Passed(body) => body.size_hint().exact(),
            Self::Streamed(_) | Self::Channel(_) => None,
        }
    }
}

/// Bytes of a file.
pub(crate) struct FileBody {
    file: File,
    left: u64,
    buffer: Vec<u8>,
}

impl FileBody {
    /// So many bytes from where the file stands.
    pub(crate) fn new(file: File, length: u64) -> Self {
        Self { file, left: length, buffer: Vec::new() }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let wanted = usize::try_from(self.left).unwrap_or(FILE_CHUNK).min(FILE_CHUNK);
        self.buffer.resize(wanted, 0);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.file).poll_read(context, &mut buffer)).map_err(|error| Failure(error.to_string()))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Err(Failure("the file became shorter".into())));
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.truncate(read);
        self.left -= read as u64;
        Poll::Ready(Ok(Some(bytes)))
    }
}

impl ResponseBody for NativeResponse {
    fn empty() -> Self {
        Self::Empty
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::Full(bytes)
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self::Streamed(source)
    }
}

/// A body as the HTTP server sends it, and what ends with it.
pub(crate) struct SentBody(NativeResponse, Option<Busy>);

impl SentBody {
    /// A body that keeps its connection busy for as long as it is sent.
    pub(crate) fn of(body: NativeResponse, busy: Option<Busy>) -> Self {
        Self(body, busy)
    }
}

impl From<NativeResponse> for SentBody {
    fn from(body: NativeResponse) -> Self {
        Self(body, None)
    }
}

impl SentBody {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let chunk = match &mut self.0 {
            NativeResponse::Empty | NativeResponse::Socket(_) => Ok(None),
            NativeResponse::Full(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            NativeResponse::Streamed(source) => source.next(),
            NativeResponse::Channel(receiver) => ready!(receiver.poll_next(context)),
            NativeResponse::File(file) => ready!(file.poll_next(context)),
            NativeResponse::Passed(body) => {
                // Ends: there is at most one frame that is no data.
                loop {
                    match ready!(Pin::new(&mut *body).poll_frame(context)) {
                        None => return Poll::Ready(Ok(None)),
                        Some(Err(error)) => return Poll::Ready(Err(Failure(error.to_string()))),
                        Some(Ok(frame)) => {
                            if let Ok(bytes) = frame.into_data() {
                                return Poll::Ready(Ok(Some(bytes)));
                            }
                        }
                    }
                }
            }
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Bytes::from)))
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let chunk = ready!(self.poll_chunk(context));
        if matches!(chunk, Ok(None)) {
            // What it holds is free at once.
            self.0 = NativeResponse::Empty;
            self.1 = None;
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            NativeResponse::Empty | NativeResponse::Socket(_) => true,
            NativeResponse::Full(bytes) => bytes.is_empty(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            NativeResponse::Passed(body) => body.size_hint(),
            body => body.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
