//! The runner's settings (docs/spec/session-mailbox.md 8.2).

mod current;
mod gather;
mod keys;
mod print;
mod tables;

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

pub(crate) use current::Current;
pub use gather::{NamedFile, Source, Values, gather};
pub use keys::{KEYS, Key, Kind};
pub use print::as_toml;
pub use tables::{Agent as AgentTable, Allow, Tables};

use crate::failure::Failure;
use crate::log::Level;

/// Everything that is set, checked.
#[derive(Clone)]
pub struct Settings {
    /// Address of the agents worker, without a slash at its end.
    pub api: String,
    /// Token to register with.
    pub token: String,
    /// Name of this runner.
    pub runner_id: String,
    /// Sessions at once.
    pub max_sessions: u32,
    /// Folder of the runner's own files.
    pub state_dir: PathBuf,
    /// Folder in which sessions work.
    pub workspace_dir: Option<String>,
    /// Whether working trees stay when the folders of their sessions go.
    pub keep_work: bool,
    /// What is written to the log.
    pub log: Level,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// How the sandbox-agent is shown to the worker.
    pub tunnel: Tunnel,
    /// The local sandbox-agent.
    pub agent: Agent,
    /// How the worker reaches this machine.
    pub transport: Transport,
    /// How agents run in transport `mailbox`.
    pub mailbox: Mailbox,
    /// How conversations are kept.
    pub transcripts: Transcripts,
    /// What the file alone can say.
    pub tables: Tables,
}

/// How conversations are kept (docs/spec/transcripts.md).
#[derive(Clone, Debug)]
pub struct Transcripts {
    /// Where agents keep theirs, besides those that are known.
    pub globs: String,
    /// The longest, in bytes.
    pub max_bytes: usize,
    /// Whether an agent is opened without a conversation that cannot be had.
    pub continues: bool,
}

/// How the worker reaches this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By the mailbox where the worker offers it, else by a tunnel.
    Auto,
    /// The runner calls the worker.
    Mailbox,
    /// The worker calls the sandbox-agent.
    Tunnel,
}

/// How agents run in transport `mailbox`.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Take the name from another machine.
    pub replace: bool,
    /// The shim, where one is named.
    pub shim: Option<PathBuf>,
    /// What an agent is walled in with.
    pub driver: DriverKind,
    /// The image of the driver `container`.
    pub image: Option<String>,
    /// The network.
    pub network: String,
    /// Paths of the system that an agent sees.
    pub system_binds: Vec<PathBuf>,
    /// An agent without work ends after so long; none: never.
    pub idle_exit: Option<Duration>,
    /// The longest turn.
    pub turn: Option<Duration>,
    /// The longest start.
    pub start: Duration,
    /// An agent without a runner ends after so long; none: never.
    pub orphan: Option<Duration>,
    /// How often a prompt is sent again that an agent had when it died.
    pub retry_sent: u32,
    /// The longest file of an agent's that is read, in bytes.
    pub max_bytes: u64,
    /// How an agent's side reads the runner's file.
    pub reopen: mailbox::config::Reopen,
    /// Whether files are watched.
    pub inotify: bool,
}

/// What an agent is walled in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// The first that can be used, but never `plain`.
    Auto,
    /// Namespaces, by bubblewrap.
    Bubblewrap,
    /// A container.
    Container,
    /// Nothing.
    Plain,
}

/// How the sandbox-agent is shown to the worker.
#[derive(Clone)]
pub struct Tunnel {
    /// Its public address, where there is one already.
    pub url: Option<String>,
    /// Whether cloudflared may be started.
    pub start: bool,
    /// Further words for cloudflared.
    pub args: Vec<String>,
    /// Log of cloudflared.
    pub log: PathBuf,
    /// Service token of Cloudflare Access.
    pub access_client_id: Option<String>,
    /// Its secret.
    pub access_client_secret: Option<String>,
}

