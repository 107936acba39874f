//! Events to the console and to Sentry.

use std::future::Future;

use js_sys::global;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web::{Envelope, Event, Level, Sentry, Trace};
use worker::web_sys::{Headers, RequestInit, WorkerGlobalScope};

use crate::host::{now_ms, random_uuid};

/// Logs the event as a line of JSON. What is left to do is given back: it may outlast the request.
pub(crate) fn report(sentry: Option<&Sentry>, event: &Event<'_>) -> Option<impl Future<Output = ()> + 'static> {
    let line = event.to_json();
    match event.level {
        Level::Info => worker::console_log!("{line}"),
        Level::Warning => worker::console_warn!("{line}"),
        Level::Error => worker::console_error!("{line}"),
    }
    Some(deliver(sentry?.envelope(event, random_uuid(), now_ms())?))
}

/// Reports an answered request, if it is one of the sample.
pub(crate) fn trace(sentry: Option<&Sentry>, trace: &Trace<'_>) -> Option<impl Future<Output = ()> + 'static> {
    Some(deliver(sentry?.transaction(trace, random_uuid())?))
}

async fn deliver(envelope: Envelope) {
    if send(&envelope).await.is_err() {
        worker::console_warn!("{{\"level\":\"warning\",\"event\":\"sentry-unreachable\"}}");
    }
}

async fn send(envelope: &Envelope) -> Result<(), JsValue> {
    let headers = Headers::new()?;
    headers.set("content-type", "application/x-sentry-envelope")?;
    headers.set("x-sentry-auth", &envelope.auth)?;
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    init.set_body(&JsValue::from_str(&envelope.body));
    let scope: WorkerGlobalScope = global().unchecked_into();
    JsFuture::from(scope.fetch_with_str_and_init(&envelope.url, &init)).await.map(drop)
}
