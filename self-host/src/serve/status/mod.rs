//! The status page (self-host.md 4.5): whoever signs in sees that all devices agree. No token is in an address, a page, a log or the
//! storage of a browser: a cookie holds the random id of a session.

mod data;
mod page;
mod sessions;

use std::sync::Arc;

use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use web::{Event, Host as _, Level, Trace};

use super::forwarded::Asked;
use super::fronts::Shared;
use crate::bodies::NativeResponse;
use crate::host::now_ms;
use data::Reader;

pub(crate) use data::Known;
pub(crate) use sessions::Sessions;

/// The cookie of a session.
const COOKIE_NAME: &str = "logseq_status";

/// Bytes of a form.
const FORM_BYTES: usize = 16 << 10;

/// Nothing is loaded from elsewhere, nothing is written into the page as code.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
    frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// A route of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Json,
    Login,
    Logout,
    Style,
    Script,
}

impl Route {
    /// The route of a request; none: it is the surface's.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let accepts = || {
            let texts = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            texts.flat_map(|text| text.split(',')).any(|kind| kind.trim().starts_with("text/html"))
        };
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => accepts().then_some(Self::Page),
            (&Method::GET, "/status.json") => Some(Self::Json),
            (&Method::GET, "/status/status.css") => Some(Self::Style),
            (&Method::GET, "/status/status.js") => Some(Self::Script),
            (&Method::POST, "/status/login") => Some(Self::Login),
            (&Method::POST, "/status/logout") => Some(Self::Logout),
            _ => None,
        }
    }

    fn pattern(self) -> &'static str {
        match self {
            Self::Page => "/",
            Self::Json => "/status.json",
            Self::Login => "/status/login",
            Self::Logout => "/status/logout",
            Self::Style | Self::Script => "/status/:file",
        }
    }
}

/// Answers one. `uri` is the whole address that the request calls.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    route: Route,
    asked: &Asked,
    uri: &Uri,
    request: Request<Incoming>,
) -> Response<NativeResponse> {
    let (started_ms, method) = (now_ms(), request.method().clone());
    let mut response = respond(shared, route, asked, uri, request).await;
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let (status, ended_ms) = (response.status().as_u16(), now_ms());
    shared.front.host.trace(&Trace { method: method.as_str(), route: route.pattern(), status, started_ms, ended_ms });
    response
}

async fn respond(
    shared: &Arc<Shared>,
    route: Route,
    asked: &Asked,
    uri: &Uri,
    request: Request<Incoming>,
) -> Response<NativeResponse> {
    if web::url::query(request.uri(), "token").is_some() {
        return error(StatusCode::BAD_REQUEST, "a token has no place in an address");
    }
    // Where nobody is asked for a token, pages of strangers are kept out as everywhere else.
    if let Err(early) = sync_http::early::admit(&shared.service.settings, &request) {
        return early;
    }
    match route {
        Route::Style => of(StatusCode::OK, "text/css; charset=utf-8", page::STYLE.into()),
        Route::Script => of(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT.into()),
        Route::Login => login(shared, asked, uri, request).await,
        Route::Logout => logout(shared, uri, &request),
        Route::Page | Route::Json => show(shared, route, asked, &request).await,
    }
}

/// What is shown to whoever is known; a form to anybody else.
async fn show(
    shared: &Arc<Shared>,
    route: Route,
    asked: &Asked,
    request: &Request<Incoming>,
) -> Response<NativeResponse> {
    let session = session(request.headers()).and_then(|id| shared.sessions.token(&id, now_ms()));
    let has_session = session.is_some();
    let bearer = || {
        let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        Some(header.strip_prefix("Bearer ")?.to_owned())
    };
    let bearer = if route == Route::Json && !has_session { bearer() } else { None };
    let shows_token = bearer.is_some();
    let Some(reader) = reader(shared, session.or(bearer).as_deref()).await else {
        if shows_token {
            shared.strikes.add(asked.client, now_ms());
        }
        return match route {
            Route::Json => error(StatusCode::UNAUTHORIZED, "unauthorized"),
            _ => of(StatusCode::OK, HTML, page::login(None)),
        };
    };
    match data::gather(shared, &reader).await {
        Ok(status) if route == Route::Json => {
            of(StatusCode::OK, JSON, serde_json::to_string(&status).unwrap_or_default())
        }
        Ok(status) => of(StatusCode::OK, HTML, page::status(&status, has_session)),
        Err(failure) => {
            let event = Event::new(Level::Error, "db-sync/index-error");
            shared.front.host.report(&event.with_error(&failure.to_string()));
            error(StatusCode::INTERNAL_SERVER_ERROR, "server error")
        }
    }
}

/// Whose token this is; without one whoever needs none.
async fn reader(shared: &Shared, token: Option<&str>) -> Option<Reader> {
    if shared.service.settings.auth.is_admin(token) {
        return Some(Reader::Operator);
    }
    let claims = sync_http::whose(&shared.front, &shared.service, token).await?;
    Some(Reader::User(claims.sub()?.to_owned()))
}

