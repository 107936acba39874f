//! What the server is started with, made of the values of the keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth::Provider;
use http::Uri;
use sync_http::address::Address;
use sync_http::service::Settings;
use web::Sentry;

use super::gather::{Problem, Resolved};
use super::keys::KEYS;
use super::limits::Limits;
use super::oidc;
use super::pg_sync::{self, PgSync};
use super::started::absolute;
use super::value::Value;
use crate::log::{Format, Threshold};
use crate::serve::{Bind, OperatorToken, Trusted};

/// A static token under so many bytes is easily guessed.
const SHORT_TOKEN: usize = 16;

/// What the server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where it listens.
    pub(crate) binds: Vec<Bind>,
    /// Under which addresses clients reach it, as far as the configuration says.
    pub(crate) base_url: Option<String>,
    /// Addresses of which a request may name its own; empty: any.
    pub(crate) base_urls: Vec<String>,
    /// Certificate and key of encrypted connections.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Which peers may say who asks.
    pub(crate) trusted: Trusted,
    /// Clients that may read the metrics without the operator's token.
    pub(crate) metrics_allow: Trusted,
    /// The address of the metrics, where they have one of their own.
    pub(crate) metrics_bind: Option<SocketAddr>,
    /// Where everything is kept; absolute.
    pub(crate) data_dir: PathBuf,
    /// What is logged.
    pub(crate) log_level: Threshold,
    /// How.
    pub(crate) log_format: Format,
    /// Where, in place of standard error.
    pub(crate) log_file: Option<PathBuf>,
    /// Who vouches for users, by the names of the drivers.
    pub(crate) drivers: Vec<String>,
    /// Somebody could sign in without a stored user.
    pub(crate) has_way_in: bool,
    /// The surface's settings.
    pub(crate) settings: Settings,
    /// The operator's token, for whoever comes through the socket in the data directory.
    pub(crate) operator: Option<OperatorToken>,
    /// Where requests about sessions go.
    pub(crate) agents: Option<Uri>,
    /// Which changes of which databases are observed.
    pub(crate) pg_sync: PgSync,
    /// What uploads and downloads get at the end.
    pub(crate) shutdown: Duration,
    /// When an unused graph is closed.
    pub(crate) graph_idle: Duration,
    /// Where errors are reported.
    pub(crate) sentry: Option<Sentry>,
    /// What stands before the path of each address, without a slash at its end.
    pub(crate) base_path: String,
    /// How much is taken at once.
    pub(crate) limits: Limits,
    /// Issuers beside Cognito.
    pub(crate) providers: Vec<Provider>,
    /// There is a status page.
    pub(crate) status_page: bool,
    /// Graphs may be told one by one in the metrics.
    pub(crate) metrics_graphs: bool,
    /// Bytes of the disk that uploads and assets leave alone.
    pub(crate) min_free: u64,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

/// Reads typed values; what is missing has the default of its key.
pub(super) struct Reader<'a>(&'a Resolved);

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.value(name).map(Value::text).filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.0.value(name) {
            Some(Value::List(entries)) => entries.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        match self.0.value(name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.number(name))
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.0.value(name), Some(Value::Flag(true)))
    }
}

impl Config {
    /// Where everything is kept, for verbs that need nothing else.
    pub(crate) fn data_dir(resolved: &Resolved) -> PathBuf {
        absolute(Path::new(&Reader(resolved).text("data_dir").unwrap_or_default()))
    }

