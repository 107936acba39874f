//! What is in force, as a configuration file (`--print-config`).

use std::fmt::Write as _;

use super::gather::{Source, Values};
use super::keys::{KEYS, Kind};

/// All values as TOML, with where each comes from as comment. Secrets are starred.
pub fn as_toml(values: &Values) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in &KEYS {
        let (own, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if own != section {
            section = own;
            let _infallible = writeln!(text, "[{own}]");
        }
        let (value, source) = values.get(key.name);
        let origin = match (source, key.flag, key.variable) {
            (Source::Flag, Some(flag), _) => format!("flag --{flag}"),
            (Source::Environment, _, Some(variable)) => format!("environment {variable}"),
            (Source::File, ..) => "file".to_owned(),
            _ => "default".to_owned(),
        };
        let value = match key.kind {
            Kind::Secret if value.is_empty() => "\"\"".to_owned(),
            Kind::Secret => "\"***\"".to_owned(),
            Kind::Number => value.to_owned(),
            Kind::Switch => (value == "1").to_string(),
            Kind::List => serde_json::Value::from(value.split(':').collect::<Vec<_>>()).to_string(),
            // A text of JSON is one of TOML too.
            Kind::Text | Kind::Duration | Kind::Size | Kind::Choice(_) => serde_json::Value::from(value).to_string(),
        };
        let _infallible = writeln!(text, "{name} = {value}  # {origin}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::{NamedFile, gather};

    #[test]
    fn secrets_are_starred_and_origins_told() {
        let variable = |name: &str| match name {
            "TOKEN" => Some("very secret".to_owned()),
            "RUNNER_ID" => Some("a \"b\"".to_owned()),
            _ => None,
        };
        let flags = BTreeMap::from([("runner.max-sessions", "4".to_owned())]);
        let values = gather(&flags, &variable, &NamedFile { path: None, may_be_absent: true }).unwrap();
        let text = as_toml(&values);
        assert!(!text.contains("very secret"));
        for line in [
            "token = \"***\"  # environment TOKEN\n",
            "max-sessions = 4  # flag --max-sessions\n",
            "start = true  # default\n",
            "[sandbox-agent]\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["runner"]["id"].as_str(), Some("a \"b\""));
    }
}