/// The local sandbox-agent.
#[derive(Clone)]
pub struct Agent {
    /// Its address, without a slash at its end.
    pub url: String,
    /// Where it listens, when it is started.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// Its token.
    pub token: Option<String>,
    /// Whether it may be started.
    pub start: bool,
    /// Its sources.
    pub repo: Option<PathBuf>,
    /// Its log.
    pub log: PathBuf,
}

/// What the machine says of itself.
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Where state lies that nobody named another folder for.
    pub state_dir: Option<PathBuf>,
}

impl Settings {
    /// Checks values that belong together, and fills in what the machine says.
    ///
    /// # Errors
    /// [`Failure::Configuration`]
    pub fn new(values: &Values, machine: &Machine, tables: Tables) -> Result<Self, Failure> {
        let text = |name: &str| Some(values.get(name).0.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let number = |name: &str| values.get(name).0.parse::<u32>().unwrap_or(1);
        let is_on = |name: &str| values.get(name).0 == "1";
        let state_dir = text("runner.state-dir").map(PathBuf::from).or_else(|| machine.state_dir.clone());
        let state_dir = state_dir.ok_or_else(|| wrong("RUNNER_STATE_DIR", "no home folder to keep files in"))?;
        let api = address("BASE_URL", values.get("api.url").0)?;
        if api.scheme() == "http" && !is_loopback(&api) && !is_on("api.allow-http") {
            return Err(wrong(
                "BASE_URL",
                "http to another machine needs api.allow-http = true in the configuration file",
            ));
        }
        let agent = address("SANDBOX_AGENT_URL", values.get("sandbox-agent.url").0)?;
        let short = machine.name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("local-runner");
        let public =
            text("tunnel.url").map(|url| address("RUNNER_BASE_URL", &url).map(|url| bare(&url))).transpose()?;
        let logs = state_dir.join("log");
        Ok(Self {
            api: bare(&api),
            token: text("api.token").ok_or_else(|| wrong("TOKEN", "a token is needed"))?,
            runner_id: text("runner.id").unwrap_or_else(|| short.to_owned()),
            max_sessions: number("runner.max-sessions"),
            workspace_dir: text("runner.workspace-dir"),
            keep_work: is_on("runner.keep-work"),
            log: Level::named(values.get("runner.log").0).unwrap_or(Level::Info),
            heartbeat: Duration::from_secs(number("tunnel.heartbeat-seconds").into()),
            tunnel: Tunnel {
                url: public,
                start: is_on("tunnel.start"),
                args: values.get("tunnel.args").0.split_whitespace().map(str::to_owned).collect(),
                log: text("tunnel.log").map_or_else(|| logs.join("cloudflared.log"), PathBuf::from),
                access_client_id: text("tunnel.access-client-id"),
                access_client_secret: text("tunnel.access-client-secret"),
            },
            agent: Agent {
                host: agent.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
                port: agent.port_or_known_default().unwrap_or_default(),
                url: bare(&agent),
                token: text("sandbox-agent.token"),
                start: is_on("sandbox-agent.start"),
                repo: text("sandbox-agent.repo").map(PathBuf::from),
                log: logs.join("sandbox-agent.log"),
            },
            transport: match values.get("runner.transport").0 {
                "mailbox" => Transport::Mailbox,
                "tunnel" => Transport::Tunnel,
                _ => Transport::Auto,
            },
            mailbox: Mailbox::new(values),
            transcripts: Transcripts::new(values)?,
            tables,
            state_dir,
        })
    }
}

impl Transcripts {
    fn new(values: &Values) -> Result<Self, Failure> {
        let globs = values.get("transcript.globs").0.trim().to_owned();
        transcripts::places::Places::parse(&globs).map_err(|error| wrong("TRANSCRIPT_GLOBS", &error.to_string()))?;
        let size = gather::size(values.get("transcript.max-bytes").0).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| (1..=transcripts::limits::MOST_BYTES).contains(size));
        Ok(Self {
            globs,
            max_bytes: size.ok_or_else(|| wrong("TRANSCRIPT_MAX_BYTES", "at most 16MiB are expected"))?,
            continues: values.get("transcript.on-fail").0 == "continue",
        })
    }
}

