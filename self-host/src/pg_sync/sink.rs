//! Where wakes go: one address that takes them all, signed (docs/spec/pg-sync.md 4.1).

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use pg_sync::bridge::Outcome;
use serde_json::Value as Json;
use sha2::Sha256;

use crate::serve::client::{Client, plain};

/// The header of the signature.
const SIGNATURE: &str = "x-logseq-signature";

/// How long the sink may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of its answer that are read: the number in a 409.
const ANSWER_BYTES: usize = 4 * 1024;

/// The sink.
pub(super) struct Sink {
    client: Client<Full<Bytes>>,
    url: Uri,
    secret: Vec<u8>,
}

impl Sink {
    pub(super) fn new(url: Uri, secret: Vec<u8>) -> Self {
        Self { client: plain(), url, secret }
    }

    /// Sends one body, and says what came of it.
    pub(super) async fn send(&self, body: String, now: i64) -> Outcome {
        tokio::time::timeout(PATIENCE, self.exchange(body, now)).await.unwrap_or(Outcome::Failed)
    }

    async fn exchange(&self, body: String, now: i64) -> Outcome {
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(SIGNATURE, signature(&self.secret, now, &body))
            .body(Full::from(body));
        let Ok(request) = request else { return Outcome::Failed };
        let Ok(response) = self.client.request(request).await else { return Outcome::Failed };
        match response.status().as_u16() {
            200..=299 => Outcome::Taken,
            404 | 410 => Outcome::Gone,
            409 => {
                let Ok(answer) = Limited::new(response.into_body(), ANSWER_BYTES).collect().await else {
                    return Outcome::Failed;
                };
                let answer = serde_json::from_slice::<Json>(&answer.to_bytes()).unwrap_or_default();
                answer.get("to_seq").and_then(Json::as_u64).map_or(Outcome::Failed, Outcome::Behind)
            }
            _ => Outcome::Failed,
        }
    }
}

/// `t=<ms>,v1=<hexadecimal HMAC-SHA-256 of t, a dot and the body>`.
fn signature(secret: &[u8], now: i64, body: &str) -> String {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{now}.{body}").as_bytes());
    let digest = mac.finalize().into_bytes();
    format!("t={now},v1={}", base16ct::lower::encode_string(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_others() {
        // printf '1760000000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(b"secret", 1_760_000_000_000, "{}"),
            "t=1760000000000,v1=a72af05e81f55eef9d3debef841c63d61c0b9ca54f7ee500e30a0af13a5b7b4d"
        );
    }
}
