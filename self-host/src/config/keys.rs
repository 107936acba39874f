//! Every key of the configuration.

use super::value::Value;
use crate::cli::REVISION;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A whole number within bounds.
    Number(u64, u64),
    /// Yes or no.
    Flag,
    /// Several texts: a comma between them, or an array.
    List,
    /// One of these.
    One(&'static [&'static str]),
    /// A share from 0 to 1.
    Share,
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file; the flag has `-` for `_` and for the dot.
    pub(crate) name: &'static str,
    /// Its variables; the first one is told.
    pub(crate) variables: &'static [&'static str],
    pub(crate) kind: Kind,
    /// The text of its default, or none where nothing is the default.
    default: Option<&'static str>,
    /// It is never shown, and may be read from a file that a variable names.
    pub(crate) secret: bool,
    /// One line for the help.
    pub(crate) help: &'static str,
    /// It is known, and does nothing yet: whoever sets it is told so.
    pub(crate) is_idle: bool,
}

impl Key {
    /// The name of its flag.
    pub(crate) fn flag(&self) -> String {
        self.name.replace(['_', '.'], "-")
    }

    /// Its first variable.
    pub(crate) fn variable(&self) -> &'static str {
        self.variables.first().copied().unwrap_or_default()
    }

    /// The value that it has where nobody says anything.
    pub(crate) fn default(&self) -> Option<Value> {
        // Texts of the table below, which a test reads.
        self.default.and_then(|text| Value::parse(self.kind, text).ok())
    }
}

const fn key(
    name: &'static str,
    variables: &'static [&'static str],
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key { name, variables, kind, default, secret: false, help, is_idle: false }
}

