//! Values from flags, variables and the file, in that order.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{KEYS, Key, Kind};
use crate::failure::Failure;

/// Bytes of a configuration file and of a secret's file at most.
const FILE_BYTES: u64 = 1 << 20;

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag,
    /// A variable.
    Environment,
    /// The file.
    File,
    /// Nobody said anything.
    Default,
}

/// Values of all keys, as texts, and where each was found.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeMap<&'static str, (String, Source)>);

impl Values {
    /// The value of a key, and where it was found.
    pub fn get(&self, name: &str) -> (&str, Source) {
        self.0.get(name).map_or(("", Source::Default), |(value, source)| (value, *source))
    }
}

/// Finds the values of all keys.
///
/// # Errors
/// [`Failure::Configuration`] for a file that cannot be read or holds what nobody knows, and for values that are none.
pub fn gather(
    flags: &BTreeMap<&'static str, String>,
    variable: &dyn Fn(&str) -> Option<String>,
    file: &NamedFile,
) -> Result<Values, Failure> {
    let in_file = read(file)?;
    let mut values = BTreeMap::new();
    for key in &KEYS {
        // A blank variable counts as none.
        let of_variable = || key.variable.and_then(variable).filter(|text| !text.trim().is_empty());
        let found = if let Some(text) = flags.get(key.name) {
            Some((text.clone(), Source::Flag))
        } else if let Some(text) = of_variable() {
            Some((text, Source::Environment))
        } else {
            in_file.get(key.name).map(|text| (text.clone(), Source::File))
        };
        let (text, source) = found.unwrap_or_else(|| (key.default.to_owned(), Source::Default));
        if source != Source::Default {
            check(key, &text).map_err(|wrong| Failure::Configuration(format!("{}: {wrong}", called(key, source))))?;
        }
        values.insert(key.name, (text, source));
    }
    Ok(Values(values))
}

/// What a key is called in a place.
fn called(key: &Key, source: Source) -> String {
    match (source, key.flag, key.variable) {
        (Source::Flag, Some(flag), _) => format!("--{flag}"),
        (Source::Environment, _, Some(variable)) => variable.to_owned(),
        _ => key.name.to_owned(),
    }
}

fn check(key: &Key, text: &str) -> Result<(), String> {
    match key.kind {
        Kind::Text | Kind::List | Kind::Secret => Ok(()),
        Kind::Number => match text.parse::<u32>() {
            Ok(number) if number > 0 => Ok(()),
            _ => Err("a whole number from 1 on is expected".to_owned()),
        },
        Kind::Duration => {
            duration(text).map(|_| ()).ok_or_else(|| "a time like 10m, 300s, 24h or off is expected".to_owned())
        }
        Kind::Size => size(text).map(|_| ()).ok_or_else(|| "a size like 512MiB is expected".to_owned()),
        Kind::Switch => match text {
            "0" | "1" => Ok(()),
            _ => Err("0 or 1 is expected".to_owned()),
        },
        Kind::Choice(words) if words.contains(&text) => Ok(()),
        Kind::Choice(words) => Err(format!("{} is expected", words.join(" or "))),
    }
}

/// A time: nothing when it is switched off.
#[expect(clippy::option_option, reason = "no time, and no limit, are two things")]
pub(super) fn duration(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let seconds = number.parse::<u32>().ok().filter(|number| *number > 0)?.checked_mul(seconds)?;
    Some(Some(Duration::from_secs(seconds.into())))
}

/// A number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(unit)
}

/// The configuration file, and whether somebody named it: then it has to be there.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// Where it is.
    pub path: Option<PathBuf>,
    /// Whether it may be absent.
    pub may_be_absent: bool,
}

fn read(file: &NamedFile) -> Result<BTreeMap<&'static str, String>, Failure> {
    let Some(path) = &file.path else { return Ok(BTreeMap::new()) };
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.may_be_absent => return Ok(BTreeMap::new()),
        Err(error) => return Err(Failure::Configuration(format!("{}: {error}", path.display()))),
    };
    let wrong = |line: usize, what: &str| Failure::Configuration(format!("{}, line {line}: {what}", path.display()));
    let line_at = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    let table = toml::de::DeTable::parse(&text)
        .map_err(|error| wrong(error.span().map_or(1, |span| line_at(span.start)), error.message()))?;
    let mut found = BTreeMap::new();
    // Bounded by the size of the file.
    for (section, content) in table.get_ref() {
        // These are read as a whole (`tables`).
        if super::tables::SECTIONS.contains(&section.get_ref().as_ref()) {
            continue;
        }
        let toml::de::DeValue::Table(entries) = content.get_ref() else {
            return Err(wrong(line_at(section.span().start), &format!("{}: unknown", section.get_ref())));
        };
        for (entry, value) in entries {
            let name = format!("{}.{}", section.get_ref(), entry.get_ref());
            let line = line_at(entry.span().start);
            let (key, text) = one(&name, value.get_ref()).map_err(|what| wrong(line, &format!("{name}: {what}")))?;
            check(key, &text).map_err(|what| wrong(line, &format!("{name}: {what}")))?;
            found.insert(key.name, text);
        }
    }
    Ok(found)
}

