//! Assets (sync.md 6): files of graphs, streamed in and out.

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use index::graphs;
use protocol::bodies::OK;

use crate::asset_path::AssetPath;
use crate::error::Error;
use crate::platform::{Asset, AssetMeta, AssetStore, Body, Failure, Platform, PutError, Size};
use crate::service::{Service, Settings};
use crate::{body, cors, identity, respond, url};

/// Bytes of one asset of a plain graph.
pub const PLAIN_BYTES: u64 = 100 << 20;

/// Bytes of one asset of an encrypted graph: ciphertext in Transit is larger than its file.
pub const ENCRYPTED_BYTES: u64 = 200 << 20;

/// A file that is opened in a browser may run nothing and load nothing: assets share their origin with the API.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

const DEFAULT_TYPE: &str = "application/octet-stream";

/// Answers a request for an asset; `rest` is what follows `/assets/`.
pub(crate) async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Body>,
    rest: &str,
) -> Result<Response<P::Body>, Error> {
    if request.method() == Method::OPTIONS {
        return Ok(respond::no_content());
    }
    let path = AssetPath::parse(rest).ok_or(Error::BadRequest("invalid asset path"))?;
    let key = path.key();
    let signed = request.method() == Method::GET && is_signed(&service.settings, request, &key, platform.now_ms());
    if !identity::is_admin(&service.settings, request) && !signed {
        identity::require_access(platform, service, request, path.graph_id).await?;
    }
    let assets = platform.assets().ok_or(Error::MissingAssets)?;
    match *request.method() {
        Method::GET => {
            let mut response = get(assets, &path, &key).await?;
            if signed {
                // The link is a key of five minutes; a cache would go on answering for it.
                response.headers_mut().insert(CACHE_CONTROL, respond::NO_STORE);
            }
            Ok(response)
        }
        Method::PUT => {
            put(platform, assets, request, &path, &key).await?;
            Ok(respond::ok(OK))
        }
        Method::DELETE => {
            assets.delete(&key).await?;
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

async fn get<B: Body>(assets: &impl AssetStore<B>, path: &AssetPath<'_>, key: &str) -> Result<Response<B>, Error> {
    let Asset { body, size, content_type, content_encoding, cache_control } =
        assets.get(key).await?.ok_or(Error::NotFound)?;
    let mut response = Response::new(body);
    let content_type = path.content_type().map_or_else(|| content_type.unwrap_or_default(), str::to_owned);
    let content_type = if content_type.is_empty() { DEFAULT_TYPE } else { &content_type };
    let mut set = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).map_err(|error| Failure(error.to_string()))?;
        response.headers_mut().insert(name, value);
        Ok::<_, Failure>(())
    };
    set(CONTENT_TYPE, content_type)?;
    set(CONTENT_DISPOSITION, &path.disposition())?;
    set(CONTENT_LENGTH, &size.to_string())?;
    set(HeaderName::from_static("x-asset-type"), path.extension)?;
    set(HeaderName::from_static("x-asset-size"), &size.to_string())?;
    set(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    set(CONTENT_SECURITY_POLICY, POLICY)?;
    if let Some(encoding) = content_encoding.filter(|encoding| !encoding.is_empty() && encoding != "null") {
        set(CONTENT_ENCODING, &encoding)?;
    }
    if let Some(control) = cache_control.filter(|control| !control.is_empty()) {
        set(CACHE_CONTROL, &control)?;
    }
    cors::allow(response.headers_mut());
    Ok(response)
}

async fn put<P: Platform>(
    platform: &P,
    assets: &P::Assets,
    request: &mut Request<P::Body>,
    path: &AssetPath<'_>,
    key: &str,
) -> Result<(), Error> {
    let db = platform.db().ok_or(Error::IndexMissing)?;
    let limit = if graphs::is_e2ee(db, path.graph_id).await? { ENCRYPTED_BYTES } else { PLAIN_BYTES };
    let size = Size { declared: body::declared_length(request), limit };
    if size.declared.is_some_and(|length| length > limit) {
        return Err(Error::AssetTooLarge);
    }
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let meta = AssetMeta {
        content_type: header("content-type").unwrap_or(DEFAULT_TYPE),
        checksum: header("x-amz-meta-checksum"),
        extension: path.extension,
    };
    assets.put(key, request.body_mut(), size, meta).await.map_err(|error| match error {
        PutError::TooLarge => Error::AssetTooLarge,
        PutError::Failed(failure) => failure.into(),
    })
}
