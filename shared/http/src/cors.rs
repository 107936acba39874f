//! Cross-origin headers (sync.md 2.5): on every JSON answer, preflight, asset and stream.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
};
use http::{HeaderMap, HeaderValue};

const ALLOW_HEADERS: &str = "content-type,content-encoding,authorization,x-amz-meta-checksum,x-amz-meta-type";

/// PATCH is for the public API (D-27).
const ALLOW_METHODS: &str = "GET,POST,PUT,PATCH,DELETE,OPTIONS,HEAD";

const EXPOSE_HEADERS: &str = "content-type,content-encoding,content-length,cache-control,x-asset-type,x-asset-size,\
    x-snapshot-row-count,x-correlation-id";

/// Adds the headers.
pub fn allow(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOW_HEADERS));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOW_METHODS));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSE_HEADERS));
}
