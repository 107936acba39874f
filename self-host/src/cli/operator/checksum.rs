//! `checksum`: what a graph says its checksum is, and what it is (sync.md 12, 16).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use graph::rules::checksum;
use serde_json::{Value, json};

use super::copy::{copy, unreadable};
use super::ledger::looked_at;
use super::target::{GRAPHS, Target, choose, with_target};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::store::graph_folder;

/// The verb.
pub(super) fn command() -> Command {
    let verb = |name: &'static str, about: &'static str| {
        with_target(Command::new(name).about(about), GRAPHS).args([
            Arg::new("db").long("db").value_name("FILE").help("the database file of a graph, a client's too"),
            Arg::new("graph-id").long("graph-id").value_name("ID").help("the graph"),
        ])
    };
    Command::new("checksum").about("Checksums of graphs").subcommand_required(true).subcommands([
        verb("show", "Show the stored and the recomputed checksum"),
        verb("recompute", "Show the recomputed checksum alone"),
        verb("verify", "Say whether both are equal: exit 1 where they are not"),
        verb(
            "drift",
            "Replay the log from an empty graph, to where the checksum went wrong; of use where nothing was uploaded",
        )
        .arg(Arg::new("diff-out").long("diff-out").value_name("FILE").help("write all blocks that differ, as JSON")),
        Command::new("log")
            .about("Replay a transaction that upstream's server logged because of its checksum")
            .arg(Arg::new("log").long("log").value_name("FILE").required(true).help("the line, alone in a file")),
    ])
}

/// What a graph says and is.
pub(super) struct Sums {
    /// Where it was read.
    pub(super) place: String,
    /// Datoms, where they could be counted.
    pub(super) datoms: Option<usize>,
    /// Transactions so far.
    pub(super) t: i64,
    /// What is stored; none before the first transaction or upload.
    pub(super) stored: Option<String>,
    /// What it is.
    pub(super) recomputed: String,
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let Some((verb, matches)) = matches.subcommand() else { return Err(Failure::usage("a verb is missing")) };
    match verb {
        "drift" => return super::drift::run(matches, output),
        "log" => return super::checksum_log::run(matches, output),
        _ => {}
    }
    let sums = of_file(&file_of(matches, output)?)?;
    let equal = sums.stored.as_ref().is_none_or(|stored| *stored == sums.recomputed);
    let data = json!({
        "path": sums.place,
        "datoms": sums.datoms,
        "t": sums.t,
        "checksum": sums.stored,
        "recomputed": sums.recomputed,
        "equal": sums.stored.as_ref().map(|_| equal),
    });
    match verb {
        "recompute" => output.result(&data, &sums.recomputed),
        _ => output.result(&data, &words(&data)),
    }
    Ok(if equal || verb != "verify" { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// Fields, a line each.
pub(super) fn words(data: &Value) -> String {
    let fields = data.as_object().into_iter().flatten();
    let words: Vec<String> = fields
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            Value::Null => format!("{name}: -"),
            other => format!("{name}: {other}"),
        })
        .collect();
    words.join("\n")
}

/// The database file that flags name: itself, or by its graph in a data directory.
pub(super) fn file_of(matches: &ArgMatches, output: Output) -> Result<PathBuf, Failure> {
    match (text(matches, "db"), text(matches, "graph-id")) {
        (Some(path), None) => Ok(path.into()),
        (None, Some(graph_id)) => match choose(matches, output)?.0 {
            Target::Data(path) => {
                let data = looked_at(&path)?;
                let file = data.graph(&graph_folder(&graph_id)).join("db.sqlite");
                if file.is_file() { Ok(file) } else { Err(super::graphs::not_found(&graph_id)) }
            }
            Target::Server(_) | Target::D1(..) => {
                Err(Failure::usage("the database file lies on the server: run this there"))
            }
        },
        _ => Err(Failure::usage("pass exactly one of --db or --graph-id")),
    }
}

/// Looks at a database file.
pub(super) fn of_file(path: &Path) -> Result<Sums, Failure> {
    let mut copied = copy(path)?;
    let failed = unreadable(path);
    let position = copied.graph.position().map_err(&failed)?;
    let db = copied.graph.db().map_err(&failed)?;
    let recomputed = checksum::full(db).map_err(|error| failed(error.into()))?.to_string();
    let datoms = Some(db.count());
    Ok(Sums { place: path.display().to_string(), datoms, t: position.t, stored: position.checksum, recomputed })
}
