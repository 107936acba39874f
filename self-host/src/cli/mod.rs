//! The command line (self-host.md 1): verbs, their flags, their results and exit codes.

mod certificate;
mod doctor;
mod duration;
mod failure;
mod flags;
mod health;
mod operator;
mod output;
mod pinned;
mod quickstart;
mod reach;
mod serve;
mod server;
mod user;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use daemon_lifecycle::verbs;

use failure::Failure;
use output::Output;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from.
pub(crate) const REVISION: &str = env!("LOGSEQ_SYNC_REVISION");

/// What becomes of a verb.
type Outcome = Result<ExitCode, Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    failure::end_at_panics();
    // Files are private, whatever the shell says.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let matches = match command().try_get_matches_from(verbs::arrange(std::env::args_os())) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let Some((verb, matches)) = matches.subcommand() else { return ExitCode::from(failure::exit::USAGE) };
    let output = Output { json: matches.get_flag("json"), quiet: matches.get_flag("quiet") };
    let outcome = match verb {
        "serve" => serve::run(matches, output),
        "quickstart" => quickstart::run(matches, output),
        "user" => user::run(matches, output),
        "server" => server::run(matches),
        "health" => health::run(matches, output),
        verb => operator::run(verb, matches, output).unwrap_or_else(|| Err(Failure::usage("there is no such verb"))),
    };
    outcome.unwrap_or_else(|failure| output.failure(&failure))
}

/// Help and version are results; anything else is told as every failure is.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default().to_owned();
        return Output { json: true, quiet: true }.failure(&Failure::usage(text));
    }
    // A terminal that is gone changes nothing.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { failure::exit::USAGE } else { 0 })
}

fn command() -> Command {
    let json = Arg::new("json").long("json").global(true).action(ArgAction::SetTrue).help("one object for machines");
    let quiet = Arg::new("quiet").long("quiet").global(true).action(ArgAction::SetTrue).help("nothing but the result");
    Command::new("logseq-sync")
        .version(VERSION)
        .about("The sync server for Logseq graphs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args([json, quiet])
        .subcommands([serve::command(), quickstart::command(), server::command(), user::command(), health::command()])
        .subcommands(operator::commands())
}

/// A flag's text.
fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
