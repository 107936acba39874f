//! `[pg_sync]`: which changes of which databases are observed, and where wakes go (pg-sync.md 4.1, 4.11).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::Uri;
use pg_sync::bridge::Mode;
use pg_sync::connection::{Tables, configured_revision, is_name, reserved_parameter};
use pg_sync::fields::Fields;
use pg_sync::options::{Options, Replica};
use pg_sync::wake::Wake;
use serde::Deserialize;
use url::Url;

use super::gather::{Problem, Resolved};
use super::started::absolute;

/// Most observations of a configuration.
const MAX_OBSERVATIONS: usize = 1_000;

/// What is observed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PgSync {
    /// Where wakes go; there is one where anything is observed.
    pub(crate) sink: Option<SinkAt>,
    /// Connections by name.
    pub(crate) connections: BTreeMap<String, Connection>,
    /// Observations, in the order of the file.
    pub(crate) observations: Vec<Observation>,
    /// How many wakes an observation may have in an hour.
    pub(crate) max_wakes: u32,
}

/// Where wakes go.
#[derive(Clone, Debug)]
pub(crate) struct SinkAt {
    /// The address.
    pub(crate) url: Uri,
    /// The file of the secret that signs them.
    pub(crate) secret: PathBuf,
}

/// Where a shape service is.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Its address.
    pub(crate) url: Url,
    /// What opens it.
    pub(crate) secret: Option<SecretFrom>,
    /// How it is followed.
    pub(crate) mode: Mode,
    /// Another one whenever a cursor of before means nothing.
    pub(crate) revision: i64,
    /// Which tables it lets through.
    tables: Tables,
    /// Who may read through it, by the ids of users; `*` is everybody.
    users: Vec<String>,
}

impl Connection {
    /// Whether a user may read through it.
    pub(crate) fn is_for(&self, user: &str) -> bool {
        // As long as the configuration has it.
        self.users.iter().any(|named| named == "*" || named == user)
    }

    /// Whether it lets through what is observed.
    pub(crate) fn allows(&self, options: &Options) -> bool {
        self.tables.allow(&options.table, options.filter.as_deref())
    }
}

/// Where a secret stands. It is read when it is needed, so that it can be changed while the server runs.
#[derive(Clone, Debug)]
pub(crate) enum SecretFrom {
    /// In a file.
    File(PathBuf),
    /// In a variable, read at the start.
    Variable(String),
}

/// One observation.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// Its name in the configuration.
    pub(crate) id: String,
    /// The name of its connection.
    pub(crate) connection: String,
    /// What is observed.
    pub(crate) options: Options,
    /// What wakes it.
    pub(crate) wake: Wake,
}

/// A connection, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    secret_file: Option<String>,
    secret_env: Option<String>,
    tables: Option<Vec<String>>,
    replica: Option<Replica>,
    mode: Option<String>,
    poll_ms: Option<i64>,
    users: Option<Vec<String>>,
}

/// A connection and what else its entry says.
struct Checked {
    connection: Connection,
    replica: Replica,
}

/// Makes of the entries what is observed, and says what is wrong with them.
pub(super) fn read(resolved: &Resolved, max_wakes: u64, poll_ms: u64, problems: &mut Vec<Problem>) -> PgSync {
    let mut wrong = |name: String, text: String| problems.push(Problem { name, place: "file".into(), text });
    let mut checked = BTreeMap::new();
    for (name, value) in &resolved.pg_sync.connections {
        match connection(name, value, poll_ms) {
            Ok(entry) => drop(checked.insert(name.clone(), entry)),
            Err(text) => wrong(format!("pg_sync.connections.{name}"), text),
        }
    }
    let mut observations: Vec<Observation> = Vec::new();
    if resolved.pg_sync.observations.len() > MAX_OBSERVATIONS {
        wrong("pg_sync.observations".into(), format!("there are more than {MAX_OBSERVATIONS}"));
    }
    for (at, value) in resolved.pg_sync.observations.iter().enumerate() {
        match observation(value, &checked) {
            Ok(entry) if observations.iter().any(|before| before.id == entry.id) => {
                wrong(format!("pg_sync.observations[{at}]"), format!("the id {:?} is taken", entry.id));
            }
            Ok(entry) => observations.push(entry),
            Err(text) => wrong(format!("pg_sync.observations[{at}]"), text),
        }
    }
    let text = |name: &str| resolved.value(name).map(super::value::Value::text).filter(|text| !text.is_empty());
    let sink = match (text("pg_sync.sink_url"), text("pg_sync.sink_secret_file")) {
        (Some(url), Some(secret)) => match url.parse::<Uri>() {
            Ok(url) if url.scheme_str().is_some_and(|it| it == "http" || it == "https") && url.host().is_some() => {
                Some(SinkAt { url, secret: absolute(Path::new(&secret)) })
            }
            _ => {
                problems
                    .push(resolved.problem("pg_sync.sink_url", "must be an address such as https://hooks.example/pg"));
                None
            }
        },
        (None, None) if observations.is_empty() => None,
        _ => {
            let text = "address and secret of the sink are set together; where something is observed there is a sink";
            problems.push(resolved.problem("pg_sync.sink_url", text));
            None
        }
    };
    let connections = checked.into_iter().map(|(name, entry)| (name, entry.connection)).collect();
    PgSync { sink, connections, observations, max_wakes: u32::try_from(max_wakes).unwrap_or(u32::MAX) }
}

