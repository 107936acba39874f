//! Key sets over `fetch`.

use std::time::Duration;

use auth::{Clock, FetchError, KEY_SET_BYTES, KeySetSource};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{AbortSignal, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use crate::bindings::streams::Reader;
use crate::sleep::Sleep;
use crate::{failure, host};

/// How long an answer is waited for.
const TIMEOUT_MS: u32 = 5_000;

/// How long to look away while another request fetches.
const PAUSE: Duration = Duration::from_millis(25);

/// The outside world.
pub struct HttpKeys;

impl Clock for HttpKeys {
    fn now_ms(&self) -> i64 {
        host::now_ms()
    }
}

impl KeySetSource for HttpKeys {
    async fn fetch(&self, url: &str) -> Result<String, FetchError> {
        let init = RequestInit::new();
        init.set_redirect(RequestRedirect::Manual);
        init.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MS)));
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let response = JsFuture::from(scope.fetch_with_str_and_init(url, &init)).await.map_err(transport)?;
        let response: Response = response.unchecked_into();
        if !response.ok() {
            return Err(FetchError::Status(response.status()));
        }
        let Some(body) = response.body() else { return Ok(String::new()) };
        let reader = Reader::new(&body).map_err(transport)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await.map_err(transport)? {
            if bytes.len() + chunk.len() > KEY_SET_BYTES {
                // That the rest is not read is all that matters.
                let _ = reader.cancel().await;
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| FetchError::Malformed)
    }

    async fn pause(&self) {
        Sleep::new(PAUSE).await;
    }
}

fn transport(thrown: JsValue) -> FetchError {
    FetchError::Transport(failure::thrown_text(thrown))
}
