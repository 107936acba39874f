//! The description of the API (agents.md 20.8): made of the table of routes, the service's own constants and its refusals, and kept in
//! docs/agents-openapi.json, which the service answers with. A route that is not described fails.
//!
//! `OPENAPI=write cargo test -p sessions --test openapi` writes the file again.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod operations;
mod refusals;
mod schemas;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::Method;
use operations::{Operation, Who};
use serde_json::{Map, Value, json};
use sessions::front::route::{self, Place, ROUTES};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/agents-openapi.json");

/// A path, and whether a place is what answers there.
type Beside = (&'static str, fn(&Place) -> bool);

/// The routes that are no part of the table.
const BESIDE: [Beside; 1] = [("/health", |place| *place == Place::Health)];

/// Methods and patterns of everything that is described.
fn routes() -> Vec<(&'static str, &'static str)> {
    let table = ROUTES.iter().map(|route| (route.method.as_str(), route.pattern));
    BESIDE.iter().map(|(path, _)| ("GET", *path)).chain(table).collect()
}

/// `/sessions/:id` as `/sessions/{id}`.
fn template(pattern: &str) -> String {
    let segment = |part: &str| part.strip_prefix(':').map_or_else(|| part.to_owned(), |name| format!("{{{name}}}"));
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn parameters(pattern: &str, operation: &Operation) -> Vec<Value> {
    let ids = pattern.split('/').filter_map(|part| part.strip_prefix(':')).map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}),
    );
    let query = operation.query.iter().map(|(name, schema)| json!({"name": name, "in": "query", "schema": schema}));
    let key = operation.keyed.then(|| {
        json!({"name": "idempotency-key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "A request that is repeated with it is answered as the first one was"})
    });
    ids.chain(query).chain(key).collect()
}

fn security(who: Who) -> Value {
    match who {
        Who::Anybody => json!([]),
        Who::User => json!([{"user": []}]),
        Who::Observer => json!([{"user": []}, {"observer": []}]),
        Who::GitHub => json!([{"github": []}]),
        Who::Operator => json!([{"operator": []}]),
        Who::Run => json!([{"run": []}]),
        Who::Runner => json!([{"runner": []}]),
        Who::UserOrRunner => json!([{"user": []}, {"runner": []}]),
        Who::UserOrRun => json!([{"user": []}, {"run": []}]),
        Who::Tool => json!([{"tool": []}]),
        Who::UserOrTool => json!([{"user": []}, {"tool": []}]),
    }
}

fn described(pattern: &str, operation: &Operation) -> Value {
    let mut responses: Map<String, Value> = refusals::responses(&operation.refusals).into_iter().collect();
    // What an operation says of a status itself counts.
    responses.extend(operation.answers.clone());
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security(operation.who),
        "responses": responses,
    });
    let parameters = parameters(pattern, operation);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some((content, required)) = &operation.body {
        described["requestBody"] = json!({"required": required, "content": content});
    }
    described
}

fn description() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, pattern) in routes() {
        let operation =
            operations::of(method, pattern).unwrap_or_else(|| panic!("{method} {pattern} is not described"));
        let path = paths.entry(template(pattern)).or_insert_with(|| json!({}));
        path[method.to_lowercase()] = described(pattern, &operation);
    }
    let bearer = |text: &str| json!({"type": "http", "scheme": "bearer", "description": text});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "logseq-workers: agent sessions",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
            "description": "Coding-agent sessions. Times are milliseconds since 1970. Unknown members of bodies are let be.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "user": bearer("A token of the identity provider. GET requests take it as ?token= too."),
                "observer": bearer("What observerToken gives; for one session, to read."),
                "runner": bearer("What registerRunner gives to a runner that calls us."),
                "run": bearer("What the service gives to whoever runs an agent."),
                "tool": bearer("What an agent is given with its tools, for one session."),
                "github": {"type": "apiKey", "in": "header", "name": "x-hub-signature-256"},
                "operator": {"type": "apiKey", "in": "header", "name": "x-db-sync-admin-token"},
            },
        },
    })
}

/// One line for each operation and each component, so that changes can be read and the file stays small.
fn written(description: &Value) -> String {
    let mut text = "{".to_owned();
    for (number, (key, value)) in description.as_object().unwrap().iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let nested = matches!(key.as_str(), "paths" | "components");
        if nested {
            write!(text, "{comma}\n\"{key}\":{{").unwrap();
            for (number, (key, members)) in value.as_object().unwrap().iter().enumerate() {
                write!(text, "{}\n \"{key}\":{{", if number == 0 { "" } else { "," }).unwrap();
                for (number, (key, member)) in members.as_object().unwrap().iter().enumerate() {
                    write!(text, "{}\n  \"{key}\":{member}", if number == 0 { "" } else { "," }).unwrap();
                }
                text.push('}');
            }
            text.push('}');
        } else {
            write!(text, "{comma}\n\"{key}\":{value}").unwrap();
        }
    }
    text.push_str("\n}\n");
    text
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
        _ => {}
    }
}

#[test]
fn the_file_is_what_the_service_is() {
    let expected = written(&description());
    assert_eq!(serde_json::from_str::<Value>(&expected).unwrap(), description());
    if std::env::var("OPENAPI").is_ok_and(|word| word == "write") {
        std::fs::write(FILE, &expected).unwrap();
    }
    let is_same = std::fs::read_to_string(FILE).unwrap() == expected;
    assert!(is_same, "docs/agents-openapi.json is old: OPENAPI=write cargo test -p sessions --test openapi");
}

#[test]
fn every_route_is_described_and_none_is_invented() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            operations += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            // The path with a name in the place of each id leads to the route of that pattern.
            let concrete: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let found = match route::place(&method, &concrete.join("/")) {
                Place::Inside(Some(found)) => template(found.pattern) == *path,
                place => BESIDE.iter().any(|(beside, is_it)| path == beside && is_it(&place)),
            };
            assert!(found, "{method} {path} is no route");
        }
    }
    assert_eq!(operations, ROUTES.len() + BESIDE.len());
}

#[test]
fn names_are_found_and_used_once() {
    let description = description();
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for reference in &found {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference}");
    }
    assert_eq!(found.len(), schemas.len(), "a schema that nothing uses");
    let ids: BTreeSet<&str> =
        routes().into_iter().map(|(method, pattern)| operations::of(method, pattern).unwrap().id).collect();
    assert_eq!(ids.len(), routes().len(), "two operations of one name");
}

#[test]
fn who_is_not_described_is_not_found() {
    assert!(operations::of("GET", "/sessions/:id/invented").is_none());
    assert_eq!(template("/sessions/:id/approvals/:request-id"), "/sessions/{id}/approvals/{request-id}");
}
