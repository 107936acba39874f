//! Objects that are held in memory as a whole, by key.

use crate::Failure;

/// A store of small objects.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Blobs {
    /// The object of a key. One of more than `limit` bytes is a failure.
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure>;

    /// Stores an object in place of what was there; all of it or nothing.
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure>;

    /// Deletes an object; there need not be one.
    async fn delete(&self, key: &str) -> Result<(), Failure>;
}

impl<B: Blobs> Blobs for std::rc::Rc<B> {
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        (**self).get(key, limit).await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        (**self).put(key, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        (**self).delete(key).await
    }
}
