//! `restore`: a backup becomes a data directory, or one of its graphs comes back (self-host.md 7.2).

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use database::local_sqlite::{Rusqlite, Synchronous};
use database::sqlite::Sqlite;
use graph::rules::checksum;
use index::graphs::NewGraph;
use index::migrations::MIGRATIONS;
use index::operator::{self, Listed, instant};
use pg_sync::store::renew;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::confirm::{confirm, yes};
use super::copy::{copy, unreadable};
use super::graphs::not_found;
use super::ledger::{Ledger, lock};
use super::manifest::{Manifest, below};
use super::progress::Progress;
use super::surface::Surface;
use super::target::{Takes, Target, choose, with_target};
use super::{at, upload};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::config::Resolved;
use crate::host::now_ms;
use crate::store::{DataDir, PG_SYNC, beside, graph_folder};

/// The verb.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = Command::new("restore").about("Make a data directory of a backup, or bring back one of its graphs");
    with_target(command, Takes::default()).args([
        Arg::new("from").long("from").value_name("PATH").required(true).help("the backup: a folder or a tar file"),
        Arg::new("graph-id")
            .long("graph-id")
            .value_name("ID")
            .help("this graph alone, into the data directory as it is"),
        flag("as-copy", "with --graph-id: as a new graph, which is the default"),
        flag("in-place", "with --graph-id: in the place of the graph; every device must download it again"),
        flag("force", "a data directory that is there is renamed"),
        yes(),
    ])
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let (target, resolved) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("restore makes a data directory")) };
    let graph_id = text(matches, "graph-id");
    let (as_copy, in_place) = (matches.get_flag("as-copy"), matches.get_flag("in-place"));
    if (as_copy || in_place) && graph_id.is_none() {
        return Err(Failure::usage("--as-copy and --in-place go with --graph-id"));
    }
    if as_copy && in_place {
        return Err(Failure::usage("pass --as-copy or --in-place, not both"));
    }
    let (folder, _unpacked) = unpacked(Path::new(&text(matches, "from").unwrap_or_default()))?;
    let manifest = Manifest::check(&folder, &mut Progress::new(output, "checking"))?;
    match graph_id {
        None => whole(&folder, &manifest, path, matches.get_flag("force"), output),
        Some(graph_id) => one(matches, &folder, &graph_id, in_place, &target, &resolved, output).await,
    }
}

/// The folder of a backup; a tar file is unpacked first.
fn unpacked(from: &Path) -> Result<(PathBuf, Option<TempDir>), Failure> {
    if from.is_dir() {
        return Ok((from.to_owned(), None));
    }
    let file = File::open(from).map_err(at(from))?;
    let folder = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let mut archive = tar::Archive::new(file);
    let bad = |error: std::io::Error| Failure::new("bad-backup", exit::FAILED, format!("{}: {error}", from.display()));
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        // Links lead elsewhere, and a backup has none.
        if entry.header().entry_type().is_file() || entry.header().entry_type().is_dir() {
            entry.unpack_in(folder.path()).map_err(bad)?;
        }
    }
    Ok((folder.path().to_owned(), Some(folder)))
}

/// A whole directory. It gets its name once everything is in it.
fn whole(folder: &Path, manifest: &Manifest, path: &Path, force: bool, output: Output) -> Outcome {
    let is_empty = path.read_dir().map_or(true, |mut entries| entries.next().is_none());
    let previous = if is_empty {
        let draft = beside(path, ".partial");
        put(folder, manifest, &draft, output)?;
        // An empty folder may stand in the way; one that is not empty does not go.
        let _ = std::fs::remove_dir(path);
        std::fs::rename(&draft, path).map_err(at(path))?;
        None
    } else {
        if !force {
            let text = format!("{} is not empty", path.display());
            return Err(Failure::new("not-empty", exit::FAILED, text).with_hint("--force renames it"));
        }
        let data = DataDir::open(path)?;
        // Held while it is renamed: whoever comes later finds the new one.
        let Some(_held) = lock(&data)? else {
            return Err(Failure::new("repo-locked", exit::LOCKED, format!("a server runs on {}", path.display()))
                .with_hint("`logseq-sync server stop` ends it"));
        };
        let place = beside(data.root(), &format!(".before-{}", instant(now_ms()).replace(':', "")));
        let draft = beside(data.root(), ".partial");
        put(folder, manifest, &draft, output)?;
        std::fs::rename(data.root(), &place).map_err(at(data.root()))?;
        std::fs::rename(&draft, data.root()).map_err(at(data.root()))?;
        Some(place)
    };
    let graphs: Vec<_> = manifest
        .graphs
        .iter()
        .map(|graph| json!({ "graph_id": graph.graph_id, "t": graph.t, "was_t": null }))
        .collect();
    let words = match &previous {
        Some(place) => format!("{}: {} graphs; what was there is {}", path.display(), graphs.len(), place.display()),
        None => format!("{}: {} graphs", path.display(), graphs.len()),
    };
    output.result(&json!({ "graphs": graphs, "previous": previous, "created_at": manifest.created_at }), &words);
    Ok(ExitCode::SUCCESS)
}

