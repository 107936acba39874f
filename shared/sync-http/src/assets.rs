//! Assets (sync.md 6): files of graphs, streamed in and out.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use index::graphs;
use protocol::bodies::OK;
use protocol::limits::ASSET_META_CHARS;
use web::{
    ByteRange, Event, Failure, Level, NO_STORE, ObjectHead, ObjectMeta, ObjectStore, ResponseBody, Size, StoredObject,
    retried, url,
};

use crate::asset_conditions::{self, Selection};
use crate::asset_path::AssetPath;
use crate::error::Error;
use crate::graph_call::{self, Operation};
use crate::platform::Platform;
use crate::service::{Service, Settings};
use crate::{graph_subject, identity, respond};

/// Bytes of one asset of a plain graph.
const PLAIN_BYTES: u64 = 100 << 20;

/// Bytes of one asset of an encrypted graph: ciphertext in Transit is larger than its file.
const ENCRYPTED_BYTES: u64 = 200 << 20;

/// A file that is opened in a browser may run nothing and load nothing: assets share their origin with the API.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

const DEFAULT_TYPE: &str = "application/octet-stream";

/// Answers a request for an asset; `rest` is what follows `/assets/`.
pub(crate) async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
    rest: &str,
) -> Result<Response<P::Response>, Error> {
    if request.method() == Method::OPTIONS {
        return Ok(respond::no_content());
    }
    let path = AssetPath::parse(rest).ok_or(Error::BadRequest("invalid asset path"))?;
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    let signed = reads && is_signed(&service.settings, request, &path.key, platform.now_ms());
    if !identity::is_admin(&service.settings, request) && !signed {
        identity::require_access(platform, service, request, &path.graph_id).await?;
    }
    let assets = platform.assets().ok_or(Error::MissingAssets)?;
    match *request.method() {
        Method::GET | Method::HEAD => {
            let mut response = match *request.method() {
                Method::HEAD => head(assets, request.headers(), &path).await?,
                _ => get(assets, request.headers(), &path).await?,
            };
            if signed {
                // The link is a key of five minutes; a cache would go on answering for it.
                response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            }
            Ok(response)
        }
        Method::PUT => {
            put(platform, assets, request, &path).await?;
            Ok(respond::ok(OK))
        }
        Method::DELETE => {
            assets.delete(&path.key).await?;
            Ok(respond::ok(OK))
        }
        _ => Err(Error::MethodNotAllowed),
    }
}

/// Whether the link carries a valid signature (sync.md 6.4). Without a secret none is valid.
fn is_signed<B>(settings: &Settings, request: &Request<B>, key: &str, now_ms: i64) -> bool {
    let (expires, signature) = (url::query(request.uri(), "expires"), url::query(request.uri(), "signature"));
    match (&settings.auth.asset_link_secret, expires, signature) {
        (Some(secret), Some(expires), Some(signature)) => {
            auth::asset_link::verify(secret, key, &expires, &signature, now_ms.div_euclid(1000))
        }
        _ => false,
    }
}

/// The file, or what the request asks for of it.
async fn get<B, R: ResponseBody>(
    assets: &impl ObjectStore<B, R>,
    headers: &HeaderMap,
    path: &AssetPath,
) -> Result<Response<R>, Error> {
    if asset_conditions::are_there(headers) {
        let head = assets.head(&path.key).await?.ok_or(Error::NotFound)?;
        match asset_conditions::select(headers, head.size, &head.etag, true) {
            Selection::Whole => {}
            Selection::NotModified => return Ok(not_modified(&head)?),
            Selection::Unsatisfiable => return Err(Error::RangeNotSatisfiable { size: head.size }),
            Selection::Part(range) => {
                // One that was replaced meanwhile is sent as a whole, and may be too short for the range.
                let found = assets.get(&path.key, Some(range)).await;
                if let Ok(Some(StoredObject { body, head: found })) = found
                    && found.etag == head.etag
                {
                    return Ok(part(body, &found, range, path)?);
                }
            }
        }
    }
    let StoredObject { body, head } = assets.get(&path.key, None).await?.ok_or(Error::NotFound)?;
    Ok(described(Response::new(body), &head, head.size, path)?)
}

async fn head<B, R: ResponseBody>(
    assets: &impl ObjectStore<B, R>,
    headers: &HeaderMap,
    path: &AssetPath,
) -> Result<Response<R>, Error> {
    let head = assets.head(&path.key).await?.ok_or(Error::NotFound)?;
    match asset_conditions::select(headers, head.size, &head.etag, false) {
        Selection::NotModified => Ok(not_modified(&head)?),
        _ => Ok(described(Response::new(R::empty()), &head, head.size, path)?),
    }
}

