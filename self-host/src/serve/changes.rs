//! Logs of databases' changes as durable streams, for users (docs/spec/pg-sync.md 2.2, 4.14).

use std::sync::Arc;

use durable_streams::{Asked, dress, missing, preflight};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use pg_sync::bridge::NotJoined;
use pg_sync::identity::owner_hash;
use pg_sync::paths::{PREFIX, Place};
use pg_sync::reference::stream_path;
use pg_sync::register::{MAX_REGISTER_BYTES, Registration};
use serde_json::{Value as Json, json};
use tokio::time::timeout;
use web::{Host as _, Trace};

use super::fronts::Shared;
use crate::bodies::NativeResponse;
use crate::host::now_ms;
use crate::pg_sync::{NotRegistered, Reading, Sent};

/// Whether a request is answered here.
pub(super) fn is_for<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(PREFIX)
}

/// Answers one.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<NativeResponse> {
    let (started_ms, method) = (now_ms(), request.method().clone());
    let place = Place::of(request.uri().path()).unwrap_or(Place::Nowhere);
    let route = place.pattern();
    let mut response = match place {
        Place::Register => register(shared, request).await,
        Place::Stream { .. } => stream(shared, request).await,
        Place::Nowhere => whole(missing()),
    };
    dress(response.headers_mut());
    let (status, ended_ms) = (response.status().as_u16(), now_ms());
    shared.front.host.trace(&Trace { method: method.as_str(), route, status, started_ms, ended_ms });
    response
}

/// Who asks; else the answer.
async fn user<B>(shared: &Shared, request: &Request<B>) -> Result<String, Response<NativeResponse>> {
    // Where nobody is asked for a token, pages of strangers are kept out as everywhere else.
    sync_http::early::admit(&shared.service.settings, request)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = auth::token_from_request(header, None);
    let claims = sync_http::whose(&shared.front, &shared.service, token).await;
    let user = claims.as_ref().and_then(|claims| claims.sub()).map(str::to_owned);
    user.ok_or_else(|| told(StatusCode::UNAUTHORIZED, &json!({"error": "unauthorized"})))
}

fn disabled() -> Response<NativeResponse> {
    told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "pg_sync_disabled"}))
}

async fn register(shared: &Shared, request: Request<Incoming>) -> Response<NativeResponse> {
    if request.method() == Method::OPTIONS {
        return whole(preflight("POST, OPTIONS"));
    }
    if request.method() != Method::POST {
        return whole(missing());
    }
    registered(shared, request).await.unwrap_or_else(|answer| answer)
}

async fn registered(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<NativeResponse>, Response<NativeResponse>> {
    let owner = user(shared, &request).await?;
    let observations = shared.observations.as_ref().ok_or_else(disabled)?;
    let read =
        timeout(shared.bounds.body_idle(), Limited::new(request.into_body(), MAX_REGISTER_BYTES).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(told(StatusCode::PAYLOAD_TOO_LARGE, &json!({"error": "body too large"})));
        }
        _ => return Err(told(StatusCode::BAD_REQUEST, &json!({"error": "the body broke off"}))),
    };
    let invalid =
        |fields: Vec<String>| told(StatusCode::BAD_REQUEST, &json!({"error": "invalid_options", "fields": fields}));
    let body: Json = serde_json::from_slice(&body).map_err(|_| invalid(vec![String::new()]))?;
    let registration = Registration::read(&body).map_err(invalid)?;
    let source_ref = observations.register(owner.clone(), registration).await.map_err(refused)?;
    let path = stream_path(Some(&owner_hash(&owner)), &source_ref);
    Ok(told(StatusCode::OK, &json!({"sourceRef": source_ref, "streamUrl": path})))
}

fn refused(why: NotRegistered) -> Response<NativeResponse> {
    let (status, body) = match why {
        NotRegistered::Url => (StatusCode::FORBIDDEN, json!({"error": "url_not_allowed"})),
        NotRegistered::Table => (StatusCode::FORBIDDEN, json!({"error": "table_not_allowed"})),
        NotRegistered::Quota(limit) => {
            (StatusCode::TOO_MANY_REQUESTS, json!({"error": "quota", "limit": limit, "scope": "user"}))
        }
        // 400 here, where the reference has it (pg-sync.md 4.2).
        NotRegistered::Bridge(NotJoined::Refused(refusal)) => {
            let (status, detail) = (refusal.status, refusal.detail);
            (StatusCode::BAD_REQUEST, json!({"error": "probe_failed", "status": status, "detail": detail}))
        }
        NotRegistered::Bridge(NotJoined::NoAnswer) => (StatusCode::BAD_REQUEST, json!({"error": "probe_failed"})),
        NotRegistered::Bridge(NotJoined::Unusable(reason)) => {
            (StatusCode::BAD_REQUEST, json!({"error": "probe_failed", "detail": reason.as_str()}))
        }
        NotRegistered::Bridge(NotJoined::Quota | NotJoined::Unavailable) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "bridge_unavailable"}))
        }
    };
    told(status, &body)
}

async fn stream(shared: &Shared, request: Request<Incoming>) -> Response<NativeResponse> {
    match *request.method() {
        Method::OPTIONS => whole(preflight("GET, HEAD, OPTIONS")),
        Method::GET | Method::HEAD => read(shared, &request).await.unwrap_or_else(|answer| answer),
        // Nobody but the bridge writes.
        _ => whole(missing()),
    }
}

async fn read<B>(shared: &Shared, request: &Request<B>) -> Result<Response<NativeResponse>, Response<NativeResponse>> {
    let Some(Place::Stream { owner, source_ref }) = Place::of(request.uri().path()) else {
        return Err(whole(missing()));
    };
    let user = user(shared, request).await?;
    let observations = shared.observations.as_ref().ok_or_else(disabled)?;
    if owner != owner_hash(&user) {
        return Err(whole(missing()));
    }
    let has = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let asked = Asked::read(request.uri().query().unwrap_or_default(), has);
    let reading = match (request.method() == Method::HEAD, asked) {
        (true, _) => Reading::Head,
        (false, Ok(asked)) => Reading::Get(asked),
        (false, Err(malformed)) => return Err(whole(malformed.answer())),
    };
    match observations.read(user, source_ref.to_owned(), reading).await {
        Some(Sent::Whole(response)) => Ok(whole(response)),
        Some(Sent::Events(head, events)) => Ok(head.map(|()| NativeResponse::Channel(events))),
        None => Err(told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "bridge_unavailable"}))),
    }
}

fn whole(response: Response<Vec<u8>>) -> Response<NativeResponse> {
    response.map(NativeResponse::Full)
}

fn told(status: StatusCode, body: &Json) -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(body.to_string().into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
