//! The object of a session from its first request to its rest, with an object that dies at any moment and an agent that lives on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]

mod agent;
mod asserted;
mod bridges;
mod budgets;
mod clock;
mod conversations;
mod follow_up;
mod git_credentials;
mod host;
mod mailbox;
mod operator;
mod pg_sync;
mod platform;
mod receiver;
mod removal;
mod runner;
mod screen;
mod simulation;
mod snapshots;
mod steps;
mod terminals;
mod tools;
mod tree;
mod webhooks;
mod working_tree;
mod world;

use std::rc::Rc;

use database::sqlite::Sqlite;
use sessions::settings::Settings;
use world::World;

/// A session at the operator's own agent server.
fn world() -> World {
    World::new(settings(), "local-dev")
}

fn settings() -> Settings {
    settings_with(&[])
}

/// The same with further settings.
fn settings_with(more: &[(&str, &str)]) -> Settings {
    let key = ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let lookup =
        |name: &str| more.iter().chain([&key]).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::from_lookup(lookup).unwrap()
}

/// A database of all sessions, with nothing in it.
fn database() -> Rc<Sqlite> {
    let migrations = [index::migrations::MIGRATIONS, sessions::registry::MIGRATIONS].concat();
    Rc::new(Sqlite::in_memory(&migrations).unwrap())
}
