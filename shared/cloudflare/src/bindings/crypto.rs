//! The runtime's cryptography.

use js_sys::{Array, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `crypto.subtle`.
    #[wasm_bindgen(thread_local_v2, js_namespace = crypto, js_name = subtle)]
    static SUBTLE: Subtle;

    #[derive(Clone)]
    type Subtle;

    #[wasm_bindgen(method, catch, js_name = importKey)]
    fn import_key(
        this: &Subtle,
        format: &str,
        key: &Uint8Array,
        algorithm: &Object,
        extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn sign(this: &Subtle, algorithm: &str, key: &JsValue, data: &Uint8Array) -> Result<Promise, JsValue>;
}

/// Imports a private key in PKCS#8 that can sign and not be read back.
pub(crate) fn import_private_key(pkcs8_der: &[u8], algorithm: &Object) -> Result<Promise, JsValue> {
    let usages = Array::of1(&"sign".into());
    SUBTLE.with(|subtle| subtle.import_key("pkcs8", &Uint8Array::from(pkcs8_der), algorithm, false, &usages))
}

/// Signs with an imported key.
pub(crate) fn sign(algorithm: &str, key: &JsValue, data: &[u8]) -> Result<Promise, JsValue> {
    SUBTLE.with(|subtle| subtle.sign(algorithm, key, &Uint8Array::from(data)))
}
