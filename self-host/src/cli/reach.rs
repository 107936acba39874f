//! What `server doctor` learns from outside: issuers, clocks, the addresses that clients are told, certificate and backups
//! (self-host.md 5).

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use daemon_lifecycle::Scope;
use daemon_lifecycle::verbs::{Check, Level};
use http::header::{CONNECTION, DATE, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use time::{Date, Month, PrimitiveDateTime, Time};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::certificate;
use crate::config::Config;
use crate::host::now_ms;
use crate::serve::LOCK_ID;
use crate::serve::client::{Client, plain};
use crate::store::LAST_BACKUP;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 1 << 20;

/// How far clocks may be apart: tokens of others are judged by ours.
const SKEW_S: i64 = 30;

/// A certificate that ends sooner is told.
const ENDING_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// A backup that is older is told.
const OLD: Duration = Duration::from_hours(7 * 24);

/// An answer: its head, and its body as text.
type Answer = (Response<()>, String);

fn get(runtime: &Runtime, url: &str, headers: &HeaderMap) -> Result<Answer, String> {
    let mut request = Request::get(url).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers.clone());
    let asked = async {
        let client: Client<Empty<Bytes>> = plain();
        let response = client.request(request).await.map_err(|error| causes(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
        Ok((Response::from_parts(head, ()), String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    runtime.block_on(async { timeout(PATIENCE, asked).await }).map_err(|_| "no answer in time".to_owned())?
}

/// An error with what it comes from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    // The chain of causes is finite.
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Whether those who vouch for users answer, and whether their clocks are ours.
pub(super) fn issuers(runtime: &Runtime, config: &Config) -> Vec<Check> {
    let ask = |address: &String| match get(runtime, address, &HeaderMap::new()) {
        Ok((head, _)) if head.status().is_success() => {
            let mut checks = vec![Check::ok("issuer", format!("{address} answers"))];
            checks.extend(skew(&head).filter(|skew| skew.abs() > SKEW_S).map(|skew| {
                let message = format!("{address} is {skew} s ahead of this machine's clock");
                Check::bad("clock", Level::Warning, message, "let the clock be set by the network (NTP)")
            }));
            checks
        }
        other => {
            let why = other.map_or_else(|error| error, |(head, _)| format!("it answers {}", head.status()));
            let remedy = "look at the network and at the issuer: without its keys its users are not let in";
            vec![Check::bad("issuer", Level::Warning, format!("{address}: {why}"), remedy)]
        }
    };
    config.settings.auth.key_addresses().iter().flat_map(ask).collect()
}

/// By how many seconds the clock of whoever answered is ahead of ours.
fn skew(head: &Response<()>) -> Option<i64> {
    Some(instant(head.headers().get(DATE)?.to_str().ok()?)? - now_ms() / 1000)
}

/// Seconds since the epoch of a time as answers have it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn instant(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let date = Date::from_calendar_date(words.next()?.parse().ok()?, month, day).ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let time = Time::from_hms(clock.next()??, clock.next()??, clock.next()??).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

/// Whether each address that clients are told leads here, and lets sockets through.
pub(super) fn addresses(runtime: &Runtime, config: &Config, more: &[String], lock_id: Option<&str>) -> Vec<Check> {
    let told = config.base_url.iter().chain(&config.base_urls).chain(more);
    told.map(|base| address(runtime, base.trim_end_matches('/'), lock_id)).collect()
}

fn address(runtime: &Runtime, base: &str, lock_id: Option<&str>) -> Check {
    let bad = |why: String, remedy: &str| Check::bad("base-url", Level::Warning, format!("{base}: {why}"), remedy);
    let Some(lock_id) = lock_id else {
        return bad("no server runs here that could answer there".into(), "start it, and ask again");
    };
    match get(runtime, &format!("{base}/health"), &HeaderMap::new()) {
        Err(why) => return bad(why, "look at the name, at the proxy and at the firewall"),
        Ok((head, _)) if head.headers().get(LOCK_ID).is_none_or(|id| id != lock_id) => {
            return bad(format!("it answers {}, and is not this server", head.status()), "let it lead to this server");
        }
        Ok(_) => {}
    }
    // A handshake that lacks its key: only who sees that it is one refuses it as such.
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
    let headers = headers.map(|(name, value)| (name, http::HeaderValue::from_static(value))).into_iter().collect();
    match get(runtime, &format!("{base}/sync/doctor"), &headers) {
        Ok((_, body)) if body.contains("invalid upgrade") => Check::ok("base-url", format!("{base} is this server")),
        Ok((head, _)) => bad(
            format!("sockets do not come through: {}", head.status()),
            "let the proxy pass on Upgrade and Connection, by HTTP/1.1",
        ),
        Err(why) => bad(why, "look at the proxy"),
    }
}

/// When the certificate ends.
pub(super) fn certificate(config: &Config) -> Option<Check> {
    let (path, _) = config.tls.as_ref()?;
    let shown = path.display();
    Some(match certificate::end_ms(path) {
        Err(why) => Check::bad("certificate", Level::Error, format!("{shown}: {why}"), "see docs/self-hosting.md"),
        Ok(end) => {
            let (left, at) = (end - now_ms(), index::operator::instant(end));
            match left {
                ..0 => Check::bad("certificate", Level::Error, format!("{shown} has ended at {at}"), "renew it"),
                0..ENDING_MS => Check::bad("certificate", Level::Warning, format!("{shown} ends at {at}"), "renew it"),
                _ => Check::ok("certificate", format!("{shown} ends at {at}")),
            }
        }
    })
}

/// When the last backup was made.
pub(super) fn backup(scope: &Scope) -> Check {
    let made = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    let remedy = "`logseq-sync backup --output DIR`, every day by a timer";
    match made(&scope.directory().join(LAST_BACKUP)) {
        None => Check::bad("backup", Level::Warning, "no backup was ever made", remedy),
        Some(at) => {
            let age = SystemTime::now().duration_since(at).unwrap_or_default();
            let message = format!("the last backup is {} days old", age.as_secs() / 86_400);
            if age > OLD { Check::bad("backup", Level::Warning, message, remedy) } else { Check::ok("backup", message) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        assert_eq!(instant("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in ["", "now", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }
}
