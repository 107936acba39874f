//! Assets in R2.

use std::collections::HashMap;

use sync_http::platform::{Asset, AssetMeta, AssetStore, Body as _, Failure, PutError, Size};
use worker::{Bucket, Data, HttpMetadata, ResponseBody, UploadedPart};

use crate::bindings::streams;
use crate::body::{self, JsBody};
use crate::failure::{failure, worker_failure};

/// Bytes of a part where the length is not known beforehand: all parts but the last must be of one size, at least
/// 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// The binding `LOGSEQ_SYNC_ASSETS`.
pub struct R2Assets(Bucket);

impl R2Assets {
    /// The assets in a bucket.
    pub fn new(bucket: Bucket) -> Self {
        Self(bucket)
    }

    async fn store(&self, key: &str, value: impl Into<Data>, meta: AssetMeta<'_>) -> Result<(), Failure> {
        let put = self.0.put(key, value).http_metadata(http_metadata(meta)).custom_metadata(custom_metadata(meta));
        put.execute().await.map(drop).map_err(worker_failure)
    }

    /// Stores a body of unknown length part by part, counting.
    async fn store_counted(
        &self,
        key: &str,
        body: &mut JsBody,
        limit: u64,
        meta: AssetMeta<'_>,
    ) -> Result<(), PutError> {
        let (mut part, mut total) = (Vec::new(), 0_u64);
        let mut upload = None;
        let mut parts: Vec<UploadedPart> = Vec::new();
        let outcome = loop {
            let chunk = match body.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(failure) => break Err(PutError::Failed(failure)),
            };
            total += chunk.len() as u64;
            if total > limit {
                break Err(PutError::TooLarge);
            }
            part.extend_from_slice(&chunk);
            while part.len() >= PART_BYTES {
                let rest = part.split_off(PART_BYTES);
                let full = std::mem::replace(&mut part, rest);
                if upload.is_none() {
                    let begun = self.0.create_multipart_upload(key);
                    let begun = begun.http_metadata(http_metadata(meta)).custom_metadata(custom_metadata(meta));
                    upload = Some(begun.execute().await.map_err(worker_failure)?);
                }
                if let Some(upload) = &upload {
                    let number = u16::try_from(parts.len() + 1).unwrap_or(u16::MAX);
                    parts.push(upload.upload_part(number, full).await.map_err(worker_failure)?);
                }
            }
        };
        let Some(upload) = upload else {
            outcome?;
            return Ok(self.store(key, part, meta).await?);
        };
        if let Err(error) = outcome {
            upload.abort().await.map_err(worker_failure)?;
            return Err(error);
        }
        if !part.is_empty() {
            let number = u16::try_from(parts.len() + 1).unwrap_or(u16::MAX);
            parts.push(upload.upload_part(number, part).await.map_err(worker_failure)?);
        }
        upload.complete(parts).await.map(drop).map_err(|error| worker_failure(error).into())
    }
}

fn http_metadata(meta: AssetMeta<'_>) -> HttpMetadata {
    HttpMetadata { content_type: Some(meta.content_type.to_owned()), ..HttpMetadata::default() }
}

fn custom_metadata(meta: AssetMeta<'_>) -> HashMap<String, String> {
    let checksum = meta.checksum.map(|checksum| ("checksum".to_owned(), checksum.to_owned()));
    checksum.into_iter().chain([("type".to_owned(), meta.extension.to_owned())]).collect()
}

impl AssetStore<JsBody> for R2Assets {
    async fn get(&self, key: &str) -> Result<Option<Asset<JsBody>>, Failure> {
        let Some(object) = self.0.get(key).execute().await.map_err(worker_failure)? else { return Ok(None) };
        let (size, meta) = (object.size(), object.http_metadata());
        let Some(body) = object.body() else { return Ok(None) };
        let body = match body.response_body().map_err(worker_failure)? {
            // Of known length, or else the answer would carry none.
            ResponseBody::Stream(stream) => JsBody::Stream(streams::fixed_length(&stream, size).map_err(failure)?),
            _ => return Err(Failure("an object without a stream".into())),
        };
        Ok(Some(Asset {
            body,
            size,
            content_type: meta.content_type,
            content_encoding: meta.content_encoding,
            cache_control: meta.cache_control,
        }))
    }

    async fn put(&self, key: &str, body: &mut JsBody, size: Size, meta: AssetMeta<'_>) -> Result<(), PutError> {
        match (body::stream_of(body), size.declared) {
            (None, _) => Ok(self.store(key, Data::Empty, meta).await?),
            (Some(stream), Some(length)) => {
                let stream = streams::fixed_length(&stream, length).map_err(failure)?;
                Ok(self.store(key, Data::ReadableStream(stream), meta).await?)
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
