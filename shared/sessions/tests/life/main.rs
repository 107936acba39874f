//! The object of a session from its first request to its rest, with an object that dies at any moment and an agent that lives on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod agent;
mod histories;
mod screen;
mod steps;
mod terminals;
mod world;

use sessions::settings::Settings;
use world::World;

/// A session at the operator's own agent server.
fn world() -> World {
    World::new(settings(), "local-dev")
}

fn settings() -> Settings {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let lookup = |name: &str| match name {
        "MANAGED_AUTH_KEY" => Some(key.to_owned()),
        _ => None,
    };
    Settings::from_lookup(lookup).unwrap()
}
