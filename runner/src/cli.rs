//! The command line (docs/spec/session-mailbox.md 8.1).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use daemon_lifecycle::registry::Registry;
use daemon_lifecycle::verbs::{self, ServerArgs, Surroundings};
use daemon_lifecycle::{Owner, Spawned, launcher};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::children::Children;
use crate::daemon::Daemon;
use crate::doctor::Report;
use crate::failure::Failure;
use crate::inspect;
use crate::leaving::Leaving;
use crate::log::Log;
use crate::logs;
use crate::program::write_once;
use crate::relay;
use crate::relay::driver::Driver;
use crate::run::{PAUSES, Runner};
use crate::sandbox_agent;
use crate::service;
use crate::settings::{Current, KEYS, Machine, NamedFile, Settings, Tables, Transport, Values, as_toml, gather};

/// The program.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are no failures, and are printed where results are.
            let exit = if error.use_stderr() { Failure::Usage(String::new()).exit() } else { 0 };
            let _closed = error.print();
            return ExitCode::from(exit);
        }
    };
    match dispatch(&matches) {
        Ok(exit) => exit,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.exit())
        }
    }
}

fn command() -> Command {
    let of_keys = KEYS.iter().filter_map(|key| {
        let flag = key.flag?;
        let variable = key.variable.map(|variable| format!(" [{variable}]")).unwrap_or_default();
        let default = if key.default.is_empty() { String::new() } else { format!(" (default {})", key.default) };
        Some(
            Arg::new(key.name)
                .long(flag)
                .global(true)
                .value_name("VALUE")
                .help(format!("{}{default}{variable}", key.help)),
        )
    });
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).global(true).action(ArgAction::SetTrue).help(help)
    };
    let of_daemons = ServerArgs::augment_args(Command::new("server"));
    let of_daemons = of_daemons.get_subcommands().filter(|verb| LIFECYCLE.contains(&verb.get_name())).cloned();
    let of_daemons: Vec<Command> =
        of_daemons.map(|verb| if verb.get_name() == "stop" { with_ways_to_end(verb) } else { verb }).collect();
    Command::new("logseq-runner")
        .subcommands(of_daemons)
        .about("Lends this machine to coding-agent sessions of Logseq")
        .version(env!("CARGO_PKG_VERSION"))
        .args(of_keys)
        .arg(
            Arg::new("config")
                .long("config")
                .global(true)
                .value_name("FILE")
                .help("Configuration file (default ~/.config/logseq-runner/config.toml) [RUNNER_CONFIG]"),
        )
        .arg(switch("print-config", "Print what is in force, and where each value comes from"))
        .arg(switch("json", "Print one JSON object"))
        .subcommand(
            Command::new("run")
                .about("Register and work in the foreground (the default)")
                .arg(switch("fail-fast", "End with 69 when the agents worker does not answer at the start"))
                .arg(Arg::new("owner").long("owner").value_name("OWNER").hide(true))
                .arg(Arg::new("data-dir").long("data-dir").value_name("DIR").hide(true)),
        )
        .subcommand(
            Command::new("launch")
                .hide(true)
                .arg(Arg::new("command").last(true).num_args(1..).value_parser(clap::value_parser!(OsString))),
        )
        .subcommand(Command::new("sandbox-agent").about("Start the local sandbox-agent alone, and stay"))
        .subcommand(
            Command::new("sessions")
                .about("List the sessions of this machine")
                .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Also those that were ended")),
        )
        .subcommand(
            Command::new("logs")
                .about("Print what a session's shim and agent have logged")
                .arg(Arg::new("session").value_name("SESSION").required(true))
                .arg(Arg::new("follow").short('f').action(ArgAction::SetTrue).help("Go on with what comes"))
                .arg(
                    Arg::new("lines")
                        .short('n')
                        .value_name("N")
                        .default_value("100")
                        .value_parser(clap::value_parser!(usize))
                        .help("Last lines of each log"),
                ),
        )
        .subcommand(Command::new("unregister").about("Delete this runner at the agents worker, and its token here"))
        .subcommand(
            Command::new("service")
                .about("A service of the user's own manager")
                .subcommand_required(true)
                .subcommand(Command::new("install").about("Write it, and say how it is started"))
                .subcommand(Command::new("uninstall").about("Remove it")),
        )
        .subcommand(Command::new("doctor").about("Look for what is missing; exit 1 if something is"))
}

