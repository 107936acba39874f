//! `repair`: what can be put right in a data directory, beside a running server or without one (self-host.md 7.2). Nothing is ever
//! deleted by a repair: what is in the way is moved into `quarantine/`, and what is changed is copied there first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use index::operator::{self, instant};
use serde_json::{Value, json};

use super::at;
use super::graphs::not_found;
use super::ledger::{Ledger, existing, lock};
use super::surface::Surface;
use super::target::{Takes, Target, choose, with_target};
use super::verify::{file_of, integrity};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::graphs::{Done, Task};
use crate::host::now_ms;
use crate::store::{DataDir, META, Quarantine, asset_folder, beside, graph_folder, renew};

/// What is said of an asset comes before the asset itself; one that is younger may still come.
const UPLOADING: Duration = Duration::from_hours(1);

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

/// What a repair does, or would do.
struct Action {
    what: &'static str,
    path: PathBuf,
    before: Value,
    after: Value,
    done: bool,
}

/// This moment, as the name of a folder.
pub(super) fn moment() -> String {
    instant(now_ms()).replace(':', "")
}

/// A server has the data directory, and what is asked needs it alone.
pub(super) fn runs(data: &DataDir) -> Failure {
    Failure::new("repo-locked", exit::LOCKED, format!("a server runs on {}", data.root().display()))
        .with_hint("stop it first: `logseq-sync server stop`")
}

/// The graphs that a verb works on.
pub(super) async fn graph_ids(data: &DataDir, matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let ledger = Ledger::of(data)?;
    // Not every verb has the flag.
    let only = matches.try_get_one::<String>("graph-id").ok().flatten().cloned();
    let listed = operator::graphs(&ledger, only.as_deref()).await?;
    match only {
        Some(only) if listed.is_empty() => Err(not_found(&only)),
        _ => Ok(listed.into_iter().map(|graph| graph.graph_id).collect()),
    }
}

/// A repair that is under way.
struct Repair<'a> {
    data: DataDir,
    surface: &'a Surface,
    moment: String,
    apply: bool,
    actions: Vec<Action>,
}

