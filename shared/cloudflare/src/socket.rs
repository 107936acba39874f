//! Sockets that an object holds open itself. Unlike those that hibernate they keep the object in memory, and what is done on their
//! behalf with it.

use std::rc::Rc;

use http::Response;
use js_sys::{ArrayBuffer, JsString, Reflect, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web::Failure;
use worker::web_sys::{Event, EventTarget, MessageEvent};
use worker::{WebSocket, WebSocketPair};

use crate::bindings::text;
use crate::failure::{failure, worker_failure};
use crate::response::{JsResponse, passed, switching};

/// What a client says.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// More than is read at a time; it was not read.
    TooLarge,
    /// Nothing more: the client has gone, or its connection has.
    Gone,
}

/// What is called for events of one name.
type Listener = (&'static str, Closure<dyn Fn(Event)>);

/// The object's end of a socket. Dropped, nothing of it is heard any more; it is closed by whoever closes it.
pub struct HeldSocket {
    socket: WebSocket,
    listeners: [Listener; 3],
}

impl HeldSocket {
    /// A socket, and the answer that hands its other end to the client. Messages of more than `limit` bytes, or UTF-16 units, are not
    /// read.
    ///
    /// # Errors
    /// What the runtime throws.
    pub fn accept(limit: u32, hear: impl Fn(Heard<'_>) + 'static) -> Result<(Self, Response<JsResponse>), Failure> {
        let WebSocketPair { client, server } = WebSocketPair::new().map_err(worker_failure)?;
        // The answer first: what cannot be answered is not accepted.
        let response = passed(switching(client)?)?;
        let hear = Rc::new(hear);
        let (on_message, on_close, on_error) = (Rc::clone(&hear), Rc::clone(&hear), hear);
        let listeners: [Listener; 3] = [
            ("message", Closure::new(move |event: Event| read(&event, limit, &*on_message))),
            ("close", Closure::new(move |_| on_close(Heard::Gone))),
            ("error", Closure::new(move |_| on_error(Heard::Gone))),
        ];
        // Where it can be chosen: bytes come at once, not as a Blob. Where it cannot, they do anyway.
        let _ = Reflect::set(server.as_ref(), &JsValue::from_str("binaryType"), &JsValue::from_str("arraybuffer"));
        let held = Self { socket: server, listeners };
        for (name, listener) in &held.listeners {
            let listener = listener.as_ref().unchecked_ref();
            held.target().add_event_listener_with_callback(name, listener).map_err(failure)?;
        }
        held.socket.accept().map_err(worker_failure)?;
        Ok((held, response))
    }

    fn target(&self) -> &EventTarget {
        self.socket.as_ref()
    }

    /// Sends a text. A client that has gone loses it.
    pub fn text(&self, text: &str) {
        let _ = self.socket.send_with_str(text);
    }

    /// Sends bytes. A client that has gone loses them.
    pub fn bytes(&self, bytes: &[u8]) {
        let _ = self.socket.send_with_bytes(bytes);
    }

    /// Closes it, with a code and words of at most 123 bytes.
    pub fn close(&self, code: u16, reason: &str) {
        // Fails only when the socket is closed already.
        let _ = self.socket.close(Some(code), Some(reason));
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        for (name, listener) in &self.listeners {
            let listener = listener.as_ref().unchecked_ref();
            // What it calls is gone in a moment.
            let _ = self.target().remove_event_listener_with_callback(name, listener);
        }
    }
}

fn read(event: &Event, limit: u32, hear: &dyn Fn(Heard<'_>)) {
    let data = event.unchecked_ref::<MessageEvent>().data();
    if let Some(text) = data.dyn_ref::<JsString>() {
        return if text.length() > limit { hear(Heard::TooLarge) } else { hear(Heard::Text(&text::to_string(text))) };
    }
    let Some(buffer) = data.dyn_ref::<ArrayBuffer>() else { return hear(Heard::TooLarge) };
    if buffer.byte_length() > limit {
        return hear(Heard::TooLarge);
    }
    hear(Heard::Bytes(&Uint8Array::new(buffer).to_vec()));
}