/// What `stop` has of its own: docs/spec/session-mailbox.md 8.1.
fn with_ways_to_end(stop: Command) -> Command {
    let drain =
        Arg::new("drain").long("drain").value_name("SECONDS").value_parser(clap::value_parser!(u64).range(..=86_400));
    let kill = Arg::new("kill-sessions").long("kill-sessions").action(ArgAction::SetTrue);
    stop.arg(drain.help("Take no new prompts, and wait so long for the turns that run"))
        .arg(kill.help("End what works for sessions; without it, that goes on without the runner"))
}

/// Tells the runner how it is to end, where that is more than ending it.
fn say_how_to_end(settings: &Settings, verb: &str, of_verb: &ArgMatches) -> Result<(), Failure> {
    let leaving = match verb {
        "restart" => Leaving { upgrade: true, ..Leaving::default() },
        "stop" => {
            let drain = of_verb.get_one::<u64>("drain").copied();
            let kill_sessions = of_verb.get_flag("kill-sessions");
            if drain.is_none() && !kill_sessions {
                return Ok(());
            }
            Leaving { drain_ms: drain.unwrap_or_default() * 1_000, kill_sessions, upgrade: false }
        }
        _ => return Ok(()),
    };
    if crate::leaving::tell(&settings.state_dir, &leaving)? == Some(false) && leaving.drain_ms > 0 {
        eprintln!("turns still run");
    }
    Ok(())
}

fn dispatch(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let file = file(matches);
    let read = || {
        let values = values(matches, &file)?;
        let settings = Settings::new(&values, &machine(), Tables::read(&file)?)?;
        Ok::<_, Failure>((values, settings))
    };
    let (values, settings) = read()?;
    let reread = || Ok(read()?.1);
    if matches.get_flag("print-config") {
        print!("{}", as_toml(&values));
        return Ok(ExitCode::SUCCESS);
    }
    match matches.subcommand() {
        Some(("doctor", _)) => doctor(&settings, matches.get_flag("json")),
        Some(("sandbox-agent", _)) => start_agent(&settings),
        Some(("run", run)) => {
            let owner = run.get_one::<String>("owner").map_or(Owner::Cli, |owner| Owner::read(owner));
            serve(&settings, &Run { fail_fast: run.get_flag("fail-fast"), owner }, &reread)
        }
        Some(("launch", launch)) => {
            let line: Vec<OsString> = launch.get_many::<OsString>("command").into_iter().flatten().cloned().collect();
            Ok(ExitCode::from(launcher::run(&line)))
        }
        Some(("sessions", list)) => {
            print!("{}", inspect::sessions(&settings, list.get_flag("all"), matches.get_flag("json"))?);
            Ok(ExitCode::SUCCESS)
        }
        Some(("logs", logs)) => {
            let session = logs.get_one::<String>("session").map(String::as_str).unwrap_or_default();
            let lines = logs.get_one::<usize>("lines").copied().unwrap_or_default();
            logs::show(&settings, session, lines, logs.get_flag("follow"))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(("unregister", _)) => {
            let known = runtime()?.block_on(inspect::unregister(&settings))?;
            let told = if known { "deleted" } else { "the worker does not know it" };
            println!("{}: {told}", settings.runner_id);
            Ok(ExitCode::SUCCESS)
        }
        Some(("service", service)) => {
            let folder = of_user("XDG_CONFIG_HOME", ".config");
            let unit = service::place(&folder.ok_or_else(|| Failure::Other("no home folder".to_owned()))?);
            let told = if service.subcommand_name() == Some("install") {
                let program = crate::daemon::program()?.executable;
                let named = file.path.clone().filter(|path| path.is_file());
                service::install(&unit, &program, named.as_deref())
            } else {
                service::uninstall(&unit)
            };
            print!("{}", told?);
            Ok(ExitCode::SUCCESS)
        }
        Some((verb, of_verb)) if LIFECYCLE.contains(&verb) => {
            say_how_to_end(&settings, verb, of_verb)?;
            lifecycle(&settings, matches)
        }
        _ => serve(&settings, &Run { fail_fast: false, owner: Owner::Cli }, &reread),
    }
}

/// How the runner is run.
struct Run {
    fail_fast: bool,
    owner: Owner,
}

/// Verbs of the daemons' crate.
const LIFECYCLE: [&str; 5] = ["start", "stop", "restart", "status", "list"];

/// Starts, finds and ends the runner of a state folder (docs/spec/daemon.md 4.5). What is set by flags is handed to the runner that is started.
fn lifecycle(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let mut args = ServerArgs::from_arg_matches(matches).map_err(|error| Failure::Usage(error.to_string()))?;
    if let verbs::Verb::Start(start) | verbs::Verb::Restart(start) = &mut args.verb {
        let flags =
            KEYS.iter().filter(|key| key.name != "runner.state-dir").filter_map(|key| Some((key.flag?, key.name)));
        let own = flags.filter_map(|(flag, name)| Some((flag, matches.get_one::<String>(name)?)));
        let named = matches.get_one::<String>("config").map(|file| ("config", file));
        start.serve.extend(own.chain(named).flat_map(|(flag, value)| [format!("--{flag}").into(), value.into()]));
    }
    let program = crate::daemon::program()?;
    let around = Surroundings {
        program: &program,
        data_dir: &settings.state_dir,
        registry: Registry::of_user(),
        checks: &|_, _| Vec::new(),
    };
    Ok(ExitCode::from(verbs::run(&args, &around, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())))
}

fn file(matches: &ArgMatches) -> NamedFile {
    let named = matches.get_one::<String>("config").cloned().or_else(|| std::env::var("RUNNER_CONFIG").ok());
    let named = named.filter(|path| !path.trim().is_empty());
    let usual = || of_user("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("logseq-runner/config.toml"));
    NamedFile { may_be_absent: named.is_none(), path: named.map(PathBuf::from).or_else(usual) }
}

fn values(matches: &ArgMatches, file: &NamedFile) -> Result<Values, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let mut flags: BTreeMap<&'static str, String> =
        KEYS.iter().filter(|key| key.flag.is_some()).filter_map(|key| Some((key.name, given(key.name)?))).collect();
    // As whoever starts daemons names it.
    let folder = matches.subcommand_matches("run").and_then(|run| run.get_one::<String>("data-dir"));
    flags.extend(folder.map(|folder| ("runner.state-dir", folder.clone())));
    let variable = |name: &str| std::env::var(name).ok();
    gather(&flags, &variable, file)
}

fn machine() -> Machine {
    Machine {
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        state_dir: of_user("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("logseq-runner")),
    }
}

/// A folder of the user: the one of the variable, or the usual one below the home folder.
fn of_user(variable: &str, usual: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| std::env::home_dir().map(|home| home.join(usual)))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::other("starting", error))
}

