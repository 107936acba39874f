//! Answers of this service: JSON, and what pages of other origins may see of it (sync.md 2.5).

use http::{Response, StatusCode};
use web::{Cors, ResponseBody, Source};

/// On every JSON answer, preflight, asset and stream. PATCH is for the public API (D-27).
pub(crate) const CORS: Cors = Cors {
    allow_headers: "content-type,content-encoding,authorization,x-amz-meta-checksum,x-amz-meta-type",
    allow_methods: "GET,POST,PUT,PATCH,DELETE,OPTIONS,HEAD",
    expose_headers: "content-type,content-encoding,content-length,cache-control,x-asset-type,x-asset-size,\
        x-snapshot-row-count,x-correlation-id",
};

/// A JSON answer with status 200.
pub(crate) fn ok<B: ResponseBody>(body: impl Into<Vec<u8>>) -> Response<B> {
    web::json(&CORS, StatusCode::OK, body)
}

/// A JSON answer that is made while it is sent.
pub(crate) fn json_stream<B: ResponseBody>(source: Box<dyn Source>) -> Response<B> {
    web::json_stream(&CORS, source)
}

/// The answer to a preflight.
pub(crate) fn no_content<B: ResponseBody>() -> Response<B> {
    web::no_content(&CORS)
}