/// An entry of the file.
fn one(name: &str, value: &toml::de::DeValue<'_>) -> Result<(&'static Key, String), String> {
    let of_file = |key: &&Key| key.kind == Kind::Secret && name.strip_suffix("-file") == Some(key.name);
    if let Some(key) = KEYS.iter().find(of_file) {
        let path = value.as_str().ok_or("the name of a file is expected")?;
        let text = read_text(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
        return Ok((key, text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let key = KEYS.iter().find(|key| key.name == name).ok_or("unknown")?;
    let text = match (key.kind, value) {
        (Kind::Secret, _) => return Err(format!("a secret does not belong here: {name}-file names a file with it")),
        (Kind::Switch, toml::de::DeValue::Boolean(on)) => if *on { "1" } else { "0" }.to_owned(),
        (Kind::Number, toml::de::DeValue::Integer(number)) => number.to_string(),
        (Kind::Text | Kind::Duration | Kind::Size | Kind::Choice(_), toml::de::DeValue::String(text)) => {
            text.to_string()
        }
        (Kind::List, toml::de::DeValue::Array(entries)) => {
            let texts: Option<Vec<&str>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
            texts.ok_or("a list of texts is expected")?.join(":")
        }
        (Kind::List, _) => return Err("a list is expected".to_owned()),
        (Kind::Switch, _) => return Err("true or false is expected".to_owned()),
        (Kind::Number, _) => return Err("a number is expected".to_owned()),
        (Kind::Text | Kind::Duration | Kind::Size | Kind::Choice(_), _) => return Err("a text is expected".to_owned()),
    };
    Ok((key, text))
}

pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, NamedFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        (folder, NamedFile { path: Some(path), may_be_absent: false })
    }

    fn values(flags: &[(&'static str, &str)], set: &[(&str, &str)], text: &str) -> Result<Values, String> {
        let (_folder, file) = file(text);
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let variable = |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        gather(&flags, &variable, &file).map_err(|failure| {
            assert_eq!(failure.exit(), 78);
            failure.to_string().split_once("config.toml, ").map_or(failure.to_string(), |(_, rest)| rest.to_owned())
        })
    }

    #[test]
    fn flags_win_over_variables_over_the_file() {
        let text = "[runner]\nmax-sessions = 2\nid = \"f\"\n[tunnel]\nstart = false\n";
        let found = values(&[("runner.id", "a")], &[("RUNNER_ID", "b"), ("RUNNER_MAX_SESSIONS", "3")], text).unwrap();
        assert_eq!(found.get("runner.id"), ("a", Source::Flag));
        assert_eq!(found.get("runner.max-sessions"), ("3", Source::Environment));
        assert_eq!(found.get("tunnel.start"), ("0", Source::File));
        assert_eq!(found.get("api.url"), ("http://127.0.0.1:8787", Source::Default));
        let blank = values(&[], &[("RUNNER_ID", "  ")], text).unwrap();
        assert_eq!(blank.get("runner.id"), ("f", Source::File));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, told) in [
            ("[runner]\n\nidd = \"x\"\n", "line 3: runner.idd: unknown"),
            ("port = 1\n", "line 1: port: unknown"),
            (
                "[api]\ntoken = \"x\"\n",
                "line 2: api.token: a secret does not belong here: api.token-file names a file with it",
            ),
            ("[runner]\nmax-sessions = \"2\"\n", "line 2: runner.max-sessions: a number is expected"),
            ("[runner]\nmax-sessions = 0\n", "line 2: runner.max-sessions: a whole number from 1 on is expected"),
            ("[runner]\ntransport = \"pigeon\"\n", "line 2: runner.transport: auto or mailbox or tunnel is expected"),
            ("[tunnel]\nstart = 1\n", "line 2: tunnel.start: true or false is expected"),
        ] {
            assert_eq!(values(&[], &[], text).unwrap_err(), told);
        }
        assert!(values(&[], &[], "[runner\n").unwrap_err().starts_with("line 1: "));
        let wrong = values(&[], &[("HEARTBEAT_INTERVAL_SEC", "soon")], "").unwrap_err();
        assert_eq!(wrong, "HEARTBEAT_INTERVAL_SEC: a whole number from 1 on is expected");
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("10m"), Some(Some(Duration::from_mins(10))));
        assert_eq!(duration("off"), Some(None));
        assert_eq!((size("512MiB"), size("7")), (Some(512 << 20), Some(7)));
        for odd in ["", "10", "m", "0s", "-1s", "1.5h", "5000000h", "1d"] {
            assert_eq!(duration(odd), None, "{odd}");
        }
        for odd in ["", "MiB", "0", "1MB", "99999999999GiB"] {
            assert_eq!(size(odd), None, "{odd}");
        }
        assert!(values(&[], &[("IDLE_EXIT", "soon")], "").unwrap_err().starts_with("IDLE_EXIT: a time like"));
    }

    #[test]
    fn secrets_lie_in_files_of_their_own() {
        let (folder, _) = file("");
        let path = folder.path().join("token");
        std::fs::write(&path, "from a file\n").unwrap();
        let found = values(&[], &[], &format!("[api]\ntoken-file = {:?}\n", path.display().to_string())).unwrap();
        assert_eq!(found.get("api.token"), ("from a file", Source::File));
    }

    #[test]
    fn a_file_that_somebody_names_must_be_there() {
        let absent = |may_be_absent| {
            let file = NamedFile { path: Some("/nowhere/config.toml".into()), may_be_absent };
            gather(&BTreeMap::new(), &|_| None, &file)
        };
        assert!(absent(true).is_ok());
        assert_eq!(absent(false).unwrap_err().exit(), 78);
    }
}
