//! Values from flags, environment and file, in that order, and everything that is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use super::keys::{KEYS, Key};
use super::nearest::nearest;
use super::oidc;
use super::started::absolute;
use super::value::Value;

/// Bytes of a configuration file or of a secret's file at most.
const FILE_BYTES: u64 = 1 << 20;

/// Variables that are ours beside those of keys.
const OTHERS: [&str; 1] = ["DB_SYNC_CONFIG"];

/// What the names of our variables begin with; with these letters there are no others.
const OURS: &str = "DB_SYNC_";

/// The list of issuers in the file.
const ISSUERS: &str = "oidc";

/// Connections to databases, and what is observed of them.
const PG_CONNECTIONS: &str = "pg_sync.connections";
const PG_OBSERVATIONS: &str = "pg_sync.observations";

/// What follows a secret's variable that names a file.
const FILE: &str = "_FILE";

/// Where values come from.
pub(crate) struct Sources<'a> {
    /// Values of flags, by the name of their key.
    pub(crate) flags: &'a BTreeMap<&'static str, String>,
    /// The environment.
    pub(crate) environment: &'a [(String, String)],
    /// The file that a flag names.
    pub(crate) file: Option<&'a Path>,
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A flag, by its name.
    Flag(String),
    /// A variable.
    Environment(String),
    /// The file.
    File(String),
    /// Nowhere.
    Default,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is meant: a flag, a variable or a key.
    pub(crate) name: String,
    /// Where it stands: flag, environment or file; empty where several belong together.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            write!(f, "{}: {}", self.name, self.text)
        } else {
            write!(f, "{} ({}): {}", self.name, self.place, self.text)
        }
    }
}

impl Source {
    /// The kind of place, in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }

    /// The name in that place.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Flag(name) | Self::Environment(name) | Self::File(name) => Some(name),
            Self::Default => None,
        }
    }

    fn problem(&self, text: impl Into<String>) -> Problem {
        Problem { name: self.name().unwrap_or_default().to_owned(), place: self.kind().to_owned(), text: text.into() }
    }
}

/// What the file lists of databases whose changes are observed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Connections, by name.
    pub(super) connections: Vec<(String, toml::Value)>,
    /// Observations.
    pub(super) observations: Vec<toml::Value>,
}

/// What every key has come to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    values: BTreeMap<&'static str, (Value, Source)>,
    /// Issuers that the file lists.
    pub(super) oidc: Vec<oidc::Entry>,
    /// What the file lists of databases.
    pub(super) pg_sync: Box<Listed>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Resolved {
    /// The value of a key, if it has one.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// Where the value of a key comes from.
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.values.get(name).map_or(&Source::Default, |(_, source)| source)
    }

    /// The keys whose values differ from another configuration's.
    pub(crate) fn changed(&self, other: &Self) -> Vec<&'static str> {
        KEYS.iter().map(|key| key.name).filter(|name| self.value(name) != other.value(name)).collect()
    }

    /// Another default for this start. What somebody said stays.
    pub(crate) fn set_default(&mut self, name: &str, text: &str) {
        if *self.source(name) == Source::Default
            && let Some(key) = KEYS.iter().find(|key| key.name == name)
            && let Ok(value) = Value::parse(key.kind, text)
        {
            self.values.insert(key.name, (value, Source::Default));
        }
    }

    /// What is wrong with the value of a key.
    pub(crate) fn problem(&self, name: &str, text: impl Into<String>) -> Problem {
        match self.source(name) {
            Source::Default => Problem { name: name.to_owned(), place: "default".into(), text: text.into() },
            source => source.problem(text),
        }
    }
}

