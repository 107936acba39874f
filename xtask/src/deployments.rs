//! What a deployment may touch, as the workers' wrangler configurations say it.

use std::collections::BTreeSet;

use crate::workers::{self, WORKERS};

/// A setting and its text.
type Name = (String, String);

/// Settings that name something outside the worker.
const NAMES: [&str; 6] = ["name", "bucket_name", "preview_bucket_name", "database_name", "database_id", "service"];

/// Begins an id that an operator has not filled in yet: it belongs to nothing on Cloudflare, and tells local data apart.
const PLACEHOLDER: &str = "00000000-0000-0000-0000-";

/// What an environment, or the default one, names. Files are read as far as it goes: tables, and texts in them.
fn names(environment: Option<&str>) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    for worker in WORKERS {
        let text = std::fs::read_to_string(workers::root().join(worker.config)).unwrap();
        let mut table = String::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                line.trim_matches(['[', ']']).clone_into(&mut table);
                continue;
            }
            let setting = line.split_once('=').map(|(key, value)| (key.trim(), value.trim().trim_matches('"')));
            let Some((key, value)) = setting else { continue };
            let owner = table.strip_prefix("env.").and_then(|rest| rest.split('.').next());
            // Bindings are names within the worker.
            if owner == environment && NAMES.contains(&key) && !table.ends_with("durable_objects.bindings") {
                found.insert((key.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

fn shared(one: Option<&str>, other: Option<&str>) -> Vec<Name> {
    names(one).intersection(&names(other)).cloned().collect()
}

#[test]
fn environments_share_nothing() {
    for environment in [None, Some("staging"), Some("prod")] {
        for key in ["name", "bucket_name", "database_name", "database_id", "service"] {
            assert!(names(environment).iter().any(|(name, _)| name == key), "{key} in {environment:?}");
        }
    }
    assert_eq!(shared(None, Some("prod")), []);
    assert_eq!(shared(None, Some("staging")), []);
    assert_eq!(shared(Some("staging"), Some("prod")), []);
}

#[test]
fn a_deployment_without_an_environment_is_local() {
    for (key, value) in names(None) {
        assert!(value.starts_with(PLACEHOLDER) || value.ends_with("-local"), "{key} = {value} says where it belongs");
    }
}
