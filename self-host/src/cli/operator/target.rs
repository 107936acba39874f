//! Where a verb works: a data directory, a remote server, or a deployment's D1 (self-host.md 7).

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::wrangler::Wrangler;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{flags, text};
use crate::config::{Config, Resolved};

/// Where a verb works.
pub(super) enum Target {
    /// A data directory, absolute.
    Data(PathBuf),
    /// A server that is reached over HTTP.
    Server(Remote),
    /// A deployment's database; what belongs to its worker goes to the server beside it.
    D1(Wrangler, Option<Remote>),
}

/// A server and what lets the operator in.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Its address, without a slash at the end.
    pub(super) base: String,
    /// What is shown to it.
    pub(super) credential: Credential,
}

/// What lets somebody in.
#[derive(Clone)]
pub(super) enum Credential {
    /// The operator's token.
    Admin(String),
    /// A user's.
    User(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Which targets a verb has beside a data directory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Takes {
    /// `--base-url`.
    pub(super) server: bool,
    /// `--d1`.
    pub(super) d1: bool,
}

/// The database of the index.
pub(super) const INDEX: Takes = Takes { server: false, d1: true };
/// Graphs.
pub(super) const GRAPHS: Takes = Takes { server: true, d1: false };
/// Both.
pub(super) const BOTH: Takes = Takes { server: true, d1: true };

/// Adds the flags that name a target.
pub(super) fn with_target(command: Command, takes: Takes) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let mut command = flags::of_keys(command, &["data_dir"]);
    if takes.server {
        command = command.args([
            option("base-url", "URL", "a server, in place of a data directory"),
            option(
                "admin-token",
                "TOKEN",
                "its operator's token; - reads it from standard input [DB_SYNC_ADMIN_TOKEN]",
            ),
            option("token", "TOKEN", "a user's token instead; - reads it from standard input [DB_SYNC_AUTH_TOKEN]"),
        ]);
    }
    if takes.d1 {
        command = command.args([
            Arg::new("d1")
                .long("d1")
                .action(ArgAction::SetTrue)
                .help("the D1 database of a deployment, through wrangler"),
            option("env", "NAME", "with --d1: environment of wrangler's configuration, or local [default: prod]"),
            option("database", "NAME", "with --d1: binding or name of the database [default: DB]"),
            option("persist-to", "DIR", "with --d1 --env local: where local storage lies"),
        ]);
        // With --d1 it is wrangler's file that is meant, as in upstream's scripts.
        command = command.mut_arg("config", |arg| arg.help("configuration file (TOML); with --d1 that of wrangler"));
    }
    command
}

/// The target that flags name, and what else the configuration says.
pub(super) fn choose(matches: &ArgMatches, output: Output) -> Result<(Target, Resolved), Failure> {
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let d1 = matches.try_get_one::<bool>("d1").ok().flatten().copied().unwrap_or(false);
    let base = given("base-url");
    let names_data = matches.value_source("data_dir") == Some(ValueSource::CommandLine);
    if names_data && (d1 || base.is_some()) {
        return Err(Failure::usage("name one target: --data-dir, --base-url or --d1"));
    }
    for name in ["env", "database", "persist-to"] {
        if !d1 && given(name).is_some() {
            return Err(Failure::usage(format!("--{name} goes with --d1")));
        }
    }
    if base.is_none() && !d1 && (given("admin-token").is_some() || given("token").is_some()) {
        return Err(Failure::usage("a token goes with --base-url"));
    }
    let resolved = if d1 { without_file()? } else { flags::resolve(matches)? };
    let base = match base {
        // The server of a deployment may stand in the environment, as for upstream's scripts.
        None if d1 => resolved.value("base_url").map(crate::config::text).filter(|url| !url.is_empty()),
        base => base,
    };
    let remote = base.map(|base| remote(&base, matches, &resolved, output)).transpose()?;
    let target = match (d1, remote) {
        (true, remote) => Target::D1(wrangler(matches), remote),
        (false, Some(remote)) => Target::Server(remote),
        (false, None) => Target::Data(Config::data_dir(&resolved)),
    };
    Ok((target, resolved))
}

fn without_file() -> Result<Resolved, Failure> {
    flags::gathered(&BTreeMap::new(), None).map_err(|(_, problems)| problems.into())
}

fn wrangler(matches: &ArgMatches) -> Wrangler {
    Wrangler {
        database: text(matches, "database").unwrap_or_else(|| "DB".to_owned()),
        environment: text(matches, "env").unwrap_or_else(|| "prod".to_owned()),
        config: text(matches, "config").map(PathBuf::from),
        persist_to: text(matches, "persist-to").map(PathBuf::from),
    }
}

fn remote(base: &str, matches: &ArgMatches, resolved: &Resolved, output: Output) -> Result<Remote, Failure> {
    let uri: Option<http::Uri> = base.parse().ok();
    let is_address = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
    });
    if !is_address {
        return Err(Failure::usage(format!("{base:?} is no address such as https://notes.example")));
    }
    let of_key = |name: &str| resolved.value(name).map(crate::config::text).filter(|text| !text.is_empty());
    let credential = match (secret(matches, "admin-token", output)?, secret(matches, "token", output)?) {
        (Some(_), Some(_)) => return Err(Failure::usage("pass --admin-token or --token, not both")),
        (Some(token), None) => Credential::Admin(token),
        (None, Some(token)) => Credential::User(token),
        (None, None) => {
            let admin = of_key("auth.admin_token").map(Credential::Admin);
            let user = || of_key("auth.token").map(Credential::User);
            admin.or_else(user).ok_or_else(|| {
                Failure::usage("a server wants a token: set DB_SYNC_ADMIN_TOKEN, or pass --admin-token - or --token -")
            })?
        }
    };
    Ok(Remote { base: base.trim_end_matches('/').to_owned(), credential })
}

/// A secret flag; `-` reads a line.
pub(super) fn secret(matches: &ArgMatches, name: &str, output: Output) -> Result<Option<String>, Failure> {
    let Some(text) = matches.try_get_one::<String>(name).ok().flatten() else { return Ok(None) };
    if text != "-" {
        output.note(&format!("warning: --{name}: command lines are public; use a variable, or - and standard input"));
        return Ok(Some(text.clone()));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Failure::usage)?;
    let token = line.trim_end_matches(['\r', '\n']).to_owned();
    if token.is_empty() { Err(Failure::usage(format!("--{name} -: standard input is empty"))) } else { Ok(Some(token)) }
}