    /// The configuration; the error lists all that is wrong.
    pub(crate) fn new(resolved: &Resolved) -> Result<Self, Vec<Problem>> {
        let read = Reader(resolved);
        let mut problems = Vec::new();
        let mut warnings = resolved.warnings.clone();
        for key in KEYS.iter().filter(|key| key.is_idle && resolved.value(key.name).is_some()) {
            warnings.push(format!("{} has no effect in this version", key.name));
        }
        let drivers: Vec<String> = read.list("auth.driver").iter().map(|name| name.to_ascii_lowercase()).collect();
        check_drivers(resolved, &drivers, &mut problems);
        let is_open = drivers.iter().any(|driver| driver == "none");
        let binds = binds(resolved, &read, is_open, &mut problems);
        if is_open && !read.flag("auth.allow_open") && binds.iter().any(is_public) {
            let text = "lets in whoever reaches the server, and the server listens on a public address; \
                auth.allow_open = true says that this is meant";
            problems.push(resolved.problem("auth.driver", text));
        }
        let mut peers = |name: &str| {
            Trusted::parse(&read.list(name)).unwrap_or_else(|entry| {
                let text = format!("{entry:?} is no address, no range, and none of loopback, private and unix");
                problems.push(resolved.problem(name, text));
                Trusted::default()
            })
        };
        let (trusted, metrics_allow) = (peers("proxy.trusted"), peers("metrics.allow"));
        let metrics_bind = read.text("metrics.bind").and_then(|text| {
            let address = text.parse().ok();
            if address.is_none() {
                problems.push(resolved.problem("metrics.bind", "must be an address such as 127.0.0.1:9090"));
            }
            address
        });
        let base_urls: Vec<String> = read
            .list("base_urls")
            .iter()
            .filter_map(|url| {
                let found = origin_of(url);
                if found.is_none() {
                    let text = format!("{url:?} must be an address such as https://notes.example, without a path");
                    problems.push(resolved.problem("base_urls", text));
                }
                found
            })
            .collect();
        let pair =
            [read.text("tls.cert"), read.text("tls.key")].map(|path| path.map(|path| absolute(Path::new(&path))));
        let tls = match pair {
            [Some(cert), Some(key)] => Some((cert, key)),
            [None, None] => None,
            _ => {
                problems.push(resolved.problem("tls.cert", "certificate and key are set together, or neither"));
                None
            }
        };
        let agents = read.text("agents_service_url").and_then(|url| match url.parse::<Uri>() {
            Ok(uri)
                if uri.scheme_str().is_some_and(|it| it == "http" || it == "https") && uri.authority().is_some() =>
            {
                Some(uri)
            }
            _ => {
                problems
                    .push(resolved.problem("agents_service_url", "must be an address such as http://127.0.0.1:8788"));
                None
            }
        });
        if let Some(token) = read.text("auth.token").filter(|token| token.len() < SHORT_TOKEN) {
            warnings.push(format!("auth.token has only {} characters: it is easily guessed", token.len()));
        }
        if read.flag("auth.allow_unverified_jwt_claims") {
            warnings
                .push("auth.allow_unverified_jwt_claims: forged tokens count while the keys cannot be fetched".into());
        }
        let has_static = drivers.iter().any(|driver| driver == "static") && read.text("auth.token").is_some();
        let has_issuer = drivers.iter().any(|driver| driver == "cognito") && read.text("cognito.issuer").is_some();
        let starting = agents.as_ref().and_then(Uri::host).is_some_and(is_this_machine);
        let accepted = accepted(&drivers, read.text("auth.token").is_some());
        let has_oidc = drivers.iter().any(|driver| driver == "oidc");
        let providers = if has_oidc { oidc::providers(resolved, has_issuer, &mut problems) } else { Vec::new() };
        if has_oidc && providers.is_empty() {
            problems.push(
                resolved.problem("auth.driver", "names oidc, but there is no [[oidc]] and no DB_SYNC_OIDC_ISSUER"),
            );
        }
        let (max_wakes, poll_ms) = (read.number("pg_sync.max_wakes"), read.number("pg_sync.poll_ms"));
        let pg_sync = pg_sync::read(resolved, max_wakes, poll_ms, &mut problems);
        let has_issuer = has_issuer || !providers.is_empty();
        let sentry = Sentry::from_lookup("logseq-sync", |name| {
            let key = KEYS.iter().find(|key| key.variable() == name)?;
            resolved.value(key.name).map(Value::text)
        });
        if sentry.is_none() && read.text("sentry.dsn").is_some() {
            problems.push(resolved.problem("sentry.dsn", "must be an address such as https://key@sentry.example/1"));
        }
        let settings = match Settings::from_lookup(lookup(resolved, accepted, starting)) {
            Ok(mut settings) => {
                match read.text("base_url").as_deref().map(Address::at) {
                    Some(Ok(address)) => settings.address = address,
                    Some(Err(error)) => problems.push(resolved.problem("base_url", error.to_string())),
                    None => {}
                }
                settings.auth.set_providers(providers.clone());
                Some(settings)
            }
            Err(error) => {
                problems.push(Problem { name: "settings".into(), place: String::new(), text: error.to_string() });
                None
            }
        };
        match settings {
            Some(settings) if problems.is_empty() => Ok(Self {
                binds,
                base_url: read.text("base_url"),
                base_urls,
                trusted,
                tls,
                metrics_allow,
                metrics_bind,
                data_dir: Self::data_dir(resolved),
                log_level: read.text("log.level").and_then(|name| Threshold::named(&name)).unwrap_or_default(),
                log_format: if read.text("log.format").as_deref() == Some("json") {
                    Format::Json
                } else {
                    Format::Text
                },
                log_file: read.text("log.file").map(|path| absolute(Path::new(&path))),
                has_way_in: is_open || has_static || has_issuer,
                drivers,
                settings,
                operator: read.text("auth.admin_token").and_then(|token| OperatorToken::new(&token)),
                agents,
                pg_sync,
                shutdown: read.seconds("shutdown_timeout_s"),
                graph_idle: read.seconds("graph_idle_s"),
                sentry,
                base_path: read.text("base_url").as_deref().map(path_of).unwrap_or_default(),
                limits: Limits::read(&read),
                providers,
                status_page: read.flag("status_page"),
                metrics_graphs: read.flag("metrics.graphs"),
                min_free: read.number("min_free_mib").saturating_mul(1 << 20),
                warnings,
            }),
            _ => Err(problems),
        }
    }
}