/// Takes every key's value from the first place that has one; the error lists all that is wrong.
pub(crate) fn gather(sources: &Sources<'_>) -> Result<Resolved, (Resolved, Vec<Problem>)> {
    let mut problems = unknown_variables(sources.environment);
    let named = sources.environment.iter().find(|(name, value)| name == "DB_SYNC_CONFIG" && !value.trim().is_empty());
    let file = sources.file.or_else(|| named.map(|(_, path)| Path::new(path.trim())));
    let mut table = file.map_or_else(BTreeMap::new, |path| match read_file(path) {
        Ok(table) => table,
        Err(text) => {
            problems.push(Problem { name: path.display().to_string(), place: "file".into(), text });
            BTreeMap::new()
        }
    });
    let mut resolved = Resolved::default();
    if let Some(toml::Value::Array(entries)) = table.get(ISSUERS) {
        for (place, entry) in entries.iter().enumerate() {
            match oidc::read(entry) {
                Ok(entry) => resolved.oidc.push(entry),
                Err(text) => problems.push(Source::File(format!("{ISSUERS}[{place}]")).problem(text)),
            }
        }
        table.remove(ISSUERS);
    }
    if let Some(toml::Value::Table(entries)) = table.remove(PG_CONNECTIONS) {
        resolved.pg_sync.connections = entries.into_iter().collect();
    }
    if let Some(toml::Value::Array(entries)) = table.remove(PG_OBSERVATIONS) {
        resolved.pg_sync.observations = entries;
    }
    for name in table.keys().filter(|name| KEYS.iter().all(|key| key.name != name.as_str())) {
        let source = Source::File(name.clone());
        problems.push(source.problem(unknown(nearest(name, KEYS.iter().map(|key| key.name)))));
    }
    for key in KEYS {
        match first(key, sources, &table, &mut resolved.warnings) {
            Ok(found) => {
                let default = || key.default().map(|value| (value, Source::Default));
                resolved.values.extend(found.or_else(default).map(|found| (key.name, found)));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(resolved) } else { Err((resolved, problems)) }
}

fn unknown(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "unknown".to_owned(), |name| format!("unknown, did you mean {name}?"))
}

/// Variables of ours that no key has.
fn unknown_variables(environment: &[(String, String)]) -> Vec<Problem> {
    let known = || KEYS.iter().flat_map(|key| key.variables.iter().copied()).chain(OTHERS);
    let is_known = |name: &str| {
        let file_of =
            |key: &&Key| key.secret && name.strip_suffix(FILE).is_some_and(|name| key.variables.contains(&name));
        known().any(|known| known == name) || KEYS.iter().any(|key| file_of(&key))
    };
    let ours = environment.iter().filter(|(name, value)| name.starts_with(OURS) && !value.trim().is_empty());
    ours.filter(|(name, _)| !is_known(name))
        .map(|(name, _)| Source::Environment(name.clone()).problem(unknown(nearest(name, known()))))
        .collect()
}

/// The value of a key in the first place that has one.
fn first(
    key: &Key,
    sources: &Sources<'_>,
    table: &BTreeMap<String, toml::Value>,
    warnings: &mut Vec<String>,
) -> Result<Option<(Value, Source)>, Problem> {
    if let Some(text) = sources.flags.get(key.name) {
        let source = Source::Flag(format!("--{}", key.flag()));
        let text =
            if key.secret && text == "-" { read_input().map_err(|text| source.problem(text))? } else { text.clone() };
        if key.secret && sources.flags.get(key.name).is_some_and(|text| text != "-") {
            warnings.push(format!("--{}: command lines are public; use a variable, a file or -", key.flag()));
        }
        return parsed(key, &text, source);
    }
    if let Some((text, source)) = of_environment(key, sources.environment)? {
        return parsed(key, &text, source);
    }
    let Some(value) = table.get(key.name) else { return Ok(None) };
    let source = Source::File(key.name.to_owned());
    match Value::of_toml(key.kind, value) {
        Ok(value) => Ok(Some((value, source))),
        Err(text) => Err(source.problem(text)),
    }
}

fn parsed(key: &Key, text: &str, source: Source) -> Result<Option<(Value, Source)>, Problem> {
    match Value::parse(key.kind, text) {
        Ok(value) => Ok(Some((value, source))),
        Err(text) => Err(source.problem(text)),
    }
}

/// The text of the first variable that is set, or of the file that a secret's variable names.
fn of_environment(key: &Key, environment: &[(String, String)]) -> Result<Option<(String, Source)>, Problem> {
    let get = |name: &str| environment.iter().find(|(set, value)| set == name && !value.trim().is_empty());
    for variable in key.variables {
        let plain = get(variable);
        let file = if key.secret { get(&format!("{variable}{FILE}")) } else { None };
        match (plain, file) {
            (Some(_), Some((name, _))) => {
                return Err(Source::Environment(name.clone()).problem(format!("{variable} is set, too")));
            }
            (Some((name, text)), None) => return Ok(Some((text.clone(), Source::Environment(name.clone())))),
            (None, Some((name, path))) => {
                let source = Source::Environment(name.clone());
                let text = read_text(Path::new(path.trim())).map_err(|text| source.problem(text))?;
                return Ok(Some((without_line_end(&text).to_owned(), source)));
            }
            (None, None) => {}
        }
    }
    Ok(None)
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn read_input() -> Result<String, String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
    Ok(without_line_end(&line).to_owned())
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(absolute(path)).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES { Err("the file is too large".into()) } else { Ok(text) }
}

/// The keys of a file, with the sections in front of their names.
fn read_file(path: &Path) -> Result<BTreeMap<String, toml::Value>, String> {
    let table: toml::Table = read_text(path)?.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut keys = BTreeMap::new();
    for (name, value) in table {
        match value {
            // Sections are one deep: what is deeper is an unknown key.
            toml::Value::Table(section) => {
                keys.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => drop(keys.insert(name, value)),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &[(&str, &str)]) -> Vec<(String, String)> {
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn gathered(
        flags: &[(&'static str, &str)],
        set: &[(&str, &str)],
        file: Option<&Path>,
    ) -> Result<Resolved, Vec<String>> {
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let environment = environment(set);
        let found = gather(&Sources { flags: &flags, environment: &environment, file });
        found.map_err(|(_, problems)| problems.iter().map(ToString::to_string).collect())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
        let toml = file("port = 1\n[limits]\nopen_graphs = 7\n[auth]\nallow_subs = [\"a\", \"b\"]\n");
        let port = |flags: &[(&'static str, &str)], set: &[(&str, &str)], file| {
            let resolved = gathered(flags, set, file).unwrap();
            (resolved.value("port").cloned().unwrap(), resolved.source("port").kind())
        };
        let set = [("DB_SYNC_PORT", "2")];
        assert_eq!(port(&[("port", "3")], &set, Some(toml.path())), (Value::Number(3), "flag"));
        assert_eq!(port(&[], &set, Some(toml.path())), (Value::Number(2), "environment"));
        assert_eq!(port(&[], &[("DB_SYNC_PORT", " ")], Some(toml.path())), (Value::Number(1), "file"));
        assert_eq!(port(&[], &[], None), (Value::Number(8080), "default"));
        let resolved = gathered(&[], &[("DB_SYNC_CONFIG", toml.path().to_str().unwrap())], None).unwrap();
        assert_eq!(resolved.value("limits.open_graphs"), Some(&Value::Number(7)));
        assert_eq!(resolved.value("auth.allow_subs"), Some(&Value::List(vec!["a".into(), "b".into()])));
        assert_eq!(gathered(&[], &[("DB_SYNC_IP", "::1")], None).unwrap().source("bind").name(), Some("DB_SYNC_IP"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let toml = file("prot = 1\nport = \"x\"\n[limts]\nopen_graphs = 1\n[limits]\nping_s = true\n");
        let set = [
            ("DB_SYNC_PROT", "1"),
            ("DB_SYNC_LOG_LEVEL", "loud"),
            ("E2B_API_KEY", "ignored"),
            ("DB_SYNC_ADMIN_TOKEN", "a"),
            ("DB_SYNC_ADMIN_TOKEN_FILE", "/b"),
            ("DB_SYNC_PORT_FILE", "/c"),
        ];
        let problems = gathered(&[], &set, Some(toml.path())).unwrap_err();
        for expected in [
            "DB_SYNC_PROT (environment): unknown, did you mean DB_SYNC_PORT?",
            "DB_SYNC_PORT_FILE (environment): unknown",
            "prot (file): unknown, did you mean port?",
            "limts.open_graphs (file): unknown, did you mean limits.open_graphs?",
            "port (file): must be a whole number from 0 to 65535, not \"x\"",
            "limits.ping_s (file): must be a whole number, not boolean",
            "DB_SYNC_LOG_LEVEL (environment): must be debug or info or warn or error, not \"loud\"",
            "DB_SYNC_ADMIN_TOKEN_FILE (environment): DB_SYNC_ADMIN_TOKEN is set, too",
        ] {
            assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
        }
        assert_eq!(problems.len(), 8, "{problems:?}");
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let secret = file("hidden\r\n");
        let set = [("ASSET_LINK_SECRET_FILE", secret.path().to_str().unwrap())];
        let resolved = gathered(&[], &set, None).unwrap();
        assert_eq!(resolved.value("asset_link_secret"), Some(&Value::Text("hidden".into())));
        let missing = gathered(&[], &[("ASSET_LINK_SECRET_FILE", "/nowhere/at/all")], None).unwrap_err();
        assert!(missing.iter().all(|problem| problem.starts_with("ASSET_LINK_SECRET_FILE (environment): ")));
        assert!(!gathered(&[("auth.token", "public")], &[], None).unwrap().warnings.is_empty());
    }
}
