//! Key sets over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use ::auth::{Clock, FetchError, KEY_SET_BYTES, KeySetSource, Refusal};
use http_body_util::{BodyExt as _, Empty};
use tokio::time::timeout;

use crate::host::now_ms;
use crate::metrics::Metrics;
use crate::serve::client::{Client, plain};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to look away while another request fetches.
const PAUSE: Duration = Duration::from_millis(25);

/// The outside world. Redirects are answers, and none of them is a key set.
pub(crate) struct HttpKeys {
    client: Client<Empty<bytes::Bytes>>,
    metrics: Arc<Metrics>,
}

impl HttpKeys {
    /// A source with connections of its own, which counts what it hears.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { client: plain(), metrics }
    }

    async fn get(&self, url: &str) -> Result<String, FetchError> {
        let uri = url.parse().map_err(|_| FetchError::Transport("no address".into()))?;
        let response = self.client.get(uri).await.map_err(transport)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(transport)?.into_data() else { continue };
            if bytes.len() + data.len() > KEY_SET_BYTES {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        String::from_utf8(bytes).map_err(|_| FetchError::Malformed)
    }
}

/// The error and what it comes from: a client's own text seldom says more than that it failed.
fn transport(error: impl std::error::Error) -> FetchError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    FetchError::Transport(text)
}

impl Clock for HttpKeys {
    fn now_ms(&self) -> i64 {
        now_ms()
    }
}

impl KeySetSource for HttpKeys {
    async fn fetch(&self, url: &str) -> Result<String, FetchError> {
        let late = |_| FetchError::Transport("no answer in time".into());
        timeout(PATIENCE, self.get(url)).await.map_err(late)?
    }

    async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    fn refused(&self, why: Refusal) {
        self.metrics.traffic.refused(why);
    }

    fn fetched(&self, issuer: &str, good: bool) {
        self.metrics.traffic.fetched(issuer, good);
    }
}