/// The path of an address, without a slash at its end.
fn path_of(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    uri.map(|uri| uri.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// Scheme and host of an address that has no path.
fn origin_of(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    bare.then(|| uri.authority().map(|host| format!("{scheme}://{}", host.as_str().to_ascii_lowercase())))?
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_drivers(resolved: &Resolved, drivers: &[String], problems: &mut Vec<Problem>) {
    const KNOWN: [&str; 4] = ["cognito", "oidc", "static", "none"];
    for driver in drivers.iter().filter(|driver| !KNOWN.contains(&driver.as_str())) {
        let text = format!("must be cognito, oidc, static or none, not {driver:?}");
        problems.push(resolved.problem("auth.driver", text));
    }
    if drivers.len() > 1 && drivers.iter().any(|driver| driver == "none") {
        problems.push(resolved.problem("auth.driver", "none stands alone"));
    }
    if drivers.is_empty() {
        problems.push(resolved.problem("auth.driver", "names no driver"));
    }
}

/// The addresses to listen on. Without a word all of the machine's, or this machine alone where nobody is asked for a token.
fn binds(resolved: &Resolved, read: &Reader<'_>, is_open: bool, problems: &mut Vec<Problem>) -> Vec<Bind> {
    let port = u16::try_from(read.number("port")).unwrap_or_default();
    let entries = read.list("bind");
    if entries.is_empty() {
        let all = if is_open { IpAddr::from(Ipv4Addr::LOCALHOST) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        return vec![Bind::Tcp(SocketAddr::new(all, port))];
    }
    let mut addresses = Vec::new();
    for entry in entries {
        if let Some(path) = entry.strip_prefix("unix:") {
            if path.starts_with('/') {
                addresses.push(Bind::Unix(path.into()));
            } else {
                problems.push(resolved.problem("bind", format!("{entry:?} must be unix:/ and a path from there")));
            }
            continue;
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        match (entry.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
            (Ok(address), _) => addresses.push(Bind::Tcp(address)),
            (_, Ok(ip)) => addresses.push(Bind::Tcp(SocketAddr::new(ip, port))),
            _ if entry == "localhost" => {
                addresses.push(Bind::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
            }
            _ => problems.push(resolved.problem("bind", format!("{entry:?} is no address"))),
        }
    }
    addresses
}

/// Whether other machines reach an address.
fn is_public(bind: &Bind) -> bool {
    matches!(bind, Bind::Tcp(address) if !address.ip().is_loopback())
}

/// The drivers as the surface knows them. Without a token for it the static driver knows nobody; stored users count beside all
/// but `none`.
fn accepted(drivers: &[String], has_token: bool) -> String {
    let counts = |driver: &&String| driver.as_str() != "oidc" && (driver.as_str() != "static" || has_token);
    let counted: Vec<&str> = drivers.iter().filter(counts).map(String::as_str).collect();
    if counted.is_empty() { "stored".to_owned() } else { counted.join(",") }
}

/// The settings under the names that the surface reads them by.
fn lookup(resolved: &Resolved, drivers: String, agents_may_be_starting: bool) -> impl Fn(&str) -> Option<String> {
    move |name| {
        if name == "DB_SYNC_TRUSTED_PROXIES" || name == "DB_SYNC_BASE_URL" {
            // The one is answered before the surface sees a request; the other may have a path here.
            return None;
        }
        if name == "DB_SYNC_AUTH_DRIVER" {
            return Some(drivers.clone());
        }
        if name == "DB_SYNC_LOCAL_AGENTS" && agents_may_be_starting {
            return Some("starting".into());
        }
        let key = KEYS.iter().find(|key| key.variable() == name)?;
        resolved.value(key.name).map(Value::text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Sources, gather};

    fn config(set: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let resolved = gather(&Sources { flags: &BTreeMap::new(), environment: &environment, file: None }).unwrap();
        Config::new(&resolved).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn it_listens_where_it_is_told() {
        let binds = |set: &[(&str, &str)]| -> Vec<String> {
            config(set).unwrap().binds.iter().map(ToString::to_string).collect()
        };
        assert_eq!(binds(&[]), ["[::]:8080"]);
        assert_eq!(binds(&[("DB_SYNC_AUTH_DRIVER", "none")]), ["127.0.0.1:8080"]);
        let several = [("DB_SYNC_BIND", "127.0.0.1, [::1], 10.0.0.1:9, localhost, unix:/run/s"), ("DB_SYNC_PORT", "0")];
        assert_eq!(binds(&several), ["127.0.0.1:0", "[::1]:0", "10.0.0.1:9", "127.0.0.1:0", "unix:/run/s"]);
        assert!(config(&[("DB_SYNC_BIND", "unix:relative")]).unwrap_err()[0].contains("unix:/"));
        let wrong = config(&[("DB_SYNC_BIND", "nowhere")]).unwrap_err();
        assert_eq!(wrong, ["DB_SYNC_BIND (environment): \"nowhere\" is no address"]);
    }

    #[test]
    fn an_open_server_on_a_public_address_is_meant() {
        let open = ("DB_SYNC_AUTH_DRIVER", "none");
        let public = ("DB_SYNC_BIND", "0.0.0.0");
        assert!(config(&[open, public]).unwrap_err()[0].contains("allow_open"));
        assert!(config(&[open, public, ("DB_SYNC_ALLOW_OPEN", "true")]).is_ok());
        assert!(config(&[("DB_SYNC_AUTH_DRIVER", "none,cognito")]).unwrap_err()[0].contains("alone"));
        assert!(config(&[("DB_SYNC_AUTH_DRIVER", "ldap")]).unwrap_err()[0].contains("ldap"));
    }

    #[test]
    fn somebody_must_be_able_to_sign_in() {
        let way = |set: &[(&str, &str)]| config(set).unwrap().has_way_in;
        assert!(!way(&[]));
        assert!(way(&[("COGNITO_ISSUER", "https://issuer.test")]));
        assert!(way(&[("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", "a-long-enough-token")]));
        assert!(!way(&[("DB_SYNC_AUTH_DRIVER", "static")]));
        assert!(
            !config(&[("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", "short")]).unwrap().warnings.is_empty()
        );
    }
}