/// A key that does nothing yet.
const fn idle(name: &'static str, variables: &'static [&'static str], kind: Kind) -> Key {
    Key { name, variables, kind, default: None, secret: false, help: "without effect in this version", is_idle: true }
}

const fn secret(name: &'static str, variables: &'static [&'static str], help: &'static str) -> Key {
    Key { name, variables, kind: Kind::Text, default: None, secret: true, help, is_idle: false }
}

/// A number above zero.
const SOME: Kind = Kind::Number(1, 1 << 40);

/// All keys, in the order in which they are shown.
pub(crate) const KEYS: &[Key] = &[
    key("port", &["DB_SYNC_PORT"], Kind::Number(0, 65_535), Some("8080"), "port; 0: any free one"),
    key("bind", &["DB_SYNC_BIND", "DB_SYNC_IP"], Kind::List, None, "addresses to listen on, or unix:/path"),
    key("base_url", &["DB_SYNC_BASE_URL"], Kind::Text, None, "address that clients are always told"),
    key("base_urls", &["DB_SYNC_BASE_URLS"], Kind::List, None, "addresses of which a request may name its own"),
    key("data_dir", &["DB_SYNC_DATA_DIR"], Kind::Text, Some("data/db-sync"), "where everything is kept"),
    key("storage_driver", &["DB_SYNC_STORAGE_DRIVER"], Kind::One(&["sqlite"]), Some("sqlite"), "sqlite"),
    key("assets_driver", &["DB_SYNC_ASSETS_DRIVER"], Kind::One(&["filesystem"]), Some("filesystem"), "filesystem"),
    key(
        "log.level",
        &["DB_SYNC_LOG_LEVEL"],
        Kind::One(&["debug", "info", "warn", "error"]),
        Some("info"),
        "what is logged: debug, info, warn or error",
    ),
    key("log.format", &["DB_SYNC_LOG_FORMAT"], Kind::One(&["text", "json"]), Some("text"), "text or json"),
    key("log.file", &["DB_SYNC_LOG_FILE"], Kind::Text, None, "file of the log, in place of standard error"),
    key("auth.driver", &["DB_SYNC_AUTH_DRIVER"], Kind::List, Some("cognito"), "cognito, oidc, static, or none alone"),
    secret("auth.token", &["DB_SYNC_AUTH_TOKEN"], "token of the static driver"),
    key("auth.static_user_id", &["DB_SYNC_STATIC_USER_ID"], Kind::Text, Some("user"), "id of the only user"),
    key("auth.static_email", &["DB_SYNC_STATIC_EMAIL"], Kind::Text, None, "address of the only user"),
    key("auth.static_username", &["DB_SYNC_STATIC_USERNAME"], Kind::Text, None, "name of the only user"),
    secret("auth.admin_token", &["DB_SYNC_ADMIN_TOKEN"], "token of the operator"),
    key("auth.allow_subs", &["DB_SYNC_ALLOW_SUBS"], Kind::List, None, "users who may enter, by id"),
    key("auth.allow_emails", &["DB_SYNC_ALLOW_EMAILS"], Kind::List, None, "users who may enter, by verified address"),
    key("auth.allow_origins", &["DB_SYNC_ALLOW_ORIGINS"], Kind::List, None, "driver none: more pages that are let in"),
    key("auth.allow_hosts", &["DB_SYNC_ALLOW_HOSTS"], Kind::List, None, "driver none: more names of this server"),
    key("auth.allow_open", &["DB_SYNC_ALLOW_OPEN"], Kind::Flag, Some("false"), "driver none on a public address"),
    key(
        "auth.allow_unverified_jwt_claims",
        &["DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS"],
        Kind::Flag,
        Some("false"),
        "count tokens while keys cannot be fetched",
    ),
    key("cognito.issuer", &["COGNITO_ISSUER"], Kind::Text, None, "issuer of tokens"),
    key("cognito.client_id", &["COGNITO_CLIENT_ID"], Kind::Text, None, "whom tokens are made out to"),
    key("cognito.client_ids", &["COGNITO_CLIENT_IDS"], Kind::List, None, "more of them"),
    key("cognito.jwks_url", &["COGNITO_JWKS_URL"], Kind::Text, None, "keys of the issuer"),
    key(
        "oidc.issuer",
        &["DB_SYNC_OIDC_ISSUER"],
        Kind::Text,
        None,
        "another issuer; several stand in the file as [[oidc]]",
    ),
    key("oidc.audience", &["DB_SYNC_OIDC_AUDIENCE"], Kind::List, None, "whom its tokens are made out to"),
    key(
        "proxy.trusted",
        &["DB_SYNC_TRUSTED_PROXIES"],
        Kind::List,
        None,
        "peers that say who asks: addresses, ranges, loopback, private, unix",
    ),
    secret("asset_link_secret", &["ASSET_LINK_SECRET"], "signs links to assets"),
    key("initial_data", &["DB_SYNC_INITIAL_DATA"], Kind::Flag, Some("false"), "built-in data in graphs never uploaded"),
    key("snapshot_gzip", &["DB_SYNC_SNAPSHOT_STREAM_GZIP"], Kind::Flag, Some("true"), "compress downloads"),
    secret("sentry.dsn", &["SENTRY_DSN"], "where errors are reported"),
    key("sentry.release", &["SENTRY_RELEASE"], Kind::Text, Some(REVISION), "the release that reports name"),
    key("sentry.environment", &["SENTRY_ENVIRONMENT"], Kind::Text, Some("self-host"), "the environment that they name"),
    key(
        "sentry.traces_sample_rate",
        &["SENTRY_TRACES_SAMPLE_RATE"],
        Kind::Share,
        Some("0"),
        "the share of requests that are reported, too",
    ),
    idle("pat_groups", &["DB_SYNC_PAT_GROUPS"], Kind::Text),
    key("status_page", &["DB_SYNC_STATUS_PAGE"], Kind::Flag, Some("true"), "the page that shows whether devices agree"),
    key("metrics.graphs", &["DB_SYNC_METRICS_GRAPHS"], Kind::Flag, Some("false"), "tell graphs one by one in /metrics"),
    key(
        "min_free_mib",
        &["DB_SYNC_MIN_FREE"],
        Kind::Number(0, 1 << 40),
        Some("256"),
        "MiB of the disk that uploads and assets leave alone",
    ),
    key(
        "limits.keep_alive_s",
        &["DB_SYNC_LIMIT_KEEP_ALIVE_S"],
        SOME,
        Some("75"),
        "seconds between two requests on a connection",
    ),
    key(
        "limits.unread_mib",
        &["DB_SYNC_LIMIT_UNREAD_MIB"],
        SOME,
        Some("16"),
        "MiB that may wait for a socket's reader",
    ),
    key(
        "limits.failed_logins",
        &["DB_SYNC_LIMIT_FAILED_LOGINS"],
        SOME,
        Some("60"),
        "tokens that count for nothing, a minute and address",
    ),
    key("limits.exports", &["DB_SYNC_LIMIT_EXPORTS"], SOME, Some("8"), "downloads of a graph at once"),
    key("tls.cert", &["DB_SYNC_TLS_CERT"], Kind::Text, None, "certificate and its chain (PEM)"),
    key("tls.key", &["DB_SYNC_TLS_KEY"], Kind::Text, None, "its key (PEM)"),
    key(
        "metrics.bind",
        &["DB_SYNC_METRICS_BIND"],
        Kind::Text,
        None,
        "address of /metrics alone, such as 127.0.0.1:9090",
    ),
    key("metrics.allow", &["DB_SYNC_METRICS_ALLOW"], Kind::List, None, "addresses that may read /metrics"),
    key(
        "shutdown_timeout_s",
        &["DB_SYNC_SHUTDOWN_TIMEOUT"],
        Kind::Number(0, 3600),
        Some("20"),
        "seconds that uploads and downloads get at the end",
    ),
    key("graph_idle_s", &["DB_SYNC_GRAPH_IDLE"], SOME, Some("300"), "seconds until an unused graph is closed"),
    key("agents_service_url", &["AGENTS_SERVICE_URL"], Kind::Text, None, "where requests about sessions go"),
    key("pg_sync.sink_url", &["PG_SYNC_SINK_URL"], Kind::Text, None, "where wakes of observed databases go"),
    key(
        "pg_sync.sink_secret_file",
        &["PG_SYNC_SINK_SECRET_FILE"],
        Kind::Text,
        None,
        "file of the secret that signs them",
    ),
    key("pg_sync.max_wakes", &["PG_SYNC_MAX_WAKES"], SOME, Some("30"), "wakes of an observation in an hour"),
    key(
        "pg_sync.poll_ms",
        &["PG_SYNC_POLL_MS"],
        Kind::Number(100, 3_600_000),
        Some("5000"),
        "pause between requests in the mode interval",
    ),
    key("limits.connections", &["DB_SYNC_LIMIT_CONNECTIONS"], SOME, Some("10000"), "connections"),
    key(
        "limits.per_address",
        &["DB_SYNC_LIMIT_PER_ADDRESS"],
        SOME,
        Some("256"),
        "connections of an address; loopback is free",
    ),
    key("limits.user_sockets", &["DB_SYNC_LIMIT_USER_SOCKETS"], SOME, Some("32"), "sockets of a user on a graph"),
    key("limits.graph_sockets", &["DB_SYNC_LIMIT_GRAPH_SOCKETS"], SOME, Some("500"), "sockets of a graph"),
    key(
        "limits.header_kib",
        &["DB_SYNC_LIMIT_HEADER_KIB"],
        Kind::Number(8, 1024),
        Some("32"),
        "KiB of a request's head",
    ),
    key("limits.header_s", &["DB_SYNC_LIMIT_HEADER_S"], SOME, Some("10"), "seconds for a request's head"),
    key("limits.idle_s", &["DB_SYNC_LIMIT_IDLE_S"], SOME, Some("30"), "seconds between pieces of a body"),
    key("limits.ping_s", &["DB_SYNC_LIMIT_PING_S"], SOME, Some("30"), "seconds between pings of a socket"),
    key("limits.open_graphs", &["DB_SYNC_LIMIT_OPEN_GRAPHS"], SOME, Some("512"), "graphs open at once"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_of_their_kind_and_names_are_used_once() {
        let mut names = std::collections::BTreeSet::new();
        for key in KEYS {
            assert_eq!(key.default.is_some(), key.default().is_some(), "{}", key.name);
            assert!(names.insert(key.flag()), "{}", key.name);
            for variable in key.variables {
                assert!(names.insert((*variable).to_owned()), "{variable}");
            }
            assert!(!key.variable().is_empty(), "{}", key.name);
        }
    }
}
