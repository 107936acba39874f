//! `gc` and `checkpoint`: what is done with whole graphs, beside a running server or without one (self-host.md 7.2).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command};
use database::local_sqlite::{Rusqlite, Synchronous};
use graph::{Graph, Options};
use rusqlite::Connection;
use serde_json::json;

use super::ledger::{existing, lock};
use super::progress::Progress;
use super::repair::{graph_ids, moment};
use super::surface::Surface;
use super::target::{Takes, Target, choose, with_target};
use super::verify::file_of;
use crate::cli::Outcome;
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::graphs::{Done, Task};
use crate::host::now_ms;
use crate::store::{DataDir, graph_folder};

/// `gc`.
pub(super) fn gc_command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = Command::new("gc").about("Free rows of graphs that nothing reaches; a server goes on");
    with_target(command, Takes::default()).args([
        Arg::new("graph-id").long("graph-id").value_name("ID").help("this graph alone"),
        flag("vacuum", "also give the space back to the file system: clients of the graph wait meanwhile"),
        flag("dry-run", "only say what would be done"),
    ])
}

/// `checkpoint`.
pub(super) fn checkpoint_command() -> Command {
    let upstream = Arg::new("for-upstream").long("for-upstream").action(ArgAction::SetTrue);
    let command = Command::new("checkpoint")
        .about("Write what waits in the journals, and leave one file of each graph and of the index, without a log");
    with_target(command, Takes::default())
        .arg(upstream.help("also turn the write-ahead log off, as upstream's Node adapter has it: no server may run"))
}

/// Runs `gc`.
pub(super) async fn gc(matches: &ArgMatches, output: Output) -> Outcome {
    let (dry, vacuum) = (matches.get_flag("dry-run"), matches.get_flag("vacuum"));
    let (target, resolved) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("this works on a data directory")) };
    let ids = graph_ids(&existing(path)?, matches).await?;
    let surface = Surface::open(&target, &resolved)?;
    let mut progress = Progress::new(output, "gc");
    let moment = moment();
    let (mut told, mut words) = (Vec::new(), Vec::new());
    for (done, graph_id) in ids.iter().enumerate() {
        progress.at(done as u64, Some(ids.len() as u64), "graphs");
        let task = Task::Gc { apply: !dry, vacuum };
        let done = surface.care(&graph_folder(graph_id), &moment, task).await?;
        let Some(Done::Gc { rows, deleted, bytes_before, bytes_after, ms }) = done else { continue };
        told.push(json!({
            "graph_id": graph_id, "rows": rows, "deleted": deleted, "bytes_before": bytes_before,
            "bytes_after": bytes_after, "ms": ms,
        }));
        words.push(format!("{graph_id}: {deleted} of {rows} rows, {bytes_before} -> {bytes_after} bytes"));
    }
    drop(progress);
    words.push(format!("Count: {}", told.len()));
    output.result(&json!({ "graphs": told, "dry_run": dry }), &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// Runs `checkpoint`.
pub(super) async fn checkpoint(matches: &ArgMatches, output: Output) -> Outcome {
    let begun = Instant::now();
    let upstream = matches.get_flag("for-upstream");
    let (target, resolved) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("this works on a data directory")) };
    let data = existing(path)?;
    let ids = graph_ids(&data, matches).await?;
    if upstream {
        // Whoever has a database open keeps its log on.
        let held = lock(&data)?.ok_or_else(|| super::repair::runs(&data))?;
        ids.iter().map(|id| file_of(&data, id)).filter(|path| path.is_file()).try_for_each(|path| settle(&path))?;
        databases(&data, &ids).try_for_each(|path| finish(&path, true))?;
        drop(held);
    } else {
        let surface = Surface::open(&target, &resolved)?;
        for graph_id in &ids {
            surface.care(&graph_folder(graph_id), &moment(), Task::Checkpoint).await?;
        }
        // Graphs have none any more.
        databases(&data, &[]).try_for_each(|path| finish(&path, false))?;
    }
    let done = databases(&data, &ids).count();
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.result(&json!({ "graphs": ids.len(), "files": done, "ms": ms }), &format!("{} graphs", ids.len()));
    Ok(ExitCode::SUCCESS)
}

/// The files of some graphs, of the index and of stored users, as far as they are there.
fn databases(data: &DataDir, ids: &[String]) -> impl Iterator<Item = PathBuf> {
    let graphs: Vec<PathBuf> = ids.iter().map(|id| file_of(data, id)).collect();
    graphs.into_iter().chain([data.index(), data.users()]).filter(|path| path.is_file())
}

/// Writes all nodes that wait in the journal, and deletes what uploads have replaced: the rows alone are the graph then.
fn settle(path: &Path) -> Result<(), Failure> {
    let failed = super::copy::unreadable(path);
    let sql = Rusqlite::open(path, Synchronous::Full).map_err(|error| failed(error.into()))?;
    let mut graph = Graph::new(sql, now_ms, Options::DEFAULT);
    graph.checkpoint().map_err(&failed)?;
    // Each step deletes something.
    while graph.sweep().map_err(&failed)? {}
    Ok(())
}

/// Empties the log of a database, or turns it off.
fn finish(path: &Path, upstream: bool) -> Result<(), Failure> {
    let failed = |error: rusqlite::Error| Failure::new("io", exit::IO, format!("{}: {error}", path.display()));
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(super::ledger::BUSY).map_err(failed)?;
    connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).map_err(failed)?;
    if upstream {
        connection.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    }
    Ok(())
}
