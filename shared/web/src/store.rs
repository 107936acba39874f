//! Files of any size, by key.

use crate::Failure;

/// A stored object.
#[derive(Debug)]
pub struct StoredObject<R> {
    /// The content, or the part of it that was asked for.
    pub body: R,
    /// What is known of the whole.
    pub head: ObjectHead,
}

/// What is known of a stored object.
#[derive(Clone, Debug)]
pub struct ObjectHead {
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
pub struct ObjectMeta<'a> {
    /// HTTP content type.
    pub content_type: &'a str,
    /// Further values by name, kept and not looked at.
    pub custom: &'a [(&'static str, &'a str)],
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

/// A store of objects by key: takes bodies of requests, gives bodies of responses.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait ObjectStore<B, R> {
    /// The object of a key, or a part of it. A range that the object does not have is a failure.
    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Option<StoredObject<R>>, Failure>;

    /// What is known of the object of a key.
    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, Failure>;

    /// Stores a body as it arrives, in place of what was there; all of it or nothing, and nothing half done is left in the
    /// store. Where no length is declared the bytes are counted, and what comes after too many is left unread.
    async fn put(&self, key: &str, body: &mut B, size: Size, meta: ObjectMeta<'_>) -> Result<(), PutError>;

    /// Deletes an object; there need not be one.
    async fn delete(&self, key: &str) -> Result<(), Failure>;

    /// Deletes a page of the objects whose keys begin with `prefix`; true when there may be more.
    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure>;
}
