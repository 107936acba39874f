//! Cross-origin headers.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
};
use http::{HeaderMap, HeaderValue};

/// What pages of any origin may ask of a service, and what they may see of its answers.
#[derive(Clone, Copy, Debug)]
pub struct Cors {
    /// Request headers, comma separated.
    pub allow_headers: &'static str,
    /// Methods, comma separated.
    pub allow_methods: &'static str,
    /// Response headers, comma separated.
    pub expose_headers: &'static str,
}

impl Cors {
    /// Adds the headers to an answer.
    pub fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(self.allow_headers));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(self.allow_methods));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.expose_headers));
    }
}