/// Runs `repair`.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let apply = matches.get_flag("apply");
    let what = text(matches, "what").unwrap_or_default();
    let (target, resolved) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("this works on a data directory")) };
    let data = existing(path)?;
    let actions = if what == "index-db" {
        index_file(&data, apply)?
    } else {
        let surface = Surface::open(&target, &resolved)?;
        let mut repair = Repair { data, surface: &surface, moment: moment(), apply, actions: Vec::new() };
        match what.as_str() {
            "checksum" | "uploads" => repair.graphs(&what, matches).await?,
            "index" => repair.rows_and_files(matches).await?,
            "assets" => repair.assets(matches).await?,
            _ => repair.files(text(matches, "graph-id").as_deref()).await?,
        }
        repair.actions
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

impl Repair<'_> {
    fn add(&mut self, what: &'static str, path: PathBuf, before: Value, after: Value) {
        self.actions.push(Action { what, path, before, after, done: self.apply });
    }

    fn quarantine(&self) -> Result<Quarantine, Failure> {
        let bug = || Failure::new("internal", exit::BUG, "the moment is no name");
        Quarantine::of(&self.data, &self.moment).ok_or_else(bug)
    }

    /// Checksums that are not those of the rows, and uploads that nobody goes on with.
    async fn graphs(&mut self, what: &str, matches: &ArgMatches) -> Result<(), Failure> {
        let apply = self.apply;
        for graph_id in graph_ids(&self.data, matches).await? {
            let task = if what == "uploads" { Task::Upload { apply } } else { Task::Checksum { apply } };
            let path = file_of(&self.data, &graph_id);
            match self.surface.care(&graph_folder(&graph_id), &self.moment, task).await? {
                Some(Done::Checksum { before, after }) => self.add("checksum", path, before.into(), after.into()),
                Some(Done::Upload) => {
                    self.add("upload", path, json!("an upload runs"), json!("the graph is open as it was"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Files without rows go into quarantine. The files are looked at first: of one that comes meanwhile the row was there before.
    async fn rows_and_files(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        let (graphs, assets) = (folders(&self.data.graph(""))?, folders(&self.data.assets())?);
        let ids = graph_ids(&self.data, matches).await?;
        let known: BTreeSet<String> = ids.iter().map(|id| graph_folder(id)).collect();
        for path in graphs.into_iter().filter(|path| !known.contains(&name_of(path))) {
            let mut after = json!("quarantine");
            if self.apply {
                let done = self.surface.care(&name_of(&path), &self.moment, Task::SetAside).await?;
                let Some(Done::SetAside { to }) = done else { continue };
                after = json!(to);
            }
            self.add("graph-without-row", path, json!("no row in the index"), after);
        }
        let known: BTreeSet<String> = ids.iter().map(|id| name_of(&asset_folder(&self.data, id))).collect();
        for path in assets.into_iter().filter(|path| !known.contains(&name_of(path))) {
            let after = self.taken(&path)?;
            self.add("assets-without-row", path, json!("no row in the index"), after);
        }
        Ok(())
    }

    fn taken(&self, path: &Path) -> Result<Value, Failure> {
        Ok(if self.apply { json!(self.quarantine()?.take(path).map_err(at(path))?) } else { json!("quarantine") })
    }

    /// Files that nothing is said of, and what is said of files that are not there.
    async fn assets(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        for graph_id in graph_ids(&self.data, matches).await? {
            let folder = asset_folder(&self.data, &graph_id);
            for entry in folder.read_dir().into_iter().flatten() {
                let path = entry.map_err(at(&folder))?.path();
                let name = name_of(&path);
                // Texts that were moved out of blocks are named by the blocks' titles alone: only what belongs to nothing goes.
                if let Some(of) = name.strip_suffix(META) {
                    if !folder.join(of).exists() && is_old(&path) {
                        let after = self.taken(&path)?;
                        self.add("meta-orphan", path, json!(format!("{of} is not there")), after);
                    }
                    continue;
                }
                let meta = beside(&path, META);
                if path.is_file() && !meta.exists() {
                    let text = json!({ "contentType": null, "contentEncoding": null, "cacheControl": null, "customMetadata": {} });
                    if self.apply {
                        std::fs::write(&meta, text.to_string()).map_err(at(&meta))?;
                    }
                    self.add("meta-missing", meta, Value::Null, text);
                }
            }
        }
        Ok(())
    }

    /// Graphs whose files are damaged: what can be read goes into a new file.
    async fn files(&mut self, only: Option<&str>) -> Result<(), Failure> {
        let wanted = only.map(graph_folder);
        let apply = self.apply;
        for folder in folders(&self.data.graph(""))? {
            let name = name_of(&folder);
            if wanted.as_ref().is_some_and(|wanted| name != *wanted) {
                continue;
            }
            let done = self.surface.care(&name, &self.moment, Task::Salvage { apply }).await?;
            if let Some(Done::Salvaged { why, rows, lost }) = done {
                let after = json!({ "rows": rows, "lost_parts": lost });
                self.add("graph-db", folder.join("db.sqlite"), why.into(), after);
            }
        }
        Ok(())
    }
}

/// What lies in a folder.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = folder.read_dir().map_err(at(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(at(folder))).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether nobody is about to bring what belongs to it.
fn is_old(path: &Path) -> bool {
    let written = path.metadata().and_then(|meta| meta.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > UPLOADING))
}

/// The index, which a server that starts opens before anything else: it is repaired under the lock.
fn index_file(data: &DataDir, apply: bool) -> Result<Vec<Action>, Failure> {
    let held = lock(data)?.ok_or_else(|| runs(data))?;
    let path = data.index();
    let Err(why) = integrity(&path)? else { return Ok(Vec::new()) };
    let quarantine = Quarantine::of(data, &moment());
    let renewed = renew(&path, quarantine.as_ref().filter(|_| apply));
    drop(held);
    let done = apply && renewed.is_ok();
    let after = match renewed {
        Ok(saved) => json!({ "rows": saved.rows, "lost_parts": saved.lost }),
        Err(error) => json!({ "error": error }),
    };
    Ok(vec![Action { what: "index-db", path, before: why.into(), after, done }])
}