fn connection(name: &str, value: &toml::Value, poll_ms: u64) -> Result<Checked, String> {
    if !is_name(name) {
        return Err("a name has small letters, digits, _ and -, at most 32".into());
    }
    let entry = Entry::deserialize(value.clone()).map_err(|error| error.message().to_owned())?;
    let url = Url::parse(&entry.url).map_err(|_| "url is no address".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("url must begin with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("url holds a user, a password or a fragment; a secret stands in secret_file or secret_env".into());
    }
    if let Some(parameter) = reserved_parameter(&url) {
        return Err(format!("url has the parameter {parameter}, which requests set themselves"));
    }
    let poll_ms = entry.poll_ms.unwrap_or(i64::try_from(poll_ms).unwrap_or(i64::MAX));
    let mode = match entry.mode.as_deref() {
        None | Some("live") => Mode::Live,
        Some("interval") if (100..=3_600_000).contains(&poll_ms) => Mode::Interval(poll_ms),
        Some("interval") => return Err("poll_ms must be from 100 to 3600000".into()),
        Some(other) => return Err(format!("mode is live or interval, not {other:?}")),
    };
    let secret = match (entry.secret_file, entry.secret_env) {
        (Some(_), Some(_)) => return Err("secret_file and secret_env are both set".into()),
        (Some(path), None) => Some(SecretFrom::File(absolute(Path::new(&path)))),
        (None, Some(variable)) => Some(SecretFrom::Variable(variable)),
        (None, None) => None,
    };
    let patterns = entry.tables.unwrap_or_else(|| vec!["*".into()]);
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let tables = Tables::read(&patterns).ok_or("tables are names such as public.orders, shop.* or *")?;
    let revision = configured_revision(&url);
    let replica = entry.replica.unwrap_or_default();
    let users = entry.users.unwrap_or_else(|| vec!["*".into()]);
    Ok(Checked { connection: Connection { url, secret, mode, revision, tables, users }, replica })
}

fn observation(value: &toml::Value, connections: &BTreeMap<String, Checked>) -> Result<Observation, String> {
    let body = serde_json::to_value(value).map_err(|error| error.to_string())?;
    let mut fields = Fields::of(&body).ok_or("must be a table")?;
    let text =
        |value: &serde_json::Value| value.as_str().filter(|text| (1..=128).contains(&text.len())).map(str::to_owned);
    let id = fields.required("id", text).unwrap_or_default();
    let name = fields.required("connection", text).unwrap_or_default();
    let connection = connections.get(&name);
    let replica = connection.map(|connection| connection.replica).unwrap_or_default();
    let options = Options::read(&mut fields, replica);
    let wake = fields.optional("wake", |wake| Some(Wake::read(wake, options.replica)));
    fields.finish().map_err(|names| format!("wrong or unknown: {}", names.join(", ")))?;
    let wake = wake.transpose().map_err(|error| match error {
        pg_sync::wake::WakeError::Fields(names) => format!("wrong or unknown in wake: {}", names.join(", ")),
        error @ pg_sync::wake::WakeError::FilterNeedsFullReplica => error.to_string(),
    })?;
    let connection = connection.ok_or_else(|| format!("there is no connection {name:?}"))?;
    if !connection.connection.allows(&options) {
        return Err(format!("the connection does not let {:?} through, or not with this where", options.table));
    }
    Ok(Observation { id, connection: name, options, wake: wake.unwrap_or_default() })
}

/// What the text of a configuration says, or what is wrong with it.
#[cfg(test)]
pub(crate) fn found(file: &str) -> Result<PgSync, Vec<String>> {
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), file).unwrap();
    let sources = super::Sources { flags: &BTreeMap::new(), environment: &[], file: Some(path.path()) };
    let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let resolved = super::gather(&sources).map_err(|(_, problems)| texts(problems))?;
    let mut problems = Vec::new();
    let found = read(&resolved, 30, 5_000, &mut problems);
    if problems.is_empty() { Ok(found) } else { Err(texts(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: &str = "[pg_sync]\nsink_url = \"http://127.0.0.1:1/x\"\nsink_secret_file = \"/s\"\n";
    const MAIN: &str = "[pg_sync.connections.main]\nurl = \"http://127.0.0.1:3000/v1/shape\"\n";

    #[test]
    fn what_is_observed() {
        let file = format!(
            "{SINK}{MAIN}secret_file = \"/k\"\nreplica = \"full\"\ntables = [\"shop.*\"]\n\
            [pg_sync.connections.slow]\nurl = \"https://e.example/v1/shape?source_id=1\"\nmode = \"interval\"\npoll_ms = 200\n\
            [[pg_sync.observations]]\nid = \"a\"\nconnection = \"main\"\ntable = \"shop.orders\"\nwhere = \"x = 1\"\n\
            wake = {{ ops = [\"insert\"], filter = {{ status = \"paid\" }}, debounce_ms = 10 }}\n\
            [[pg_sync.observations]]\nid = \"b\"\nconnection = \"slow\"\ntable = \"t\"\n"
        );
        let found = found(&file).unwrap();
        assert_eq!(found.observations.len(), 2);
        let first = &found.observations[0];
        assert_eq!((first.options.replica, first.wake.debounce_ms), (Replica::Full, 10));
        assert_eq!(found.connections["slow"].mode, Mode::Interval(200));
        assert_ne!(found.connections["slow"].revision, found.connections["main"].revision);
        assert!(matches!(&found.connections["main"].secret, Some(SecretFrom::File(path)) if path == Path::new("/k")));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let observed = "[[pg_sync.observations]]\nid = \"a\"\nconnection = \"main\"\n";
        for (file, expected) in [
            (format!("{MAIN}{observed}table = \"t\"\n"), "pg_sync.sink_url (default): address and secret"),
            (
                format!("{SINK}[pg_sync.connections.Main]\nurl = \"http://x\"\n"),
                "pg_sync.connections.Main (file): a name",
            ),
            (format!("{SINK}[pg_sync.connections.m]\nurl = \"ftp://x\"\n"), "pg_sync.connections.m (file): url must"),
            (
                format!("{SINK}[pg_sync.connections.m]\nurl = \"http://u:p@x\"\n"),
                "pg_sync.connections.m (file): url holds",
            ),
            (
                format!("{SINK}[pg_sync.connections.m]\nurl = \"http://x?secret=1\"\n"),
                "pg_sync.connections.m (file): url has",
            ),
            (format!("{SINK}{MAIN}secret = \"x\"\n"), "pg_sync.connections.main (file): unknown field `secret`"),
            (format!("{SINK}{MAIN}mode = \"interval\"\npoll_ms = 1\n"), "pg_sync.connections.main (file): poll_ms"),
            (format!("{SINK}{observed}table = \"t\"\n"), "pg_sync.observations[0] (file): there is no connection"),
            (format!("{SINK}{MAIN}{observed}"), "pg_sync.observations[0] (file): wrong or unknown: table"),
            (
                format!("{SINK}{MAIN}{observed}table = \"t\"\nops = 1\n"),
                "pg_sync.observations[0] (file): wrong or unknown: ops",
            ),
            (
                format!("{SINK}{MAIN}tables = [\"u\"]\n{observed}table = \"t\"\n"),
                "pg_sync.observations[0] (file): the connection",
            ),
            (
                format!("{SINK}{MAIN}{observed}table = \"t\"\nwake = {{ ops = [] }}\n"),
                "pg_sync.observations[0] (file): wrong or unknown in wake: ops",
            ),
            (
                format!("{SINK}{MAIN}{observed}table = \"t\"\n{observed}table = \"u\"\n"),
                "pg_sync.observations[1] (file): the id",
            ),
        ] {
            let problems = found(&file).unwrap_err();
            assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
        }
    }
}
