//! The configuration as it is shown: where each value comes from, and no secret.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::gather::Resolved;
use super::keys::{KEYS, Key};
use super::value::Value;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// As a file that could be read again, with the source of each value behind it.
pub(crate) fn as_toml(resolved: &Resolved) -> String {
    KEYS.iter().fold(String::new(), |mut text, key| {
        let source = resolved.source(key.name);
        let place = source.name().map_or_else(|| source.kind().to_owned(), |name| format!("{} {name}", source.kind()));
        let _ = match resolved.value(key.name).map(|value| shown(key, value)) {
            Some(value) => writeln!(text, "{} = {value}  # {place}", key.name),
            None => writeln!(text, "# {} is not set", key.name),
        };
        text
    })
}

/// As one object with flat keys.
pub(crate) fn as_json(resolved: &Resolved) -> Json {
    let entry = |key: &'static Key| {
        let value = shown(key, resolved.value(key.name)?).json();
        let source = resolved.source(key.name);
        let mut entry = json!({ "value": value, "source": source.kind() });
        if let (Some(name), Some(entry)) = (source.name(), entry.as_object_mut()) {
            entry.insert("name".into(), name.into());
        }
        Some((key.name.to_owned(), entry))
    };
    Json::Object(KEYS.iter().filter_map(entry).collect::<Map<_, _>>())
}

fn shown(key: &Key, value: &Value) -> Value {
    match value {
        Value::Text(_) if key.secret => Value::Text(HIDDEN.into()),
        Value::Text(text) => Value::Text(without_user(text)),
        Value::List(entries) => Value::List(entries.iter().map(|entry| without_user(entry)).collect()),
        value => value.clone(),
    }
}

/// An address without a name and password before its host.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Sources, gather};

    fn resolved(set: &[(&str, &str)]) -> Resolved {
        let environment: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        gather(&Sources { flags: &BTreeMap::new(), environment: &environment, file: None }).unwrap()
    }

    #[test]
    fn values_are_shown_with_their_sources_and_secrets_are_not() {
        let resolved = resolved(&[
            ("DB_SYNC_PORT", "9000"),
            ("DB_SYNC_ADMIN_TOKEN", "hidden"),
            ("AGENTS_SERVICE_URL", "http://name:hidden@host:1/p"),
        ]);
        let text = as_toml(&resolved);
        assert!(text.contains("port = 9000  # environment DB_SYNC_PORT\n"), "{text}");
        assert!(text.contains("data_dir = \"data/db-sync\"  # default\n"), "{text}");
        assert!(
            text.contains("agents_service_url = \"http://host:1/p\"  # environment AGENTS_SERVICE_URL\n"),
            "{text}"
        );
        assert!(text.contains("# base_url is not set\n"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        let json = as_json(&resolved);
        assert_eq!(json["port"], json!({ "value": 9000, "source": "environment", "name": "DB_SYNC_PORT" }));
        assert_eq!(json["auth.admin_token"]["value"], "***");
        assert_eq!(json["auth.driver"], json!({ "value": ["cognito"], "source": "default" }));
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let text = as_toml(&resolved(&[("DB_SYNC_ALLOW_SUBS", "a,b"), ("DB_SYNC_LOG_FILE", "a \"b\"")]));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let again = gather(&Sources { flags: &BTreeMap::new(), environment: &[], file: Some(file.path()) }).unwrap();
        assert_eq!(again.value("auth.allow_subs"), Some(&Value::List(vec!["a".into(), "b".into()])));
        assert_eq!(again.value("log.file"), Some(&Value::Text("a \"b\"".into())));
    }
}
