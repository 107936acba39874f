//! Work that nobody waits for.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

/// Begins the work. The promise, which never fails, is for `waitUntil`; the `worker` crate's own methods of that name unwrap
/// what the runtime throws.
pub fn background(work: impl Future<Output = ()> + 'static) -> Promise {
    future_to_promise(AssertUnwindSafe(async {
        work.await;
        Ok(JsValue::UNDEFINED)
    }))
}
