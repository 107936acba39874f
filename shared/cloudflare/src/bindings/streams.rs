//! Streams that pass through without their bytes entering WebAssembly, and reading that keeps errors.

use std::time::Duration;

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

use crate::sleep::Sleep;

#[wasm_bindgen]
extern "C" {
    type FixedLengthStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(length: f64) -> Result<FixedLengthStream, JsValue>;

    type Source;

    #[wasm_bindgen(method, catch, js_name = pipeThrough)]
    fn pipe_through(this: &Source, transform: &JsValue) -> Result<ReadableStream, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &Source) -> Result<JsReader, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader_of(this: &Source, options: &JsValue) -> Result<ByobReader, JsValue>;

    /// A reader into memory that it is given.
    type ByobReader;

    /// Reads until the view has at least `bytes` bytes, or the stream ends. The view's memory comes back with the chunk.
    #[wasm_bindgen(method, catch, js_name = readAtLeast)]
    fn read_at_least(this: &ByobReader, bytes: u32, view: &Uint8Array) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, js_name = cancel)]
    fn cancel_rest(this: &ByobReader) -> Promise;

    #[wasm_bindgen(method, catch, js_name = releaseLock)]
    fn release_lock(this: &JsReader) -> Result<(), JsValue>;

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
pub(crate) fn fixed_length(stream: &ReadableStream, length: u64) -> Result<ReadableStream, JsValue> {
    #[expect(clippy::cast_precision_loss, reason = "no body reaches 2^53 bytes")]
    let transform = FixedLengthStream::new(length as f64)?;
    stream.unchecked_ref::<Source>().pipe_through(&transform)
}

/// Whether a stream that was piped elsewhere, and whose pipe has broken, was what broke. One whose reader gave up was
/// cancelled: it has ended well.
pub(crate) async fn is_broken(stream: &ReadableStream) -> bool {
    // The pipe lets go of the stream in a turn of its own.
    Sleep::new(Duration::ZERO).await;
    match Reader::new(stream) {
        Ok(reader) => reader.next().await.is_err(),
        Err(_) => false,
    }
}

/// Reads a stream chunk by chunk. Unlike `worker::ByteStream`, which takes the error of an aborted upload for the end,
/// it tells every error.
pub struct Reader {
    stream: ReadableStream,
    reader: JsReader,
}

/// Bytes that are thrown away at a time, and the pause after them: 64 MB a second at most, so that everyone else has a turn.
/// A read that finds its bytes waiting would be followed by the next before anybody is looked after.
const DISCARDED_BYTES: u32 = 128 << 10;
const PAUSE: Duration = Duration::from_millis(2);

impl Reader {
    /// Locks the stream; fails when it is locked already.
    pub fn new(stream: &ReadableStream) -> Result<Self, JsValue> {
        let reader = stream.unchecked_ref::<Source>().get_reader()?;
        Ok(Self { stream: stream.clone(), reader })
    }

    /// Reads the rest and throws it away, up to `limit` bytes, without a byte of it entering WebAssembly.
    pub async fn discard(self, limit: u64) -> Result<(), JsValue> {
        self.reader.release_lock()?;
        let options = Object::new();
        Reflect::set(&options, &"mode".into(), &"byob".into())?;
        let reader = self.stream.unchecked_ref::<Source>().get_reader_of(&options)?;
        let mut view = Uint8Array::new_with_length(DISCARDED_BYTES);
        let mut left = limit;
        while left > 0 {
            let chunk: Chunk = JsFuture::from(reader.read_at_least(DISCARDED_BYTES, &view)?).await?.unchecked_into();
            if chunk.done() {
                return Ok(());
            }
            let read: Uint8Array = chunk.value().unchecked_into();
            left = left.saturating_sub(read.length().into());
            view = Uint8Array::new(&read.buffer());
            Sleep::new(PAUSE).await;
        }
        JsFuture::from(reader.cancel_rest()).await.map(drop)
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&self) -> Result<Option<Vec<u8>>, JsValue> {
        let chunk: Chunk = JsFuture::from(self.reader.read()).await?.unchecked_into();
        if chunk.done() {
            return Ok(None);
        }
        Ok(Some(Uint8Array::new(&chunk.value()).to_vec()))
    }

    /// Tells the sender that no more will be read.
    pub async fn cancel(self) -> Result<(), JsValue> {
        JsFuture::from(self.reader.cancel()).await.map(drop)
    }
}
