//! Long strings out of JavaScript.

use worker::js_sys::JsString;
use worker::wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    type TextEncoder;

    #[wasm_bindgen(constructor)]
    fn new() -> TextEncoder;

    /// Writes UTF-8 until `text` or `target` ends; a surrogate that stands alone becomes U+FFFD.
    #[wasm_bindgen(method, js_name = encodeInto)]
    fn encode_into(this: &TextEncoder, text: &JsString, target: &mut [u8]) -> Encoded;

    type Encoded;

    /// UTF-16 units read.
    #[wasm_bindgen(method, getter)]
    fn read(this: &Encoded) -> u32;

    /// Bytes written.
    #[wasm_bindgen(method, getter)]
    fn written(this: &Encoded) -> u32;
}

thread_local! {
    static ENCODER: TextEncoder = TextEncoder::new();
}

/// Shorter strings, in UTF-16 units, are read by wasm-bindgen's own loop over character codes: it takes about 2 ns a
/// character, a call of the encoder several hundred.
const SHORT: u32 = 100;

/// The text of a JavaScript string.
pub fn to_string(text: &JsString) -> String {
    let units = text.length();
    if units < SHORT {
        return String::from(text);
    }
    // One byte a unit is enough for ASCII, which nearly all stored text is.
    let mut bytes = vec![0; units as usize];
    ENCODER.with(|encoder| {
        let first = encoder.encode_into(text, &mut bytes);
        let (read, written) = (first.read(), first.written() as usize);
        bytes.truncate(written);
        if read < units {
            let rest = text.substring(read, units);
            let mut tail = vec![0; 3 * (units - read) as usize];
            let tail_written = encoder.encode_into(&rest, &mut tail).written() as usize;
            bytes.extend(tail.iter().take(tail_written));
        }
    });
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
