//! `repair` and `gc`: what can be put right in a data directory that no server runs on (self-host.md 7.2). Nothing is ever
//! deleted by a repair: what is in the way is moved into `quarantine/`, and what is changed is copied there first.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use database::local_sqlite::{Rusqlite, Synchronous};
use graph::{Graph, Options};
use index::operator::{self, instant};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::at;
use super::copy::beside;
use super::graphs::not_found;
use super::ledger::{Ledger, Locked, existing, lock};
use super::progress::Progress;
use super::salvage::salvage;
use super::target::{Takes, Target, choose, with_target};
use super::verify::{file_of, integrity};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::host::now_ms;
use crate::store::{DataDir, META, asset_folder, graph_folder};

/// `repair`.
pub(super) fn command() -> Command {
    let command = Command::new("repair").about("Put right what can be; without --apply only say what would be done");
    let what = PossibleValuesParser::new(["checksum", "index", "assets", "uploads", "graph-db", "index-db"]);
    with_target(command, Takes::default()).args([
        Arg::new("what").value_name("WHAT").required(true).value_parser(what).help("what is to be put right"),
        Arg::new("graph-id").long("graph-id").value_name("ID").help("this graph alone"),
        Arg::new("apply").long("apply").action(ArgAction::SetTrue).help("do it"),
    ])
}

/// `gc`.
pub(super) fn gc_command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = Command::new("gc").about("Free rows of graphs that nothing reaches");
    with_target(command, Takes::default()).args([
        Arg::new("graph-id").long("graph-id").value_name("ID").help("this graph alone"),
        flag("vacuum", "also give the space back to the file system"),
        flag("dry-run", "only say what would be done"),
    ])
}

/// `checkpoint`.
pub(super) fn checkpoint_command() -> Command {
    let upstream = Arg::new("for-upstream").long("for-upstream").action(ArgAction::SetTrue);
    let command = Command::new("checkpoint")
        .about("Write what waits in the journals, and leave one file of each graph and of the index, without a log");
    with_target(command, Takes::default())
        .arg(upstream.help("also turn the write-ahead log off, as upstream's Node adapter has it"))
}

/// What a repair does, or would do.
struct Action {
    what: &'static str,
    path: PathBuf,
    before: Value,
    after: Value,
    done: bool,
}

/// A data directory that nobody else has.
struct Own {
    data: DataDir,
    held: Locked,
}

fn own(matches: &ArgMatches, output: Output) -> Result<Own, Failure> {
    let (target, _) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("this works on a data directory")) };
    let data = existing(path)?;
    let held = lock(&data)?.ok_or_else(|| {
        Failure::new("repo-locked", exit::LOCKED, format!("a server runs on {}", data.root().display()))
            .with_hint("stop it first: `logseq-sync server stop`")
    })?;
    Ok(Own { data, held })
}

/// The graphs that a verb works on.
async fn graphs(own: Own, matches: &ArgMatches) -> Result<(Own, Vec<String>), Failure> {
    // The index takes the lock itself.
    let Own { data, held } = own;
    drop(held);
    let ledger = Ledger::of(&data)?;
    // Not every verb has the flag.
    let only = matches.try_get_one::<String>("graph-id").ok().flatten().cloned();
    let listed = operator::graphs(&ledger, only.as_deref()).await?;
    drop(ledger);
    if let (Some(only), true) = (&only, listed.is_empty()) {
        return Err(not_found(only));
    }
    let held =
        lock(&data)?.ok_or_else(|| Failure::new("repo-locked", exit::LOCKED, "a server was started meanwhile"))?;
    Ok((Own { data, held }, listed.into_iter().map(|graph| graph.graph_id).collect()))
}

/// A graph's own file, opened to be changed.
fn open(path: &Path) -> Result<Graph<Rusqlite>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new("graph-damaged", exit::FAILED, format!("{}: {error}", path.display()))
            .with_hint("`logseq-sync repair graph-db` saves what can be read")
    };
    let sql = Rusqlite::open(path, Synchronous::Full).map_err(|error| failed(&error))?;
    Ok(Graph::new(sql, now_ms, Options::DEFAULT))
}

