//! Long strings out of JavaScript, and those that are put together there.

use js_sys::JsString;
use wasm_bindgen::prelude::*;
use worker::web_sys;

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

#[wasm_bindgen]
extern "C" {
    type Sender;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_text(this: &Sender, text: &JsString) -> Result<(), JsValue>;
}

/// A string that grows in JavaScript: nothing of it stays in WebAssembly, whose memory never shrinks.
#[derive(Default)]
pub struct JsText(Option<JsString>);

impl JsText {
    /// Appends a piece. The engine keeps the parts and joins them when the string is read.
    pub fn push(&mut self, piece: &str) {
        let piece = JsString::from(piece);
        self.0 = Some(match self.0.take() {
            Some(text) => text.concat(&piece),
            None => piece,
        });
    }
}

/// Sends a text over a socket. One that is going away loses it.
pub fn send(socket: &web_sys::WebSocket, text: &JsText) {
    if let Some(text) = &text.0 {
        let _ = socket.unchecked_ref::<Sender>().send_text(text);
    }
}

thread_local! {
    static ENCODER: TextEncoder = TextEncoder::new();
}

/// Shorter strings, in UTF-16 units, are read by wasm-bindgen's own loop over character codes: it takes about 2 ns a
/// character, a call of the encoder several hundred.
const SHORT: u32 = 100;

/// Bytes by which the room for a text grows at least.
const GROWTH: usize = 64 << 10;

/// The text of a JavaScript string.
pub fn to_string(text: &JsString) -> String {
    let units = text.length();
    if units < SHORT {
        return String::from(text);
    }
    // One byte a unit is enough for ASCII, which nearly all stored text is. Beyond it the room grows by a part of itself: a
    // long message would otherwise take several times its size.
    let mut bytes = vec![0; units as usize];
    let (mut read, mut written) = (0, 0);
    ENCODER.with(|encoder| {
        // Ends: there is room for at least one character in each round.
        while read < units {
            let rest = if read == 0 { text.clone() } else { text.substring(read, units) };
            let room = (3 * (units - read) as usize).min(GROWTH.max(written / 4));
            if bytes.len() < written + room && read > 0 {
                bytes.reserve_exact(written + room - bytes.len());
                bytes.resize(written + room, 0);
            }
            let Some(target) = bytes.get_mut(written..) else { break };
            let encoded = encoder.encode_into(&rest, target);
            if encoded.read() == 0 {
                break;
            }
            read += encoded.read();
            written += encoded.written() as usize;
        }
    });
    bytes.truncate(written);
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