async fn login(shared: &Shared, asked: &Asked, uri: &Uri, request: Request<Incoming>) -> Response<NativeResponse> {
    if !is_ours(request.headers(), uri) {
        return error(StatusCode::FORBIDDEN, "origin not allowed");
    }
    if let Some(seconds) = shared.logins.out_for(asked.client, now_ms()) {
        let page = page::login_again("Too many wrong tokens: try again in a minute.");
        let mut response = of(StatusCode::TOO_MANY_REQUESTS, HTML, page);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    let read = timeout(shared.bounds.body_idle(), Limited::new(request.into_body(), FORM_BYTES).collect()).await;
    let Ok(Ok(body)) = read else { return error(StatusCode::BAD_REQUEST, "invalid form") };
    let token = field(&body.to_bytes(), "token").unwrap_or_default();
    let auth = &shared.service.settings.auth;
    let is_known = auth.is_admin(Some(&token)) || auth.own_claims(&token).is_some();
    if !is_known {
        shared.logins.add(asked.client, now_ms());
        return of(StatusCode::UNAUTHORIZED, HTML, page::login_again("This token lets nobody in."));
    }
    let Some(id) = shared.sessions.begin(&token, now_ms()) else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "server error");
    };
    away(uri, &id, sessions::LASTS_MS / 1000)
}

fn logout(shared: &Shared, uri: &Uri, request: &Request<Incoming>) -> Response<NativeResponse> {
    if !is_ours(request.headers(), uri) {
        return error(StatusCode::FORBIDDEN, "origin not allowed");
    }
    if let Some(id) = session(request.headers()) {
        shared.sessions.end(&id);
    }
    away(uri, "", 0)
}

/// Leads to the page, with a cookie that lasts so many seconds.
fn away(uri: &Uri, id: &str, seconds: i64) -> Response<NativeResponse> {
    let secure = if uri.scheme_str() == Some("https") { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    let mut response = of(StatusCode::SEE_OTHER, HTML, String::new());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    // The page lies above the form, whatever stands before it in the address.
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("../"));
    response
}

/// Whether a form comes from this server's own page, or from no page at all.
fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let own = web::url::origin(uri);
    headers.get_all(ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(|origin| origin.eq_ignore_ascii_case(&own)))
}

/// The id of a session that the cookies hold.
fn session(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, id)| id.to_owned())
}

/// A field of a form.
fn field(body: &[u8], name: &str) -> Option<String> {
    // As in the query of an address, but that a space may be a plus.
    let text = std::str::from_utf8(body).ok()?.replace('+', "%20");
    let uri: Uri = format!("/?{text}").parse().ok()?;
    web::url::query(&uri, name).map(|value| value.trim().to_owned())
}

fn error(status: StatusCode, text: &str) -> Response<NativeResponse> {
    of(status, JSON, protocol::ErrorBody::new(text).to_json())
}

fn of(status: StatusCode, kind: &'static str, text: String) -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(text.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &Method, path: &str, accept: &str) -> Request<()> {
        Request::builder().method(method).uri(path).header(ACCEPT, accept).body(()).unwrap()
    }

    #[test]
    fn the_page_is_for_browsers_alone() {
        let of = |path, accept| Route::of(&request(&Method::GET, path, accept));
        assert_eq!(of("/", "text/html,application/xhtml+xml;q=0.9"), Some(Route::Page));
        assert_eq!(of("/", "application/json, text/html;q=0.5"), Some(Route::Page));
        assert_eq!((of("/", "*/*"), of("/", "application/json"), of("//", "text/html")), (None, None, None));
        assert_eq!(of("/status.json", "*/*"), Some(Route::Json));
        assert_eq!(Route::of(&request(&Method::GET, "/status/login", "text/html")), None);
        assert_eq!(Route::of(&request(&Method::POST, "/", "text/html")), None);
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        assert_eq!(field(b"token=lgs_a%2Bb+", "token").as_deref(), Some("lgs_a+b"));
        assert_eq!(field(b"a=1&token=%20x", "token").as_deref(), Some("x"));
        assert_eq!((field(b"", "token"), field(&[0xFF], "token")), (None, None));
    }

    #[test]
    fn a_session_is_one_cookie_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(session(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("a=b; logseq_status=x; c=d"));
        assert_eq!(session(&headers).as_deref(), Some("x"));
    }

    #[test]
    fn forms_of_strangers_are_none() {
        let uri: Uri = "https://notes.example/status/login".parse().unwrap();
        let from = |origin: Option<&'static str>| {
            let headers = origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))).into_iter().collect();
            is_ours(&headers, &uri)
        };
        assert!(from(None) && from(Some("https://Notes.example")));
        for origin in ["null", "http://notes.example", "https://evil.example", "https://notes.example.evil", ""] {
            assert!(!from(Some(origin)), "{origin}");
        }
    }
}
