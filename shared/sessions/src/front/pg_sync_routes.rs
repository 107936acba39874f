//! The log of a source, and what the clock does for bridges (pg-sync.md 4.2, 4.7, 4.15).

use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use web::{Event, Forward, Level, Objects as _, url};

use super::identity::Caller;
use super::platform::Platform;
use crate::bridge::{SOURCE_HEADER, object_name};
use crate::error::Error;
use crate::pg_sync::PgSyncError;
use crate::registry::pg_bridges;

/// Bridges that are looked after at the same time.
const AT_ONCE: usize = 6;

/// A request of our own to the object of a source.
pub(super) fn call<B>(source_id: &str, method: Method, path: &str) -> Result<Forward<B>, Error> {
    let uri: Uri = format!("https://bridge/__bridge__/{path}").parse().map_err(|_| Error::NotFound)?;
    let mut forward = Forward::new(method, uri);
    let id = HeaderValue::from_str(source_id).map_err(|_| Error::NotFound)?;
    forward.set_header(HeaderName::from_static(SOURCE_HEADER), id);
    Ok(forward)
}

/// Sends the question on to the object, which knows who observes it.
pub(super) async fn changes<P: Platform>(
    platform: &P,
    caller: &Caller,
    source_id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let bridges = platform.bridges().ok_or(PgSyncError::Disabled)?;
    // A name of ours: whoever guesses others makes no object.
    if source_id.len() != 32 || !source_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Error::NotFound);
    }
    let query = ["after", "limit", "wait"].into_iter().filter_map(|name| {
        let value = url::query(request.uri(), name)?;
        Some(format!("{name}={}", url::encode(&value)))
    });
    let path = format!("changes?{}", query.collect::<Vec<_>>().join("&"));
    let mut forward = call(source_id, Method::GET, &path)?;
    let user = HeaderValue::from_str(&url::encode(user)).map_err(|error| Error::Internal(error.to_string()))?;
    forward.set_header(HeaderName::from_static("x-user-id"), user);
    let sent = bridges.send(&object_name(source_id), forward).await;
    sent.map_err(|failure| Error::Internal(failure.0))
}

/// Calls bridges that somebody has something for. What fails is reported: the clock comes again.
pub(super) async fn tell_bridges<P: Platform>(platform: &P, sources: Vec<String>, verb: &str) -> Vec<(String, u16)> {
    let Some(bridges) = platform.bridges() else { return Vec::new() };
    let told = futures_util::stream::iter(sources).map(|source_id| async move {
        let answer = match call(&source_id, Method::POST, verb) {
            Ok(forward) => bridges.send(&object_name(&source_id), forward).await.map_err(|failure| failure.0),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => Some((source_id, answer.status().as_u16())),
            Err(text) => {
                platform.report(&Event::new(Level::Warning, "agents/bridge-not-reached").with_error(&text));
                None
            }
        }
    });
    told.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Pokes the bridges that were not looked after for longest: one whose alarm is lost sets it again, and a row without a bridge
/// goes.
pub async fn look_after_bridges<P: Platform>(platform: &P) {
    let (Some(db), Some(_)) = (platform.db(), platform.bridges()) else { return };
    let done: Result<(), Error> = async {
        pg_bridges::remove_stale(db, platform.now_ms()).await?;
        let sources = pg_bridges::oldest(db).await?;
        // At most MAX_POKES.
        for (source_id, status) in tell_bridges(platform, sources, "poke").await {
            match status {
                404 => pg_bridges::remove_absent(db, &source_id).await?,
                _ => pg_bridges::checked(db, &source_id, platform.now_ms()).await?,
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = done {
        let text = error.to_string();
        platform.report(&Event::new(Level::Error, "agents/bridges-not-looked-after").with_error(&text));
    }
}