fn doctor(settings: &Settings, json: bool) -> Result<ExitCode, Failure> {
    let report = runtime()?.block_on(Report::make(settings));
    if json {
        println!("{}", json!({"status": "ok", "data": report.as_json()}));
    } else {
        print!("{}", report.as_text());
    }
    Ok(ExitCode::from(u8::from(report.fails())))
}

/// Becomes the sandbox-agent: its signals and its exit code are those of this process.
fn start_agent(settings: &Settings) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt as _;
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let mark = format!("alone-{}", std::process::id());
    let command = sandbox_agent::command(&settings.agent, &Children::of(&mark))?;
    eprintln!("sandbox-agent at {}", settings.agent.url);
    Err(Failure::other("sandbox-agent cannot be started", command.into_std().exec()))
}

/// Reads what is set once more.
type Reread<'a> = &'a dyn Fn() -> Result<Settings, Failure>;

/// The runner, until a signal.
fn serve(settings: &Settings, run: &Run, reread: Reread<'_>) -> Result<ExitCode, Failure> {
    // Before any thread is started: what the starter left open.
    let spawned = Spawned::from_environment().map_err(|error| Failure::other("what the starter left open", error))?;
    let fail_fast = run.fail_fast;
    let log = Log(settings.log);
    let driver = match settings.transport {
        Transport::Tunnel => None,
        Transport::Mailbox => Some(Driver::choose(settings)?),
        Transport::Auto => {
            Driver::choose(settings).inspect_err(|why| log.info(format_args!("transport tunnel, as {why}"))).ok()
        }
    };
    let daemon = Daemon::take(settings, run.owner, spawned, log)?;
    let logs = settings.state_dir.join("log");
    Log::keep(&logs).map_err(|error| Failure::other(logs.display(), error))?;
    let instance = instance(settings)?;
    let worked = driver.map_or(Ok(relay::Worked::NotOffered(String::new())), |driver| {
        let instance = instance.clone();
        let current = Current::new(settings.clone());
        let renewed = Arc::clone(&current);
        let hang_up = move || match reread() {
            Ok(fresh) => {
                renewed.renew(fresh);
                log.info("limits, agents and who may use this machine were read again");
            }
            Err(why) => log.warn(format_args!("everything stays as it is set: {why}")),
        };
        let given = relay::Given { settings, current, daemon: &daemon, driver, instance, fail_fast, pauses: &PAUSES };
        through_the_mailbox(given, &daemon, &hang_up, log)
    });
    let worked = match worked {
        Ok(relay::Worked::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(relay::Worked::NotOffered(why)) if settings.transport == Transport::Mailbox => {
            Err(Failure::Other(format!("the worker offers no mailbox: {why}")))
        }
        Ok(relay::Worked::NotOffered(why)) => {
            if !why.is_empty() {
                log.info(format_args!("transport tunnel, as the worker offers no mailbox: {why}"));
            }
            through_a_tunnel(settings, &daemon, &instance, fail_fast, log)
        }
        Err(failure) => Err(failure),
    };
    if let Err(failure) = &worked {
        daemon.failed(failure);
    }
    // A folder that is somebody else's is left as it is.
    if !matches!(worked, Err(Failure::LockLost)) {
        daemon.clean_up();
    }
    worked
}

/// Waits until the runner is to end: a signal, or somebody who asks its daemon. Whoever asks twice does not want to wait. SIGHUP is no wish to end:
/// `hang_up` is called for it.
async fn asked_to_end(daemon: &Arc<Daemon>, hang_up: &dyn Fn(), log: Log) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut hang_ups = signal(SignalKind::hangup()).map_err(|error| Failure::other("signals", error))?;
    let asked = daemon.serve();
    tokio::pin!(asked);
    // Each turn waits for a signal.
    loop {
        tokio::select! {
            () = signals.any() => break,
            asked = &mut asked => break asked?,
            Some(()) = hang_ups.recv() => hang_up(),
        }
    }
    log.info("stopping");
    tokio::spawn(async move {
        signals.any().await;
        std::process::exit(signals.code());
    });
    Ok(())
}

