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
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::host::now_ms;
use crate::serve::client::{Client, plain};

/// The header of the signature.
const SIGNATURE: &str = "x-logseq-signature";

/// How long the sink may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Wakes that are on their way at once: a change of a table that all observe is told by 1,000 observations in the same moment.
const PLACES: usize = 64;

/// How long a wake waits for its place. Together with [`PATIENCE`] it is less than the minute after which a bridge sends a wake again, so none
/// waits twice.
const QUEUE: Duration = Duration::from_secs(25);

/// Bytes of its answer that are read: the number in a 409.
const ANSWER_BYTES: usize = 4 * 1024;

/// The sink.
pub(super) struct Sink {
    client: Client<Full<Bytes>>,
    url: Uri,
    secret: Vec<u8>,
    places: Semaphore,
}

impl Sink {
    pub(super) fn new(url: Uri, secret: Vec<u8>) -> Self {
        Self { client: plain(), url, secret, places: Semaphore::new(PLACES) }
    }

    /// Sends one body as soon as there is a place for it, and says what came of it.
    pub(super) async fn send(&self, body: String) -> Outcome {
        // Its places are never closed.
        let Ok(Ok(_place)) = timeout(QUEUE, self.places.acquire()).await else { return Outcome::Failed };
        timeout(PATIENCE, self.exchange(body, now_ms())).await.unwrap_or(Outcome::Failed)
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
    use super::super::tests::{Stub, alone, told};
    use super::*;

    #[test]
    fn signatures_are_those_of_others() {
        // printf '1760000000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(b"secret", 1_760_000_000_000, "{}"),
            "t=1760000000000,v1=a72af05e81f55eef9d3debef841c63d61c0b9ca54f7ee500e30a0af13a5b7b4d"
        );
    }

    #[test]
    fn a_thousand_wakes_at_once_all_arrive_and_only_so_many_are_under_way() {
        alone(async {
            let stub = Stub::start(async |_| {
                tokio::time::sleep(Duration::from_millis(2)).await;
                told("200 OK", "", "{}")
            })
            .await;
            let sink = Sink::new(stub.url.parse().unwrap(), b"secret".to_vec());
            let sent = futures_util::future::join_all((0..1_000).map(|_| sink.send("{}".into()))).await;
            assert!(sent.iter().all(|outcome| *outcome == Outcome::Taken));
            assert!((2..=PLACES).contains(&stub.most.get()), "{} at once", stub.most.get());
        });
    }
}