/// Moves what is in the way, or copies what is about to be changed, into a folder of this moment.
struct Quarantine {
    folder: PathBuf,
    root: PathBuf,
}

impl Quarantine {
    fn of(data: &DataDir) -> Self {
        let folder = data.root().join("quarantine").join(instant(now_ms()).replace(':', ""));
        Self { folder, root: data.root().to_owned() }
    }

    fn place(&self, path: &Path) -> Result<PathBuf, Failure> {
        let place = self.folder.join(path.strip_prefix(&self.root).unwrap_or(path));
        if let Some(folder) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        }
        Ok(place)
    }

    fn take(&self, path: &Path) -> Result<PathBuf, Failure> {
        let place = self.place(path)?;
        std::fs::rename(path, &place).map_err(at(path))?;
        Ok(place)
    }

    /// A database with what lies beside it.
    fn copy(&self, path: &Path) -> Result<PathBuf, Failure> {
        for end in ["-wal", "-shm"] {
            let more = beside(path, end);
            if more.is_file() {
                std::fs::copy(&more, self.place(&more)?).map_err(at(&more))?;
            }
        }
        let place = self.place(path)?;
        std::fs::copy(path, &place).map_err(at(path))?;
        Ok(place)
    }
}

/// Runs `repair`.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let apply = matches.get_flag("apply");
    let what = text(matches, "what").unwrap_or_default();
    let own = own(matches, output)?;
    let quarantine = Quarantine::of(&own.data);
    let actions = match what.as_str() {
        "checksum" => checksums(graphs(own, matches).await?, &quarantine, apply)?,
        "index" => rows_and_files(graphs(own, matches).await?, &quarantine, apply)?,
        "assets" => assets(graphs(own, matches).await?, &quarantine, apply)?,
        "uploads" => uploads(graphs(own, matches).await?, apply)?,
        "graph-db" => graph_files(&own.data, text(matches, "graph-id").as_deref(), &quarantine, apply)?,
        _ => index_file(&own.data, &quarantine, apply)?,
    };
    let told: Vec<Value> = actions
        .iter()
        .map(|it| json!({ "what": it.what, "path": it.path, "before": it.before, "after": it.after, "done": it.done }))
        .collect();
    let state = |done: bool| if done { "done" } else { "would be done" };
    let mut words: Vec<String> = actions
        .iter()
        .map(|it| format!("{} ({}): {}: {} -> {}", it.what, state(it.done), it.path.display(), it.before, it.after))
        .collect();
    if words.is_empty() {
        words.push("there is nothing to repair".into());
    } else if !apply {
        output.note("hint: nothing was changed; --apply does it");
    }
    output.result(&json!({ "actions": told, "applied": apply }), &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// Graphs whose files are there, and the files.
fn files(own: &Own, ids: Vec<String>) -> impl Iterator<Item = (String, PathBuf)> {
    let place = |id: String| (file_of(&own.data, &id), id);
    ids.into_iter().map(place).filter(|(path, _)| path.is_file()).map(|(path, id)| (id, path))
}

fn damaged(graph_id: &str, error: &graph::Error) -> Failure {
    Failure::new("graph-damaged", exit::FAILED, format!("{graph_id}: {error}"))
}

fn checksums((own, ids): (Own, Vec<String>), quarantine: &Quarantine, apply: bool) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    for (graph_id, path) in files(&own, ids) {
        let failed = |error| damaged(&graph_id, &error);
        let Some((before, after)) = open(&path)?.correct_checksum(false).map_err(failed)? else { continue };
        if apply {
            quarantine.copy(&path)?;
            open(&path)?.correct_checksum(true).map_err(failed)?;
        }
        actions.push(Action { what: "checksum", path, before: before.into(), after: after.into(), done: apply });
    }
    Ok(actions)
}

