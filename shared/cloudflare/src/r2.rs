//! Files in R2.

use std::collections::HashMap;

use web::{
    Blobs, ByteRange, Failure, ObjectHead, ObjectMeta, ObjectStore, PutError, RequestBody as _, Size, StoredObject,
};
use worker::{Bucket, Data, HttpMetadata, MultipartUpload, Object, Range, ResponseBody, UploadedPart};

use crate::bindings::streams;
use crate::failure::{failure, worker_failure};
use crate::request::JsRequest;
use crate::response::JsResponse;

/// Bytes of a part where the length is not known beforehand: all parts but the last must be of one size, at least
/// 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A bucket as a store of files.
pub struct R2(Bucket);

impl R2 {
    /// The files of a bucket.
    pub fn new(bucket: Bucket) -> Self {
        Self(bucket)
    }

    async fn store(&self, key: &str, value: impl Into<Data>, meta: ObjectMeta<'_>) -> Result<(), Failure> {
        let put = self.0.put(key, value).http_metadata(http_metadata(meta)).custom_metadata(custom_metadata(meta));
        put.execute().await.map(drop).map_err(worker_failure)
    }

    /// Stores a body of unknown length, counting: a short one at once, a longer one part by part.
    async fn store_counted(
        &self,
        key: &str,
        body: &mut JsRequest,
        limit: u64,
        meta: ObjectMeta<'_>,
    ) -> Result<(), PutError> {
        let mut source = Counted { body, left: limit, part: Vec::new() };
        let first = source.part().await?;
        if first.len() < PART_BYTES {
            return Ok(self.store(key, first, meta).await?);
        }
        let begun = self.0.create_multipart_upload(key);
        let begun = begun.http_metadata(http_metadata(meta)).custom_metadata(custom_metadata(meta));
        let upload = begun.execute().await.map_err(worker_failure)?;
        let parts = match store_parts(&upload, first, &mut source).await {
            Ok(parts) => parts,
            Err(error) => {
                // Whatever went wrong: parts that nobody completes stay in the store. That they stay because it does not
                // answer either is not what the sender is told.
                let _ = upload.abort().await;
                return Err(error);
            }
        };
        // Takes the upload; one that cannot be completed is given up by the number it has.
        let id = upload.upload_id().await;
        match upload.complete(parts).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if let Ok(rest) = self.0.resume_multipart_upload(key, id) {
                    let _ = rest.abort().await;
                }
                Err(worker_failure(error).into())
            }
        }
    }
}

/// Stores the parts of an upload, of which the first was read.
async fn store_parts(
    upload: &MultipartUpload,
    first: Vec<u8>,
    source: &mut Counted<'_>,
) -> Result<Vec<UploadedPart>, PutError> {
    let mut parts = Vec::new();
    let mut part = first;
    // Bounded by what the source may give.
    while !part.is_empty() {
        let number = u16::try_from(parts.len() + 1).unwrap_or(u16::MAX);
        let is_last = part.len() < PART_BYTES;
        parts.push(upload.upload_part(number, part).await.map_err(worker_failure)?);
        part = if is_last { Vec::new() } else { source.part().await? };
    }
    Ok(parts)
}

/// A body in parts, of which no more than so many bytes come.
struct Counted<'a> {
    body: &'a mut JsRequest,
    left: u64,
    /// What was read beyond the last part.
    part: Vec<u8>,
}

impl Counted<'_> {
    /// The next part; one that is shorter than [`PART_BYTES`] is the last.
    async fn part(&mut self) -> Result<Vec<u8>, PutError> {
        while self.part.len() < PART_BYTES {
            let Some(chunk) = self.body.chunk().await.map_err(PutError::Interrupted)? else { break };
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or(PutError::TooLarge)?;
            self.part.extend_from_slice(&chunk);
        }
        let rest = self.part.split_off(self.part.len().min(PART_BYTES));
        Ok(std::mem::replace(&mut self.part, rest))
    }
}

fn http_metadata(meta: ObjectMeta<'_>) -> HttpMetadata {
    HttpMetadata { content_type: Some(meta.content_type.to_owned()), ..HttpMetadata::default() }
}

fn custom_metadata(meta: ObjectMeta<'_>) -> HashMap<String, String> {
    meta.custom.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn head_of(object: &Object) -> ObjectHead {
    let meta = object.http_metadata();
    ObjectHead {
        size: object.size(),
        etag: object.http_etag(),
        content_type: meta.content_type,
        content_encoding: meta.content_encoding,
        cache_control: meta.cache_control,
    }
}

impl ObjectStore<JsRequest, JsResponse> for R2 {
    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Option<StoredObject<JsResponse>>, Failure> {
        let mut get = self.0.get(key);
        if let Some(ByteRange { first, length }) = range {
            get = get.range(Range::OffsetWithLength { offset: first, length });
        }
        let Some(object) = get.execute().await.map_err(worker_failure)? else { return Ok(None) };
        let head = head_of(&object);
        let length = range.map_or(head.size, |range| range.length);
        let Some(body) = object.body() else { return Ok(None) };
        let body = match body.response_body().map_err(worker_failure)? {
            // Of known length, or else the answer would carry none.
            ResponseBody::Stream(stream) => {
                JsResponse::Stream(streams::fixed_length(&stream, length).map_err(failure)?)
            }
            _ => return Err(Failure("an object without a stream".into())),
        };
        Ok(Some(StoredObject { body, head }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, Failure> {
        let object = self.0.head(key).await.map_err(worker_failure)?;
        Ok(object.as_ref().map(head_of))
    }

    async fn put(&self, key: &str, body: &mut JsRequest, size: Size, meta: ObjectMeta<'_>) -> Result<(), PutError> {
        match (body.stream(), size.declared) {
            (None, _) => Ok(self.store(key, Data::Empty, meta).await?),
            (Some(source), Some(length)) => {
                let stream = streams::fixed_length(&source, length).map_err(failure)?;
                let Err(failed) = self.store(key, Data::ReadableStream(stream), meta).await else { return Ok(()) };
                let error = if streams::is_broken(&source).await { PutError::Interrupted } else { PutError::Failed };
                Err(error(failed))
            }
            (Some(_), None) => self.store_counted(key, body, size.limit, meta).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.0.delete(key).await.map_err(worker_failure)
    }

    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure> {
        let page = self.0.list().prefix(prefix).limit(1000).execute().await.map_err(worker_failure)?;
        let keys: Vec<String> = page.objects().iter().map(worker::Object::key).collect();
        if !keys.is_empty() {
            self.0.delete_multiple(keys).await.map_err(worker_failure)?;
        }
        Ok(page.truncated())
    }
}

impl Blobs for R2 {
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let Some(object) = self.0.get(key).execute().await.map_err(worker_failure)? else { return Ok(None) };
        if object.size() > limit as u64 {
            return Err(Failure("an object is larger than it was stored".into()));
        }
        let Some(body) = object.body() else { return Ok(None) };
        body.bytes().await.map(Some).map_err(worker_failure)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        self.0.put(key, bytes).execute().await.map(drop).map_err(worker_failure)
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.0.delete(key).await.map_err(worker_failure)
    }
}
