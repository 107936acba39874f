//! Settings of the observation of databases (pg-sync.md 4.4, 4.7, 4.9, 4.11).

use std::collections::BTreeMap;

use pg_sync::connection::{Tables, configured_revision, is_name, reserved_parameter};
use pg_sync::options::Replica;
use serde::Deserialize;
use url::Url;
use web::address::Network;

use super::lookup::{Lookup, SettingsError};

/// Origins, networks or connections that may be named.
const MAX_ENTRIES: usize = 100;
/// The shortest and the longest pause between two requests, in milliseconds.
pub const POLL_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

/// How databases are observed.
#[derive(Clone)]
pub struct PgSyncSettings {
    /// `PG_SYNC_ALLOW_URLS`: origins of shape services that users may name without a connection.
    pub allow_urls: Vec<String>,
    /// `PG_SYNC_ALLOW_PRIVATE`: private networks that the connections of users may lead into.
    pub allow_private: Vec<Network>,
    /// `PG_SYNC_POLL_MS`: the pause between two requests where a connection names none, in milliseconds.
    pub poll_ms: i64,
    /// `PG_SYNC_MAX_WAKES`: wakes of one subscription in an hour.
    pub max_wakes: u32,
    /// `PG_SYNC_TOOLS` is not `off`: agents are offered tools to observe databases (pg-sync.md 4.12).
    pub offers_tools: bool,
    /// `PG_SYNC_CONNECTIONS`: connections of the operator, by name.
    pub connections: BTreeMap<String, ConfiguredConnection>,
}

/// A connection that stands in the configuration. It may lead anywhere.
#[derive(Clone)]
pub struct ConfiguredConnection {
    /// Where the service is.
    pub url: Url,
    /// What opens it. Of a variable that is missing nobody knows: then it cannot be read.
    pub secret: Option<Result<String, ()>>,
    /// Tables that it lets through, as they were written.
    pub patterns: Vec<String>,
    /// The same, read.
    pub tables: Tables,
    /// What holds where nothing is asked for.
    pub replica: Replica,
    /// Whether requests wait for changes.
    pub is_live: bool,
    /// The pause between two requests that do not, in milliseconds.
    pub poll_ms: Option<i64>,
    /// Another one whenever the address is.
    pub revision: i64,
    users: Vec<String>,
}

impl ConfiguredConnection {
    /// Whether a user may use it.
    pub fn is_for(&self, user: &str) -> bool {
        // At most MAX_ENTRIES.
        self.users.iter().any(|named| named == "*" || named == user)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    secret_env: Option<String>,
    tables: Option<Vec<String>>,
    replica: Option<Replica>,
    mode: Option<String>,
    poll_ms: Option<i64>,
    users: Option<Vec<String>>,
}

pub(super) fn read<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<PgSyncSettings, SettingsError> {
    let wrong = |name: &'static str, why: &str| SettingsError::Form { name, why: why.to_owned() };
    let list = |name: &'static str| {
        let text = get.text(name).unwrap_or_default();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned);
        let entries: Vec<String> = entries.take(MAX_ENTRIES + 1).collect();
        if entries.len() > MAX_ENTRIES { Err(wrong(name, "has too many entries")) } else { Ok(entries) }
    };
    let origin = |text: String| {
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(|url| url.origin().ascii_serialization())
    };
    let origins: Option<Vec<String>> = list("PG_SYNC_ALLOW_URLS")?.into_iter().map(origin).collect();
    let networks = list("PG_SYNC_ALLOW_PRIVATE")?;
    let networks: Option<Vec<Network>> = networks.iter().map(|text| Network::parse(text)).collect();
    let poll_ms = get.number("PG_SYNC_POLL_MS", 5_000)?;
    if !POLL_MS.contains(&poll_ms) {
        return Err(SettingsError::Number {
            name: "PG_SYNC_POLL_MS",
            least: *POLL_MS.start(),
            most: *POLL_MS.end(),
            value: poll_ms.to_string(),
        });
    }
    Ok(PgSyncSettings {
        allow_urls: origins.ok_or_else(|| wrong("PG_SYNC_ALLOW_URLS", "must be addresses with commas between"))?,
        allow_private: networks
            .ok_or_else(|| wrong("PG_SYNC_ALLOW_PRIVATE", "must be networks such as 10.1.0.0/16"))?,
        poll_ms,
        max_wakes: get.sized("PG_SYNC_MAX_WAKES", 30, 1_000_000)?,
        offers_tools: get.word("PG_SYNC_TOOLS", "on or off", &[("on", true), ("off", false)])?.unwrap_or(true),
        connections: connections(get)?,
    })
}

fn connections<F: Fn(&str) -> Option<String>>(
    get: &Lookup<F>,
) -> Result<BTreeMap<String, ConfiguredConnection>, SettingsError> {
    const NAME: &str = "PG_SYNC_CONNECTIONS";
    let wrong = |why: String| SettingsError::Form { name: NAME, why };
    let Some(text) = get.text(NAME) else { return Ok(BTreeMap::new()) };
    let entries: BTreeMap<String, Entry> =
        serde_json::from_str(&text).map_err(|_| wrong("must be a JSON object of connections by name".into()))?;
    if entries.len() > MAX_ENTRIES {
        return Err(wrong("has too many connections".into()));
    }
    let read = |(name, entry): (String, Entry)| {
        let read = connection(get, entry).map_err(|why| wrong(format!("{name}: {why}")))?;
        let is_name = is_name(&name);
        if is_name { Ok((name, read)) } else { Err(wrong(format!("{name:?} is no name of a connection"))) }
    };
    entries.into_iter().map(read).collect()
}

fn connection<F: Fn(&str) -> Option<String>>(
    get: &Lookup<F>,
    entry: Entry,
) -> Result<ConfiguredConnection, &'static str> {
    let url = Url::parse(&entry.url).map_err(|_| "url is no address")?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain || reserved_parameter(&url).is_some() {
        return Err("url must be an address without user, fragment and parameters that requests set themselves");
    }
    let patterns = entry.tables.unwrap_or_else(|| vec!["*".to_owned()]);
    let tables = Tables::read(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
    let is_live = match entry.mode.as_deref() {
        None | Some("interval") => false,
        Some("live") => true,
        Some(_) => return Err("mode must be live or interval"),
    };
    if entry.poll_ms.is_some_and(|ms| !POLL_MS.contains(&ms)) {
        return Err("poll_ms must be from 100 to 3600000");
    }
    Ok(ConfiguredConnection {
        revision: configured_revision(&url),
        url,
        secret: entry.secret_env.map(|name| get.raw(&name).ok_or(())),
        tables: tables.ok_or("tables must be names such as public.orders, shop.* or *")?,
        patterns,
        replica: entry.replica.unwrap_or_default(),
        is_live,
        poll_ms: entry.poll_ms,
        users: entry.users.unwrap_or_else(|| vec!["*".to_owned()]),
    })
}