/// Rows without files are told; files without rows go into quarantine.
fn rows_and_files(
    (own, ids): (Own, Vec<String>),
    quarantine: &Quarantine,
    apply: bool,
) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    let known: std::collections::BTreeSet<String> = ids.iter().map(|id| graph_folder(id)).collect();
    for (what, folder, names) in [
        ("graph-without-row", own.data.graph(""), known.clone()),
        ("assets-without-row", own.data.assets(), ids.iter().map(|id| name_of(&asset_folder(&own.data, id))).collect()),
    ] {
        for entry in folder.read_dir().map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            if names.contains(&name_of(&path)) {
                continue;
            }
            let after = if apply { json!(quarantine.take(&path)?) } else { json!("quarantine") };
            actions.push(Action { what, path, before: json!("no row in the index"), after, done: apply });
        }
    }
    Ok(actions)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Files that no graph names, and what is said of files that are not there.
fn assets((own, ids): (Own, Vec<String>), quarantine: &Quarantine, apply: bool) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    for graph_id in ids {
        let folder = asset_folder(&own.data, &graph_id);
        for entry in folder.read_dir().into_iter().flatten() {
            let path = entry.map_err(at(&folder))?.path();
            let name = name_of(&path);
            // Texts that were moved out of blocks are named by the blocks' titles alone: only what belongs to nothing goes.
            let Some(of) = name.strip_suffix(META).filter(|of| !folder.join(of).exists()) else {
                let meta = beside(&path, META);
                if !name.ends_with(META) && path.is_file() && !meta.exists() {
                    let text = json!({ "contentType": null, "contentEncoding": null, "cacheControl": null, "customMetadata": {} });
                    if apply {
                        std::fs::write(&meta, text.to_string()).map_err(at(&meta))?;
                    }
                    actions.push(Action {
                        what: "meta-missing",
                        path: meta,
                        before: Value::Null,
                        after: text,
                        done: apply,
                    });
                }
                continue;
            };
            let before = json!(format!("{of} is not there"));
            let after = if apply { json!(quarantine.take(&path)?) } else { json!("quarantine") };
            actions.push(Action { what: "meta-orphan", path, before, after, done: apply });
        }
    }
    Ok(actions)
}

/// Uploads that nobody goes on with: whoever opens their graph gives them up.
fn uploads((own, ids): (Own, Vec<String>), apply: bool) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    for (graph_id, path) in files(&own, ids) {
        let failed = |error| damaged(&graph_id, &error);
        let mut graph = open(&path)?;
        if graph.is_uploading().map_err(failed)? {
            if apply {
                graph.give_up_upload().map_err(failed)?;
            }
            let (before, after) = (json!("an upload runs"), json!("the graph is open as it was"));
            actions.push(Action { what: "upload", path, before, after, done: apply });
        }
    }
    Ok(actions)
}

/// Graphs whose files are damaged: what can be read goes into a new file.
fn graph_files(
    data: &DataDir,
    only: Option<&str>,
    quarantine: &Quarantine,
    apply: bool,
) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    let root = data.graph("");
    let wanted = only.map(graph_folder);
    for entry in root.read_dir().map_err(at(&root))? {
        let folder = entry.map_err(at(&root))?.path();
        if wanted.as_ref().is_some_and(|wanted| name_of(&folder) != *wanted) {
            continue;
        }
        let path = folder.join("db.sqlite");
        if path.is_file() {
            actions.extend(salvaged("graph-db", &path, quarantine, apply)?);
        }
    }
    Ok(actions)
}

fn index_file(data: &DataDir, quarantine: &Quarantine, apply: bool) -> Result<Vec<Action>, Failure> {
    Ok(salvaged("index-db", &data.index(), quarantine, apply)?.into_iter().collect())
}

