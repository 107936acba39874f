//! What the runtime throws, as text for logs.

use sync_http::platform::Failure;
use worker::wasm_bindgen::{JsCast as _, JsValue};

/// The message of a thrown value.
pub fn text(thrown: JsValue) -> String {
    match thrown.dyn_into::<worker::js_sys::Error>() {
        Ok(error) => String::from(error.message()),
        Err(other) => other.as_string().unwrap_or_else(|| "an unknown value was thrown".into()),
    }
}

/// A thrown value as a failure of the platform.
pub fn failure(thrown: JsValue) -> Failure {
    Failure(text(thrown))
}

/// An error of the `worker` crate as a failure of the platform.
#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
pub fn worker_failure(error: worker::Error) -> Failure {
    Failure(error.to_string())
}
