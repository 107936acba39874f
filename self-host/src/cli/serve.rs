//! `logseq-sync serve`.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use daemon_lifecycle::{Owner, Spawned};
use inherited::Activated;
use serde_json::json;

use super::failure::{Failure, exit};
use super::output::{Output, line};
use super::{Outcome, REVISION, VERSION, flags};
use crate::config::{Config, Resolved, as_json, as_toml};
use crate::serve::{End, Launch, Reload, Server, is_reloaded};

/// The verb.
pub(super) fn command() -> Command {
    let print = Arg::new("print-config")
        .long("print-config")
        .value_name("FORMAT")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("toml")
        .value_parser(PossibleValuesParser::new(["toml", "json"]))
        .help("show the configuration and where it comes from");
    let check = Arg::new("check").long("check").action(ArgAction::SetTrue).help("only say whether it could start");
    let graph = Arg::new("graph").long("graph").value_name("ID").help("serve one graph alone, which must be there");
    let weak = Arg::new("allow-weak-lock")
        .long("allow-weak-lock")
        .action(ArgAction::SetTrue)
        .help("serve on a network file system, where nothing keeps another machine out");
    flags::of_configuration(Command::new("serve").about("Run the server")).args([print, check, owner(), graph, weak])
}

/// Who starts it.
pub(super) fn owner() -> Arg {
    let owners = PossibleValuesParser::new(["cli", "desktop", "electron", "service", "unknown"]);
    Arg::new("owner").long("owner").value_name("OWNER").value_parser(owners).help("who starts it")
}

/// By its name; without one it is the service manager where one waits to be told.
pub(super) fn owner_of(name: Option<&str>) -> Owner {
    match name {
        Some(name) => Owner::read(name),
        None if std::env::var_os("NOTIFY_SOCKET").is_some() => Owner::Service,
        None => Owner::Cli,
    }
}

/// What whoever started this process left open for it. Before any thread is started.
pub(super) fn spawned() -> Result<Spawned, Failure> {
    Spawned::from_environment().map_err(|error| Failure::new("inherited-descriptors", exit::BUG, error))
}

/// Runs it; whoever started the process and waits learns why it does not serve.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    // Before anything else is opened, or kept from children.
    let activated = inherited::activated().map_err(|error| Failure::new("inherited-descriptors", exit::BUG, error))?;
    let mut spawned = spawned()?;
    let outcome = run_for(matches, output, &mut spawned, activated);
    if let Err(failure) = &outcome {
        spawned.reporter.error(&failure.code, &failure.message(), failure.members());
    }
    outcome
}

fn run_for(matches: &ArgMatches, output: Output, spawned: &mut Spawned, activated: Vec<Activated>) -> Outcome {
    let resolved = flags::resolve(matches)?;
    let config = Config::new(&resolved).map_err(Failure::from);
    if let Some(format) = super::text(matches, "print-config") {
        config?;
        line(if format == "json" { as_json(&resolved).to_string() } else { as_toml(&resolved) }.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let config = config?;
    if matches.get_flag("check") {
        output.result(&json!({ "ok": true }), "the configuration is good");
        return Ok(ExitCode::SUCCESS);
    }
    let launch = Launch {
        owner: owner_of(super::text(matches, "owner").as_deref()),
        graph: super::text(matches, "graph"),
        allow_weak_lock: matches.get_flag("allow-weak-lock"),
        activated,
    };
    serve(config, launch, output, |_| (), &mut reloading(matches, resolved), spawned)
}

/// Reads the configuration again, and tells which changes need another start.
fn reloading(matches: &ArgMatches, mut now: Resolved) -> impl FnMut() -> Result<Reload, String> {
    move || {
        let text = |failure: Failure| failure.messages.join("; ");
        let next = flags::resolve(matches).map_err(text)?;
        let config = Config::new(&next).map_err(|problems| text(problems.into()))?;
        let changed = next.changed(&now);
        let later = changed.into_iter().filter(|name| !is_reloaded(name)).collect();
        now = next;
        Ok(Reload { config, later })
    }
}

/// Serves until the end; `ready` is called after the ready line, `reload` with each SIGHUP.
pub(super) fn serve(
    config: Config,
    launch: Launch,
    output: Output,
    ready: impl FnOnce(&Server),
    reload: &mut dyn FnMut() -> Result<Reload, String>,
    spawned: &mut Spawned,
) -> Outcome {
    let owner = launch.owner;
    // The configuration was read: its relative paths count from where the starter stood.
    spawned.settle().map_err(|error| Failure::new("io", exit::IO, error))?;
    let server = Server::start(config, launch, spawned)?;
    line(&ready_line(&server, owner, output));
    ready(&server);
    if cfg!(debug_assertions) && std::env::var_os("TRIAL_PANIC").is_some() {
        panic_somewhere();
    }
    Ok(match server.run(reload) {
        End::Graceful => ExitCode::SUCCESS,
        End::Interrupted => ExitCode::from(exit::INTERRUPTED),
        End::Terminated => ExitCode::from(exit::TERMINATED),
        End::LockLost => ExitCode::from(exit::LOST),
    })
}

/// A defect that tests bring about, in builds for them alone.
#[expect(clippy::panic, reason = "that is what is tried")]
fn panic_somewhere() {
    std::thread::spawn(|| panic!("a trial"));
}

/// The one line that says that connections are accepted (self-host.md 3.2).
fn ready_line(server: &Server, owner: Owner, output: Output) -> String {
    let data = server.data_dir().display().to_string();
    let listen = server.listen();
    if output.json {
        let mut told = json!({
            "event": "ready",
            "version": VERSION,
            "revision": REVISION,
            "pid": std::process::id(),
            "owner": owner.name(),
            "data_dir": data,
            "listen": listen,
            "base_urls": server.base_urls(),
            "auth": server.drivers(),
            "started_at": crate::log::now(),
        });
        if let (Some(graph), Some(members)) = (server.graph(), told.as_object_mut()) {
            members.insert("graph".to_owned(), json!(graph));
        }
        return told.to_string();
    }
    let (listen, auth) = (listen.join(", "), server.drivers().join("+"));
    format!("logseq-sync {VERSION} ready: {listen} (data {data}, auth {auth})")
}