fn not_modified<R: ResponseBody>(head: &ObjectHead) -> Result<Response<R>, Failure> {
    let mut response = Response::new(R::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    set_validators(response.headers_mut(), head)?;
    Ok(response)
}

fn part<R>(body: R, head: &ObjectHead, range: ByteRange, path: &AssetPath) -> Result<Response<R>, Failure> {
    let mut response = described(Response::new(body), head, range.length, path)?;
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let last = range.first + range.length - 1;
    set(response.headers_mut(), CONTENT_RANGE, &format!("bytes {}-{last}/{}", range.first, head.size))?;
    Ok(response)
}

/// The answer with what is known of the file; `length` bytes of it are sent.
fn described<R>(
    mut response: Response<R>,
    head: &ObjectHead,
    length: u64,
    path: &AssetPath,
) -> Result<Response<R>, Failure> {
    let stored_type = head.content_type.as_deref().filter(|stored| !stored.is_empty());
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, path.content_type().or(stored_type).unwrap_or(DEFAULT_TYPE))?;
    set(headers, CONTENT_DISPOSITION, &path.disposition())?;
    set(headers, CONTENT_LENGTH, &length.to_string())?;
    set(headers, HeaderName::from_static("x-asset-type"), &path.extension)?;
    set(headers, HeaderName::from_static("x-asset-size"), &head.size.to_string())?;
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    set(headers, CONTENT_SECURITY_POLICY, POLICY)?;
    if let Some(encoding) =
        head.content_encoding.as_deref().filter(|encoding| !encoding.is_empty() && *encoding != "null")
    {
        set(headers, CONTENT_ENCODING, encoding)?;
    }
    set_validators(headers, head)?;
    Ok(response)
}

/// What every answer about a file says: how to ask again, and for how long there is no need to.
fn set_validators(headers: &mut HeaderMap, head: &ObjectHead) -> Result<(), Failure> {
    set(headers, ETAG, &head.etag)?;
    set(headers, ACCEPT_RANGES, "bytes")?;
    if let Some(control) = head.cache_control.as_deref().filter(|control| !control.is_empty()) {
        set(headers, CACHE_CONTROL, control)?;
    }
    respond::CORS.allow(headers);
    Ok(())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    headers.insert(name, HeaderValue::from_str(value).map_err(|error| Failure(error.to_string()))?);
    Ok(())
}

async fn put<P: Platform>(
    platform: &P,
    assets: &P::Assets,
    request: &mut Request<P::Request>,
    path: &AssetPath,
) -> Result<(), Error> {
    let db = platform.db().ok_or(Error::IndexMissing)?;
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = header("content-type").unwrap_or(DEFAULT_TYPE);
    let checksum = header("x-amz-meta-checksum");
    if content_type.chars().count() > ASSET_META_CHARS {
        return Err(Error::BadRequest("invalid content type"));
    }
    if checksum.is_some_and(|checksum| checksum.chars().count() > ASSET_META_CHARS) {
        return Err(Error::BadRequest("invalid checksum"));
    }
    let limit = if graphs::is_e2ee(db, &path.graph_id).await? { ENCRYPTED_BYTES } else { PLAIN_BYTES };
    let size = Size { declared: web::declared_length(request), limit };
    if size.declared.is_some_and(|length| length > limit) {
        return Err(Error::AssetTooLarge);
    }
    // Stored, not verified.
    let checksum = checksum.map(|checksum| ("checksum", checksum));
    let custom: Vec<_> = checksum.into_iter().chain([("type", &*path.extension)]).collect();
    let meta = ObjectMeta { content_type, custom: &custom };
    assets.put(&path.key, request.body_mut(), size, meta).await?;
    require_graph(platform, assets, path).await
}

/// A graph may be deleted while one of its files arrives. Its object has known that since before the first file was deleted:
/// if it does not know it now, the deletion will find this file too. If it does, the file goes as it came.
async fn require_graph<P: Platform>(platform: &P, assets: &P::Assets, path: &AssetPath) -> Result<(), Error> {
    match graph_call::send(platform, &path.graph_id, &Operation::Exists).await {
        Ok(StatusCode::NOT_FOUND) => {
            retried(platform, async || assets.delete(&path.key).await).await?;
            Err(Error::NotFound)
        }
        Ok(StatusCode::OK) => Ok(()),
        other => {
            // The file is stored, and graphs are deleted rarely.
            let text = other.map_or_else(|failure| failure.0, |status| format!("the graph answered {status}"));
            let event = Event::new(Level::Warning, "db-sync/asset-graph-unknown").about(graph_subject(&path.graph_id));
            platform.report(&event.with_error(&text));
            Ok(())
        }
    }
}
