//! The configuration (self-host.md 2): what may be set, where it comes from, and what is wrong with it.
//!
//! [`keys`] lists every key with its variables and its kind; [`mod@gather`] takes the values of flags, environment and file in
//! that order; [`settings`] makes of them what the server is started with. All that is wrong is found before anything is
//! refused.

mod gather;
mod keys;
mod limits;
mod nearest;
mod oidc;
mod pg_sync;
mod print;
mod settings;
mod started;
mod value;

pub(crate) use gather::{Problem, Resolved, Sources, gather};
pub(crate) use keys::{KEYS, Key};
pub(crate) use limits::Limits;
#[cfg(test)]
pub(crate) use pg_sync::found as observed;
pub(crate) use pg_sync::{Connection, PgSync, SecretFrom};
pub(crate) use print::{as_json, as_toml};
pub(crate) use settings::Config;

/// A value as a variable would say it.
pub(crate) fn text(value: &value::Value) -> String {
    value.text()
}