/// Copies the files of a manifest, and nothing else: a log that lies beside a database would be replayed onto it.
fn put(folder: &Path, manifest: &Manifest, draft: &Path, output: Output) -> Result<(), Failure> {
    let _ = std::fs::remove_dir_all(draft);
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path));
    make(draft)?;
    let mut progress = Progress::new(output, "restore");
    for (done, file) in manifest.files.iter().enumerate() {
        let bad = || Failure::new("bad-backup", exit::FAILED, format!("{:?} leads elsewhere", file.path));
        let place = below(draft, &file.path).ok_or_else(bad)?;
        let from = below(folder, &file.path).ok_or_else(bad)?;
        if let Some(parent) = place.parent() {
            make(parent)?;
        }
        std::fs::copy(&from, &place).map_err(at(&from))?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).map_err(at(&place))?;
        File::open(&place).and_then(|file| file.sync_all()).map_err(at(&place))?;
        progress.at(done as u64 + 1, Some(manifest.files.len() as u64), "files");
    }
    let observed = draft.join(PG_SYNC);
    if observed.is_file() {
        let failed =
            |error: database::local::SqlError| Failure::new("io", exit::IO, format!("{}: {error}", observed.display()));
        let sql = Rusqlite::open(&observed, Synchronous::Full).map_err(failed)?;
        renew(&sql, now_ms()).map_err(failed)?;
    }
    File::open(draft).and_then(|folder| folder.sync_all()).map_err(at(draft))
}

/// One graph, through the server of the data directory: its rows are uploaded.
async fn one(
    matches: &ArgMatches,
    folder: &Path,
    graph_id: &str,
    in_place: bool,
    target: &Target,
    resolved: &Resolved,
    output: Output,
) -> Outcome {
    let file = folder.join("graphs").join(graph_folder(graph_id)).join("db.sqlite");
    let (row, keys) = of_backup(folder, graph_id).await?;
    if !file.is_file() {
        return Err(not_found(graph_id));
    }
    let mut copied = copy(&file)?;
    let failed = unreadable(&file);
    let sum = checksum::full(copied.graph.db().map_err(&failed)?).map_err(|error| failed(error.into()))?.to_string();
    let t = copied.graph.stored_position().map_err(&failed)?.t;
    let ledger = Ledger::open(target, false)?;
    let here = operator::graphs(&ledger, Some(graph_id)).await?.pop();
    let id = if in_place {
        here.ok_or_else(|| not_found(graph_id))?;
        let what = format!(
            "The graph {graph_id} becomes what it was at {t}. Whatever came later is lost, and every device must download it again."
        );
        confirm(matches, output, &what, "RESTORE")?;
        graph_id.to_owned()
    } else {
        let id = crate::host::random_uuid().to_string();
        let owner = here.and_then(|graph| graph.owner_user_id).or(row.owner_user_id).unwrap_or_default();
        let name = format!("{} (restored {})", row.graph_name.unwrap_or_default(), instant(now_ms()));
        let new = NewGraph {
            graph_id: &id,
            graph_name: &name,
            user_id: &owner,
            schema_version: row.schema_version.as_deref(),
            e2ee: row.graph_e2ee,
            ready_for_use: false,
        };
        index::graphs::create(&ledger, &new, now_ms()).await?;
        for (user_id, key) in keys.iter().filter(|(user_id, _)| *user_id == owner) {
            let key = index::keys::GraphKey { graph_id: &id, user_id, encrypted_aes_key: key };
            index::keys::set_graph_key(&ledger, key, now_ms()).await?;
        }
        id
    };
    // The lock goes over to the server that takes the rows.
    drop(ledger);
    let surface = Surface::open(target, resolved)?;
    upload::rows(&surface, &id, &mut copied, &sum, output).await?;
    let assets = folder.join("assets").join(web::url::encode(graph_id));
    let sent = if assets.is_dir() { upload::assets(&surface, &id, &assets, output).await?.0 } else { 0 };
    let graphs = json!([{ "graph_id": id, "t": 0, "was_t": t, "checksum": sum, "assets": sent }]);
    output.result(&json!({ "graphs": graphs, "previous": null }), &format!("{id}: checksum {sum}, {sent} assets"));
    Ok(ExitCode::SUCCESS)
}

/// The row of a graph in a backup, and the copies of its key by user.
async fn of_backup(folder: &Path, graph_id: &str) -> Result<(Listed, Vec<(String, String)>), Failure> {
    // A copy: opening it brings its schema up to date.
    let scratch = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let path = scratch.path().join("index.sqlite");
    std::fs::copy(folder.join("index.sqlite"), &path).map_err(at(&path))?;
    let connection = Connection::open(&path).map_err(|error| Failure::new("bad-backup", exit::FAILED, error))?;
    let index = Sqlite::new(connection, MIGRATIONS).map_err(|error| Failure::new("bad-backup", exit::FAILED, error))?;
    let row = operator::graphs(&index, Some(graph_id)).await?.pop().ok_or_else(|| not_found(graph_id))?;
    let mut keys = Vec::new();
    operator::transfer::read(&index, &mut |table, cells| {
        if let ("graph_aes_keys", [graph, user, key, ..]) = (table.name, &*cells)
            && let (database::Cell::Text(graph), database::Cell::Text(user), database::Cell::Text(key)) =
                (graph, user, key)
            && graph == graph_id
        {
            keys.push((user.clone(), key.clone()));
        }
    })
    .await?;
    Ok((row, keys))
}
