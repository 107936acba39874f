//! The object of a session from its first request to its rest, with an object that dies at any moment and an agent that lives on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod agent;
mod budgets;
mod histories;
mod receiver;
mod removal;
mod steps;
mod webhooks;
mod world;

use sessions::settings::Settings;
use world::World;

/// A session at the operator's own agent server.
fn world() -> World {
    World::new(settings(), "local-dev")
}

fn settings() -> Settings {
    settings_with(&[])
}

fn settings_with(set: &[(&str, &str)]) -> Settings {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let lookup = |name: &str| match name {
        "MANAGED_AUTH_KEY" => Some(key.to_owned()),
        name => set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    };
    Settings::from_lookup(lookup).unwrap()
}
