//! Confirmation of what cannot be undone: it is typed, or said with `--yes`.

use std::io::{BufRead as _, IsTerminal as _};

use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;

/// The flag that takes the place of typing.
pub(super) fn yes() -> Arg {
    Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("do not ask; needed where nobody can be asked")
}

/// Goes on when the operator types `word`. Where there is no terminal to type it at, only `--yes` does.
pub(super) fn confirm(matches: &ArgMatches, output: Output, what: &str, word: &str) -> Result<(), Failure> {
    if matches.get_flag("yes") {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::new("confirmation-required", exit::USAGE, what).with_hint("nobody can be asked here: say --yes")
        );
    }
    // Asked whatever --quiet says: without the question nobody would know what to type.
    Output { quiet: false, ..output }.note(&format!("{what}\nType {word} to go on:"));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new("io", exit::IO, error))?;
    if line.trim() == word { Ok(()) } else { Err(Failure::new("not-confirmed", exit::FAILED, "nothing was changed")) }
}
