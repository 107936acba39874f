//! Streams that pass through without their bytes entering WebAssembly, and reading that keeps errors.

use worker::js_sys::{Promise, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

#[wasm_bindgen]
extern "C" {
    type FixedLengthStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(length: f64) -> Result<FixedLengthStream, JsValue>;

    type CompressionStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(format: &str) -> Result<CompressionStream, JsValue>;

    type Source;

    #[wasm_bindgen(method, catch, js_name = pipeThrough)]
    fn pipe_through(this: &Source, transform: &JsValue) -> Result<ReadableStream, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &Source) -> Result<JsReader, JsValue>;

    type JsReader;

    #[wasm_bindgen(method)]
    fn read(this: &JsReader) -> Promise;

    #[wasm_bindgen(method)]
    fn cancel(this: &JsReader) -> Promise;

    type Chunk;

    #[wasm_bindgen(method, getter)]
    fn done(this: &Chunk) -> bool;

    #[wasm_bindgen(method, getter)]
    fn value(this: &Chunk) -> JsValue;
}

/// A stream that fails unless exactly `length` bytes pass. R2 takes streams of known length only.
pub fn fixed_length(stream: &ReadableStream, length: u64) -> Result<ReadableStream, JsValue> {
    #[expect(clippy::cast_precision_loss, reason = "no body reaches 2^53 bytes")]
    let transform = FixedLengthStream::new(length as f64)?;
    stream.unchecked_ref::<Source>().pipe_through(&transform)
}

/// The stream compressed by the runtime.
pub fn gzip(stream: &ReadableStream) -> Result<ReadableStream, JsValue> {
    let transform = CompressionStream::new("gzip")?;
    stream.unchecked_ref::<Source>().pipe_through(&transform)
}

/// Reads a stream chunk by chunk. Unlike `worker::ByteStream`, which takes the error of an aborted upload for the end,
/// it tells every error.
pub struct Reader(JsReader);

impl Reader {
    /// Locks the stream; fails when it is locked already.
    pub fn new(stream: &ReadableStream) -> Result<Self, JsValue> {
        stream.unchecked_ref::<Source>().get_reader().map(Self)
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&self) -> Result<Option<Vec<u8>>, JsValue> {
        let chunk: Chunk = JsFuture::from(self.0.read()).await?.unchecked_into();
        if chunk.done() {
            return Ok(None);
        }
        Ok(Some(Uint8Array::new(&chunk.value()).to_vec()))
    }

    /// Tells the sender that no more will be read.
    pub async fn cancel(self) -> Result<(), JsValue> {
        JsFuture::from(self.0.cancel()).await.map(drop)
    }
}
