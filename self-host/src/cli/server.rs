//! `logseq-sync server …` (self-host.md 5): the verbs of the daemons' crate, with this program's configuration and checks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use daemon_lifecycle::registry::Registry;
use daemon_lifecycle::verbs::{self, ServerArgs, Surroundings, Verb};

use super::failure::{Failure, exit};
use super::{Outcome, doctor, flags};
use crate::config::{Config, Problem, Resolved};

/// The verbs.
pub(super) fn command() -> Command {
    ServerArgs::augment_args(Command::new("server").about("Start, find and stop the server of a data directory"))
}

/// Runs one.
pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let args = ServerArgs::from_arg_matches(matches).map_err(Failure::usage)?;
    let (resolved, problems) = match &args.verb {
        Verb::Start(start) | Verb::Restart(start) => configuration(named_file(&start.serve).as_deref()),
        _ => configuration(None),
    };
    let program = crate::daemon::program().map_err(|error| Failure::new("io", exit::IO, error))?;
    let around = Surroundings {
        program: &program,
        data_dir: &Config::data_dir(&resolved),
        registry: Registry::of_user(),
        checks: &|scope, asked| doctor::checks(scope, &resolved, &problems, &program, &asked.base_url),
    };
    Ok(ExitCode::from(verbs::run(&args, &around, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())))
}

/// What environment and file say. What is wrong with them concerns `doctor`, and the server that reads them itself.
fn configuration(file: Option<&Path>) -> (Resolved, Vec<Problem>) {
    match flags::gathered(&BTreeMap::new(), file) {
        Ok(resolved) => (resolved, Vec::new()),
        Err(wrong) => wrong,
    }
}

/// The configuration file that flags of `serve` name: the data directory may stand in it.
fn named_file(flags: &[OsString]) -> Option<PathBuf> {
    let place = flags.iter().rposition(|flag| flag == "--config" || flag.to_string_lossy().starts_with("--config="))?;
    let flag = flags.get(place)?.to_string_lossy().into_owned();
    match flag.strip_prefix("--config=") {
        Some(path) => Some(path.into()),
        None => flags.get(place + 1).map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_serve_would_read_is_found() {
        let named = |line: &str| named_file(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(named("--port 0 --config a.toml"), Some("a.toml".into()));
        assert_eq!(named("--config=b.toml --port 0"), Some("b.toml".into()));
        assert_eq!(named("--port 0"), None);
        assert_eq!(named("--config"), None);
    }
}