/// Makes a new file of what can be read of a damaged one, whose place it takes.
fn salvaged(what: &'static str, path: &Path, quarantine: &Quarantine, apply: bool) -> Result<Option<Action>, Failure> {
    let Err(why) = integrity(path)? else { return Ok(None) };
    let draft = beside(path, ".salvaged");
    let _ = std::fs::remove_file(&draft);
    let saved = salvage(path, &draft);
    let after = match &saved {
        Ok(saved) => json!({ "rows": saved.rows, "lost_parts": saved.lost }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    let done = apply && saved.is_ok();
    if done {
        quarantine.copy(path)?;
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(path, end));
        }
        std::fs::rename(&draft, path).map_err(at(path))?;
    } else {
        let _ = std::fs::remove_file(&draft);
    }
    Ok(Some(Action { what, path: path.to_owned(), before: why.into(), after, done }))
}

/// Runs `gc`.
pub(super) async fn gc(matches: &ArgMatches, output: Output) -> Outcome {
    let (dry, vacuum) = (matches.get_flag("dry-run"), matches.get_flag("vacuum"));
    let (own, ids) = graphs(own(matches, output)?, matches).await?;
    let mut progress = Progress::new(output, "gc");
    let (mut told, mut words) = (Vec::new(), Vec::new());
    for (done, graph_id) in ids.iter().enumerate() {
        progress.at(done as u64, Some(ids.len() as u64), "graphs");
        let path = file_of(&own.data, graph_id);
        if !path.is_file() {
            continue;
        }
        let begun = Instant::now();
        let size = || path.metadata().map_or(0, |meta| meta.len());
        let before = size();
        let failed = |error: graph::Error| Failure::new("graph-damaged", exit::FAILED, format!("{graph_id}: {error}"));
        let mut graph = open(&path)?;
        if graph.is_deleted().map_err(failed)? || graph.is_uploading().map_err(failed)? {
            continue;
        }
        let freed = graph.free_rows(!dry).map_err(failed)?;
        drop(graph);
        if vacuum && !dry {
            compact(&path, true)?;
        }
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        told.push(json!({
            "graph_id": graph_id, "rows": freed.rows, "deleted": freed.deleted, "bytes_before": before,
            "bytes_after": size(), "ms": ms,
        }));
        words.push(format!("{graph_id}: {} of {} rows, {before} -> {} bytes", freed.deleted, freed.rows, size()));
    }
    drop(progress);
    words.push(format!("Count: {}", told.len()));
    output.result(&json!({ "graphs": told, "dry_run": dry }), &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn compact(path: &Path, vacuum: bool) -> Result<(), Failure> {
    let failed = |error: rusqlite::Error| Failure::new("io", exit::IO, format!("{}: {error}", path.display()));
    let connection = Connection::open(path).map_err(failed)?;
    if vacuum {
        connection.execute_batch("VACUUM").map_err(failed)?;
    }
    connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).map_err(failed)
}

/// Writes all nodes that wait in the journal, and deletes what uploads have replaced: the rows alone are the graph then.
fn settle(path: &Path) -> Result<(), Failure> {
    let failed = super::copy::unreadable(path);
    let mut graph = open(path)?;
    graph.checkpoint().map_err(&failed)?;
    // Each step deletes something.
    while graph.sweep().map_err(&failed)? {}
    Ok(())
}

/// Runs `checkpoint`.
pub(super) async fn checkpoint(matches: &ArgMatches, output: Output) -> Outcome {
    let begun = Instant::now();
    let upstream = matches.get_flag("for-upstream");
    let (own, ids) = graphs(own(matches, output)?, matches).await?;
    let mut done = 0;
    for path in ids.iter().map(|id| file_of(&own.data, id)).filter(|path| path.is_file()) {
        settle(&path)?;
    }
    let files = ids.iter().map(|id| file_of(&own.data, id)).chain([own.data.index(), own.data.users()]);
    for path in files.filter(|path| path.is_file()) {
        compact(&path, false)?;
        if upstream {
            let failed = |error: rusqlite::Error| Failure::new("io", exit::IO, format!("{}: {error}", path.display()));
            let connection = Connection::open(&path).map_err(failed)?;
            connection.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
        }
        done += 1;
    }
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.result(&json!({ "graphs": ids.len(), "files": done, "ms": ms }), &format!("{} graphs", ids.len()));
    Ok(ExitCode::SUCCESS)
}