/// Works in transport `mailbox`, until a signal. What works for sessions stays when the runner ends.
fn through_the_mailbox(
    given: relay::Given<'_>,
    daemon: &Arc<Daemon>,
    hang_up: &dyn Fn(),
    log: Log,
) -> Result<relay::Worked, Failure> {
    // Never dropped: a session that still waits for an answer does so until the process ends.
    let runtime = Box::leak(Box::new(runtime()?));
    runtime.block_on(relay::work(given, asked_to_end(daemon, hang_up, log)))
}

/// Works in transport `tunnel`, until a signal.
fn through_a_tunnel(
    settings: &Settings,
    daemon: &Arc<Daemon>,
    instance: &str,
    fail_fast: bool,
    log: Log,
) -> Result<ExitCode, Failure> {
    let children = Children::of(instance);
    let table = |error| Failure::other("the process table", error);
    let left = children.end_all().map_err(table)?;
    if left > 0 {
        log.info(format_args!("ended {left} processes that an earlier runner has left"));
    }
    let runtime = runtime()?;
    let ready = || daemon.ready(&settings.runner_id, "tunnel");
    let hang_up = || log.info("by tunnel nothing is read again");
    let worked = runtime.block_on(async {
        let runner = Runner { settings, children: &children, log, fail_fast, pauses: &PAUSES, ready: &ready };
        tokio::select! {
            worked = runner.work() => worked,
            asked = asked_to_end(daemon, &hang_up, log) => {
                asked?;
                let ending = children.clone();
                let ended = tokio::task::spawn_blocking(move || ending.end_all()).await;
                ended.map_err(|error| Failure::other("stopping", error))?.map_err(table)?;
                Ok(())
            }
        }
    });
    let ended = children.end_all().map_err(table);
    worked.and(ended.map(|_| ExitCode::SUCCESS))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    last: i32,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::other("signals", error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())?, last: 0 })
    }

    async fn any(&mut self) {
        self.last = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        };
    }

    /// The exit code of a process that the last one ended.
    fn code(&self) -> i32 {
        128 + self.last
    }
}

/// The id of this state folder, made at the first start: by it processes are known again after a death.
fn instance(settings: &Settings) -> Result<String, Failure> {
    let path = settings.state_dir.join("instance.json");
    let wrong = |error: std::io::Error| Failure::other(path.display(), error);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let known: Option<Value> = serde_json::from_str(&text).ok();
            let id = known.as_ref().and_then(|known| known.get("instance-id")?.as_str());
            id.map(str::to_owned).ok_or_else(|| Failure::Other(format!("{}: no instance-id", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().to_string();
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            let content = json!({
                "v": 1, "instance-id": id, "runner-id": settings.runner_id, "api": settings.api, "created-at": now * 1000,
            });
            write_once(&path, &content.to_string()).map_err(wrong)?;
            Ok(id)
        }
        Err(error) => Err(wrong(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        let matches =
            command().try_get_matches_from(["logseq-runner", "doctor", "--runner-id", "x", "--json"]).unwrap();
        assert_eq!(values(&matches, &NamedFile { path: None, may_be_absent: true }).unwrap().get("runner.id").0, "x");
        assert!(command().try_get_matches_from(["logseq-runner", "--token", "x"]).is_err(), "secrets are no flags");
    }
}
