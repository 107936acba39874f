//! The commands `server …` for a binary to mount (self-host.md 5, with docs/spec/daemon.md 4.8). A binary whose own command
//! line is parsed with clap puts [`ServerArgs`] under the word `server`, hands its arguments through [`arrange()`] first, and
//! calls [`run`].

mod arrange;
mod cleanup;
mod doctor;
mod lifecycle;
mod output;
mod status;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use arrange::arrange;
pub use doctor::{Check, Level};

use crate::registry::Registry;
use crate::{Error, Limits, Owner, Program, Scope, launcher};

/// What stands after the word `server`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with daemons.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Start the daemon, or find the one that runs; takes the flags of `serve`, too
    Start(Start),
    /// Stop the daemon; returns when its process is gone
    Stop(Stop),
    /// Stop the daemon and start it again; takes the flags of `serve`, too
    Restart(Start),
    /// Say how the daemon is; the exit code tells, too
    Status(Status),
    /// List the daemons that run
    List(List),
    /// Stop daemons of other revisions that the command line started
    Cleanup(Cleanup),
    /// Look for what is wrong
    Doctor(Doctor),
    /// The process between a starter and its daemon
    #[command(hide = true)]
    Launch(Launch),
}

/// What every verb takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// The data directory
    #[arg(long, alias = "root-dir", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// One graph of it, with a daemon of its own
    #[arg(long, value_name = "NAME")]
    pub graph: Option<String>,
    /// Who asks: cli, desktop or service
    #[arg(long, value_name = "OWNER", default_value = "cli", value_parser = owner)]
    pub owner: Owner,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print nothing but failures
    #[arg(long)]
    pub quiet: bool,
    /// Print owners as Logseq's own tools do
    #[arg(long)]
    pub compat_logseq: bool,
}

/// The flags of `start` and `restart`.
#[derive(Clone, Debug, clap::Args)]
pub struct Start {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// Give up after so long without a word from the daemon
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = duration)]
    pub timeout: Duration,
    /// A daemon that does not answer hangs after so long
    #[arg(long, value_name = "TIME", default_value = "15", value_parser = duration)]
    pub hang_limit: Duration,
    /// Become the owner of a daemon that has none
    #[arg(long)]
    pub take_over: bool,
    /// Replace a daemon of another revision, whoever uses it
    #[arg(long)]
    pub force: bool,
    /// Flags for `serve`
    #[arg(last = true, hide = true)]
    pub serve: Vec<OsString>,
}

/// The flags of `stop`.
#[derive(Clone, Debug, clap::Args)]
pub struct Stop {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// Give the daemon so long to end by itself; without it, what the daemon asks for
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// The flags of `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// Watch a daemon that does not answer for so long, to tell a busy from a hung one
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub hang_limit: Option<Duration>,
}

/// The flags of `list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// Also those that do not run any more
    #[arg(long)]
    pub all: bool,
}

/// The flags of `cleanup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cleanup {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// Stop nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The flags of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Doctor {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// A public address to try
    #[arg(long, value_name = "URL")]
    pub base_url: Vec<String>,
}

/// The command line of the daemon that a launcher starts.
#[derive(Clone, Debug, clap::Args)]
pub struct Launch {
    /// The command line.
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

/// What a binary knows and the verbs need.
pub struct Surroundings<'a> {
    /// The program that daemons are started with.
    pub program: &'a Program,
    /// The data directory, where no flag names one.
    pub data_dir: &'a Path,
    /// The data directories that were used before.
    pub registry: Option<Registry>,
    /// What `doctor` checks beyond daemons: configuration, databases, addresses.
    pub checks: &'a dyn Fn(&Scope, &Doctor) -> Vec<Check>,
}

impl Surroundings<'_> {
    /// The path of the data directory as it was given.
    fn given<'c>(&'c self, common: &'c Common) -> &'c Path {
        common.data_dir.as_deref().unwrap_or(self.data_dir)
    }

    fn scope(&self, common: &Common) -> Result<Scope, Error> {
        Scope::new(self.given(common), common.graph.as_deref()).map_err(|error| Error::Usage(error.to_string()))
    }
}

/// What a verb has to say.
struct Outcome {
    data: serde_json::Value,
    words: String,
    exit: u8,
}

/// Runs a verb: results go to `out`, failures in words to `err`. What comes back is the exit code.
pub fn run(args: &ServerArgs, around: &Surroundings<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (common, result) = match &args.verb {
        Verb::Start(args) => (&args.common, lifecycle::start(args, around)),
        Verb::Stop(args) => (&args.common, lifecycle::stop(args, around)),
        Verb::Restart(args) => (&args.common, lifecycle::restart(args, around)),
        Verb::Status(args) => (&args.common, status::status(args, around)),
        Verb::List(args) => (&args.common, status::list(args, around)),
        Verb::Cleanup(args) => (&args.common, cleanup::cleanup(args, around)),
        Verb::Doctor(args) => (&args.common, doctor::doctor(args, around)),
        Verb::Launch(args) => return launcher::run(&args.command),
    };
    output::write(result, common, out, err)
}

fn owner(text: &str) -> Result<Owner, String> {
    match Owner::read(text) {
        Owner::Unknown if text != "unknown" => Err("cli, desktop or service is expected".to_owned()),
        owner => Ok(owner),
    }
}

/// Reads a time: a number of seconds, or one with `s`, `m`, `h` or `d` behind it.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at).unwrap_or_default(), unit),
        _ => (text, 's'),
    };
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err("s, m, h or d is expected".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    // Longer than any wait makes sense, and short enough for every clock.
    seconds.filter(|seconds| *seconds <= 86_400).map(Duration::from_secs).ok_or_else(|| "a time is expected".to_owned())
}

fn limits() -> Limits {
    Limits::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for odd in ["", "m", "-1", "1w", "ten", "2d", "99999999999999999999"] {
            assert!(duration(odd).is_err(), "{odd}");
        }
    }

    /// A program whose own flags are global, and whose command line is built by hand, mounts the verbs as they are.
    #[test]
    fn the_verbs_can_be_mounted_anywhere() {
        use clap::{Arg, ArgAction, Args as _, Command, FromArgMatches as _};
        let flag = |name: &'static str| Arg::new(name).long(name).global(true).action(ArgAction::SetTrue);
        let server = ServerArgs::augment_args(Command::new("server"));
        let program = Command::new("x").args([flag("json"), flag("quiet")]).subcommand(server);
        program.clone().debug_assert();
        for line in
            ["x --json server status --graph g", "x server status --graph g --json", "x server --json status --graph g"]
        {
            let matches = program.clone().try_get_matches_from(line.split(' ')).unwrap();
            let args = ServerArgs::from_arg_matches(matches.subcommand_matches("server").unwrap()).unwrap();
            let Verb::Status(status) = args.verb else { panic!() };
            assert!(status.common.json && status.common.graph.as_deref() == Some("g"), "{line}");
        }
    }

    #[test]
    fn owners_are_known_words() {
        assert_eq!(owner("electron"), Ok(Owner::Desktop));
        assert_eq!(owner("unknown"), Ok(Owner::Unknown));
        assert!(owner("pirate").is_err());
    }
}
