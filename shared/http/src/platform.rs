//! The ports: what the surface needs of the platform it runs on.
//!
//! The Cloudflare adapter and the native server implement these traits; no rule lives behind them. Bodies are opaque:
//! those of assets and of forwarded requests pass through without being read here.

use std::future::Future;

use database::Database;
use http::{Request, Response};
use uuid::Uuid;

use crate::report::{Event, Trace};

/// Something outside the server failed: a store, a service, another object. The text is for logs, never for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Work beside an answer that could not be done.
#[derive(Clone, Debug)]
pub struct Undone {
    /// What happened, by its name in sync.md 17.
    pub event: &'static str,
    /// Why. For logs, never for clients.
    pub failure: Failure,
}

/// A request's or a response's body.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Body: Sized {
    /// No body at all.
    fn empty() -> Self;

    /// A body held in memory.
    fn full(bytes: Vec<u8>) -> Self;

    /// A body made while it is sent: the platform asks for a chunk whenever the receiver has room for one.
    fn streamed(source: Box<dyn Source>) -> Self;

    /// Whether it is known that there are no bytes to come.
    fn is_empty(&self) -> bool;

    /// Gives up what is left of the body of a request that is refused: nobody reads it any more, and the answer does not
    /// wait for it. A sender that is cut off while it writes may see a broken connection instead of the answer, and try
    /// again; so the platform lets a short rest, tens of kilobytes, come in behind the answer before it closes the
    /// connection, at no cost to others.
    async fn cancel(&mut self);

    /// Takes in what is left of a request's body and throws it away, without a turn of everyone else's for long; beyond
    /// `limit` bytes it is given up.
    async fn discard(&mut self, limit: u64);

    /// The next bytes of a request's body, or none at its end. A connection that breaks off is a failure, never an end.
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure>;
}

/// Chunks of a streamed body. Dropping it ends the stream, whether or not it was read to its end.
pub trait Source {
    /// The next chunk, never empty, or none at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure>;
}

/// A stored object.
#[derive(Debug)]
pub struct Asset<B> {
    /// The content, or the part of it that was asked for.
    pub body: B,
    /// What is known of the whole.
    pub head: AssetHead,
}

/// What is known of a stored object.
#[derive(Clone, Debug)]
pub struct AssetHead {
    /// Bytes of content.
    pub size: u64,
    /// Names this content, in quotes, as it stands in an `ETag` header.
    pub etag: String,
    /// As given when it was stored.
    pub content_type: Option<String>,
    /// As given when it was stored.
    pub content_encoding: Option<String>,
    /// As given when it was stored.
    pub cache_control: Option<String>,
}

/// Bytes of an object, of which there is at least one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange {
    /// The first of them, counted from 0.
    pub first: u64,
    /// How many they are.
    pub length: u64,
}

/// What is stored with an object.
#[derive(Clone, Copy, Debug)]
pub struct AssetMeta<'a> {
    /// HTTP content type.
    pub content_type: &'a str,
    /// The checksum that the client names; stored, not verified.
    pub checksum: Option<&'a str>,
    /// The extension in the path.
    pub extension: &'a str,
}

/// How many bytes a body may and should have.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The length that the request declares; already known to be within the limit.
    pub declared: Option<u64>,
    /// Bytes beyond which nothing is stored.
    pub limit: u64,
}

/// Why an object was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// More bytes came than the limit allows.
    #[error("the object is larger than allowed")]
    TooLarge,
    /// The body broke off: the sender is gone, and nothing is wrong here.
    #[error("the body broke off: {0}")]
    Interrupted(Failure),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A store of objects by key.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait AssetStore<B> {
    /// The object of a key, or a part of it. A range that the object does not have is a failure.
    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Option<Asset<B>>, Failure>;

    /// What is known of the object of a key.
    async fn head(&self, key: &str) -> Result<Option<AssetHead>, Failure>;

    /// Stores a body as it arrives, in place of what was there; all of it or nothing, and nothing half done is left in the
    /// store. Where no length is declared the bytes are counted, and what comes after too many is left unread.
    async fn put(&self, key: &str, body: &mut B, size: Size, meta: AssetMeta<'_>) -> Result<(), PutError>;

    /// Deletes an object; there need not be one.
    async fn delete(&self, key: &str) -> Result<(), Failure>;

    /// Deletes a page of the objects whose keys begin with `prefix`; true when there may be more.
    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure>;
}

/// The platform under the front worker.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Platform {
    /// Bodies of requests and responses.
    type Body: Body;
    /// The index database. A clone is another handle to it.
    type Db: Database + Clone + 'static;
    /// Where key sets come from, and the time.
    type Keys: auth::KeySetSource + auth::Clock;
    /// The store of assets.
    type Assets: AssetStore<Self::Body>;

    /// The index database, unless it is not configured.
    fn db(&self) -> Option<&Self::Db>;

    /// The store of assets, unless it is not configured.
    fn assets(&self) -> Option<&Self::Assets>;

    /// Sends a request to the object of the graph with that name and gives its answer, a protocol switch included.
    async fn call_graph(&self, name: &str, request: Request<Self::Body>) -> Result<Response<Self::Body>, Failure>;

    /// Whether there is an agents service.
    fn has_agents(&self) -> bool;

    /// Sends a request to the agents service as it is.
    async fn call_agents(&self, request: Request<Self::Body>) -> Result<Response<Self::Body>, Failure>;

    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;

    /// Waits.
    async fn sleep_ms(&self, ms: u32);

    /// Lets work go on beside the answer and beyond it, for some seconds. The answer neither waits for it nor fails with it;
    /// what it could not do is reported as a warning.
    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static);

    /// A random UUID (version 4).
    fn random_uuid(&self) -> Uuid;

    /// Logs an event and, where that is configured, reports it. Never waits, never fails.
    fn report(&self, event: &Event<'_>);

    /// Reports an answered request where that is configured. Never waits, never fails.
    fn trace(&self, trace: &Trace<'_>);
}
