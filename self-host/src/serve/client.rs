//! Requests of our own, and those that are forwarded.

use bytes::Bytes;
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client for plain and encrypted addresses.
pub(crate) type Client<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;

/// A client that trusts the certificates of the system; where it has none, as in an image that holds nothing but this
/// program, those that browsers trust.
pub(crate) fn plain<B>() -> Client<B>
where
    B: Body<Data = Bytes> + Send,
{
    let builder = match HttpsConnectorBuilder::new().with_native_roots() {
        Ok(native) => native,
        Err(_) => HttpsConnectorBuilder::new().with_webpki_roots(),
    };
    let connector = builder.https_or_http().enable_http1().build();
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}