impl Mailbox {
    fn new(values: &Values) -> Self {
        let text = |name: &str| Some(values.get(name).0.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let time = |name: &str| gather::duration(values.get(name).0).flatten();
        Self {
            replace: values.get("runner.replace").0 == "1",
            shim: text("runner.shim").map(PathBuf::from),
            driver: match values.get("driver.kind").0 {
                "bubblewrap" => DriverKind::Bubblewrap,
                "container" => DriverKind::Container,
                "plain" => DriverKind::Plain,
                _ => DriverKind::Auto,
            },
            image: text("driver.image"),
            network: text("driver.network").unwrap_or_else(|| "host".to_owned()),
            system_binds: values.get("driver.system-binds").0.split(':').map(PathBuf::from).collect(),
            idle_exit: time("limits.idle-exit"),
            turn: time("limits.turn"),
            start: time("limits.start").unwrap_or(Duration::from_hours(24)),
            orphan: time("limits.orphan"),
            retry_sent: u32::from(values.get("mailbox.retry-sent").0 == "1"),
            max_bytes: gather::size(values.get("mailbox.max-bytes").0).unwrap_or(512 << 20),
            reopen: match values.get("mailbox.reopen").0 {
                "auto" => mailbox::config::Reopen::Auto,
                _ => mailbox::config::Reopen::Always,
            },
            inotify: values.get("mailbox.inotify").0 == "1",
        }
    }
}

fn wrong(name: &str, what: &str) -> Failure {
    Failure::Configuration(format!("{name}: {what}"))
}

fn address(name: &str, text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text.trim()).map_err(|_| wrong(name, "an address is expected, like https://host"))?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if is_plain && url.has_host() && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(wrong(name, "an address with http or https is expected, without a user, a query and a fragment"))
    }
}

/// An address without the slash at its end.
fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(flags: &[(&'static str, &str)]) -> Result<Settings, String> {
        let flags: BTreeMap<_, _> = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let values = gather(&flags, &|_| None, &NamedFile { path: None, may_be_absent: true }).unwrap();
        let machine = Machine { name: "box.example".to_owned(), state_dir: Some("/state".into()) };
        Settings::new(&values, &machine, Tables::default()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_script() {
        let it = settings(&[]).unwrap();
        assert_eq!(
            (it.api.as_str(), it.token.as_str(), it.runner_id.as_str()),
            ("http://127.0.0.1:8787", "dev-token", "box")
        );
        assert_eq!((it.max_sessions, it.heartbeat), (1, Duration::from_secs(20)));
        assert_eq!(
            (it.agent.url.as_str(), it.agent.host.as_str(), it.agent.port),
            ("http://127.0.0.1:2468", "127.0.0.1", 2468)
        );
        assert!(it.agent.start && it.tunnel.start && it.tunnel.url.is_none() && it.agent.token.is_none());
    }

    #[test]
    fn a_token_is_not_sent_in_clear_to_other_machines() {
        for (url, is_fine) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("https://agents.example/", true),
            ("http://agents.example", false),
            ("http://192.168.0.7", false),
        ] {
            assert_eq!(settings(&[("api.url", url)]).is_ok(), is_fine, "{url}");
        }
        assert!(settings(&[("api.url", "http://agents.example"), ("api.allow-http", "1")]).is_ok());
    }

    #[test]
    fn addresses_lose_their_last_slash_and_hold_no_user() {
        assert_eq!(
            settings(&[("tunnel.url", "https://own.example/x/")]).unwrap().tunnel.url.unwrap(),
            "https://own.example/x"
        );
        for odd in ["ftp://x", "https://a:b@x", "x", "https://x?y=1"] {
            assert!(settings(&[("tunnel.url", odd)]).is_err(), "{odd}");
        }
    }
}
