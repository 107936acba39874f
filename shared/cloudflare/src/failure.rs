//! What the runtime throws, as text for logs.

use wasm_bindgen::{JsCast as _, JsValue};
use web::Failure;

/// The message of a thrown value.
pub fn thrown_text(thrown: JsValue) -> String {
    match thrown.dyn_into::<js_sys::Error>() {
        Ok(error) => String::from(error.message()),
        Err(other) => other.as_string().unwrap_or_else(|| "an unknown value was thrown".into()),
    }
}

/// A thrown value as a failure of the platform.
pub fn failure(thrown: JsValue) -> Failure {
    Failure(thrown_text(thrown))
}

/// An error of the `worker` crate as a failure of the platform.
#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
pub fn worker_failure(error: worker::Error) -> Failure {
    Failure(error.to_string())
}
