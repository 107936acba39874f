//! Flags of the configuration: one for each key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use super::failure::Failure;
use crate::config::{Config, KEYS, Problem, Resolved, Sources, gather};

/// Adds the flags of all keys, and `--config`.
pub(super) fn of_configuration(command: Command) -> Command {
    let file = Arg::new("config").long("config").value_name("FILE").help("configuration file (TOML)");
    command.arg(file.global(false)).args(KEYS.iter().map(flag))
}

/// Adds the flags of these keys, and `--config`.
pub(super) fn of_keys(command: Command, names: &[&str]) -> Command {
    let file = Arg::new("config").long("config").value_name("FILE").help("configuration file (TOML)");
    command.arg(file).args(KEYS.iter().filter(|key| names.contains(&key.name)).map(flag))
}

fn flag(key: &'static crate::config::Key) -> Arg {
    let help = format!("{} [{}]", key.help, key.variable());
    Arg::new(key.name).long(key.flag()).value_name("VALUE").help(help).hide_short_help(key.name.contains('.'))
}

/// What flags, environment and file say.
pub(super) fn resolve(matches: &ArgMatches) -> Result<Resolved, Failure> {
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let flags: BTreeMap<&'static str, String> =
        KEYS.iter().filter_map(|key| Some((key.name, given(key.name)?))).collect();
    let file = given("config").map(PathBuf::from);
    gathered(&flags, file.as_deref()).map_err(|(resolved, mut problems)| {
        // What is wrong with the values that could be read is told as well.
        problems
            .extend(Config::new(&resolved).err().into_iter().flatten().filter(|problem| problem.name != "settings"));
        problems.into()
    })
}

/// What these flags, the environment and a file say. With what is wrong comes what could be read.
pub(super) fn gathered(
    flags: &BTreeMap<&'static str, String>,
    file: Option<&Path>,
) -> Result<Resolved, (Resolved, Vec<Problem>)> {
    // Variables that are no text are not ours.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    gather(&Sources { flags, environment: &environment, file })
}
