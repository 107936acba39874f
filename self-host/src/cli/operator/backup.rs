//! `backup`: a copy of a data directory, each graph as it was at one moment, while a server goes on (self-host.md 7.2).

use std::fs::{DirBuilder, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Arg, ArgMatches, Command};
use database::local_sqlite::{Rusqlite, Synchronous};
use graph::{Graph, Options};
use index::operator::instant;
use rusqlite::Connection;
use serde_json::json;

use super::at;
use super::copy::read_only;
use super::graphs::not_found;
use super::ledger::existing;
use super::manifest::{FORMAT, FileState, GraphState, MANIFEST, Manifest, digest};
use super::progress::Progress;
use super::target::{Takes, Target, choose, with_target};
use super::verify::file_of;
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, VERSION, text};
use crate::host::now_ms;
use crate::store::{DataDir, LAST_BACKUP, PG_SYNC, asset_folder, beside, graph_folder};

/// The verb.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("backup").about("Copy a data directory; a server on it goes on");
    with_target(command, Takes::default()).args([
        option("output", "PATH", "a folder, or FILE.tar, or - for standard output").required(true),
        option("graph-id", "ID", "this graph alone"),
        option("link-dest", "DIR", "an earlier backup: assets that are the same become links to its files"),
        option("keep", "N", "afterwards, keep so many backups in the folder above, the newest ones"),
    ])
}

/// Where a backup goes.
enum Place {
    Folder(PathBuf),
    Tar(PathBuf),
    Stdout,
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let begun = Instant::now();
    let path = PathBuf::from(text(matches, "output").unwrap_or_default());
    let place = match () {
        () if path == Path::new("-") => Place::Stdout,
        () if path.extension().is_some_and(|end| end == "tar") => Place::Tar(path.clone()),
        () => Place::Folder(path.clone()),
    };
    let keep = text(matches, "keep").map(|text| text.parse::<usize>().ok().filter(|keep| *keep > 0));
    let keep = match (keep, &place) {
        (None, _) => None,
        (Some(Some(keep)), Place::Folder(_)) => Some(keep),
        (Some(None), _) => return Err(Failure::usage("--keep must be a whole number from 1 on")),
        (Some(_), _) => return Err(Failure::usage("--keep counts folders: name one with --output")),
    };
    if matches!(place, Place::Stdout) && output.json {
        return Err(Failure::usage("--output - and --json: both would be written to standard output"));
    }
    if !matches!(place, Place::Stdout) && path.symlink_metadata().is_ok() {
        return Err(Failure::new("exists", exit::FAILED, format!("{} is there already", path.display())));
    }
    let (target, _) = choose(matches, output)?;
    let Target::Data(directory) = &target else { return Err(Failure::usage("backup copies a data directory")) };
    let data = existing(directory)?;
    let link_dest = text(matches, "link-dest").map(PathBuf::from);
    // Whatever the form, the files are made in a folder first, and read back there.
    let scratch = match &place {
        Place::Folder(path) | Place::Tar(path) => beside(path, ".partial"),
        Place::Stdout => data.root().join("tmp").join(format!("backup-{}", crate::host::random_uuid())),
    };
    let made = make(&data, text(matches, "graph-id").as_deref(), &scratch, link_dest.as_deref(), output).await;
    let made = made.and_then(|made| {
        match &place {
            Place::Folder(path) => std::fs::rename(&scratch, path).map_err(at(path))?,
            Place::Tar(path) => pack_file(&scratch, path)?,
            Place::Stdout => pack(&scratch, std::io::stdout().lock()).map_err(at(&path))?,
        }
        Ok(made)
    });
    if !matches!((&place, &made), (Place::Folder(_), Ok(_))) {
        // A half backup is none.
        let _ = std::fs::remove_dir_all(&scratch);
    }
    let (manifest, skipped) = made?;
    if let Some(parent) = path.parent().filter(|_| !matches!(place, Place::Stdout)) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(at(parent))?;
    }
    note_backup(&data, &manifest.created_at)?;
    let removed = keep.map_or(Ok(Vec::new()), |keep| thin_out(&path, keep))?;
    if !matches!(place, Place::Stdout) {
        let bytes = manifest.files.iter().map(|file| file.bytes).sum::<u64>();
        let (graphs, files) = (manifest.graphs.len(), manifest.files.len());
        let data = json!({
            "path": path, "graphs": graphs, "files": files, "bytes": bytes, "skipped": skipped, "removed": removed,
            "ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        output.result(&data, &format!("{}: {graphs} graphs, {files} files, {bytes} bytes", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A backup under construction.
struct Draft<'a> {
    folder: &'a Path,
    link_dest: Option<&'a Path>,
    files: Vec<FileState>,
    progress: Progress,
}

impl Draft<'_> {
    /// The place of a file, whose folder is there then.
    fn place(&self, path: &str) -> Result<PathBuf, Failure> {
        let place = self.folder.join(path);
        if let Some(folder) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        }
        Ok(place)
    }

    /// A file is complete: it is made durable, and read back.
    fn seal(&mut self, path: &str) -> Result<(), Failure> {
        let place = self.folder.join(path);
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).map_err(at(&place))?;
        File::open(&place).and_then(|file| file.sync_all()).map_err(at(&place))?;
        let (bytes, sha256) = digest(&place)?;
        self.files.push(FileState { path: path.to_owned(), bytes, sha256 });
        self.progress.at(self.files.len() as u64, None, "files");
        Ok(())
    }

    /// A database as it is at one moment.
    fn database(&mut self, from: &Path, path: &str) -> Result<PathBuf, Failure> {
        let place = self.place(path)?;
        let connection = read_only(from)?;
        connection
            .execute("VACUUM INTO ?", [place.to_string_lossy().into_owned()])
            .map_err(|error| Failure::new("io", exit::IO, format!("{}: {error}", from.display())))?;
        Ok(place)
    }

    /// A file that never changes once it has its name.
    fn file(&mut self, from: &Path, path: &str) -> Result<(), Failure> {
        let place = self.place(path)?;
        let same = self.link_dest.map(|folder| folder.join(path)).filter(|earlier| is_same(earlier, from));
        let linked = same.is_some_and(|earlier| std::fs::hard_link(earlier, &place).is_ok());
        if !linked {
            std::fs::copy(from, &place).map_err(at(from))?;
            let modified = from.metadata().and_then(|meta| meta.modified());
            // Only costs a later backup its link.
            let _ = modified.and_then(|at| File::options().write(true).open(&place)?.set_modified(at));
        }
        self.seal(path)
    }
}

/// Whether an earlier copy of a file can stand for it: of the same length and time.
fn is_same(earlier: &Path, from: &Path) -> bool {
    match (earlier.symlink_metadata(), from.metadata()) {
        (Ok(earlier), Ok(from)) => {
            earlier.is_file()
                && (earlier.len(), earlier.mtime(), earlier.mtime_nsec())
                    == (from.len(), from.mtime(), from.mtime_nsec())
        }
        _ => false,
    }
}

/// Makes a backup in a folder that is not there yet; also tells what was left out, and why.
async fn make(
    data: &DataDir,
    only: Option<&str>,
    folder: &Path,
    link_dest: Option<&Path>,
    output: Output,
) -> Result<(Manifest, Vec<String>), Failure> {
    // What an earlier one has left that was ended.
    let _ = std::fs::remove_dir_all(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let created_at = instant(now_ms());
    let mut draft = Draft { folder, link_dest, files: Vec::new(), progress: Progress::new(output, "backup") };
    // The index first: a graph that is made from here on belongs to the next backup.
    let index = draft.database(&data.index(), "index.sqlite")?;
    draft.seal("index.sqlite")?;
    if data.users().is_file() {
        draft.database(&data.users(), "self-host.sqlite")?;
        draft.seal("self-host.sqlite")?;
    }
    if only.is_none() && data.pg_sync().is_file() {
        draft.database(&data.pg_sync(), PG_SYNC)?;
        draft.seal(PG_SYNC)?;
    }
    if data.root().join(".format").is_file() {
        draft.file(&data.root().join(".format"), ".format")?;
    }
    let connection = Connection::open(&index).map_err(|error| Failure::new("io", exit::IO, error))?;
    let listed = database::sqlite::Sqlite::new(connection, index::migrations::MIGRATIONS);
    let listed = listed.map_err(|error| Failure::new("index-damaged", exit::IO, error))?;
    let mut ids: Vec<String> =
        index::operator::graphs(&listed, only).await?.into_iter().map(|graph| graph.graph_id).collect();
    drop(listed);
    // Opening it may have brought its schema up to date.
    draft.files.retain(|file| file.path != "index.sqlite");
    draft.seal("index.sqlite")?;
    ids.sort();
    if let (Some(only), true) = (only, ids.is_empty()) {
        return Err(not_found(only));
    }
    let (mut graphs, mut skipped) = (Vec::new(), Vec::new());
    for graph_id in ids {
        let from = file_of(data, &graph_id);
        if from.is_file() {
            let path = format!("graphs/{}/db.sqlite", graph_folder(&graph_id));
            let place = draft.database(&from, &path)?;
            match state(&place, &graph_id) {
                Ok(state) => graphs.push(state),
                Err(why) => skipped.push(format!("{graph_id}: its rows are copied, but cannot be read: {why}")),
            }
            draft.seal(&path)?;
        } else {
            skipped.push(format!("{graph_id}: nobody has used it"));
        }
        // After its rows: every asset that they name was there before.
        let assets = asset_folder(data, &graph_id);
        for entry in assets.read_dir().into_iter().flatten() {
            let entry = entry.map_err(at(&assets))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let folder = assets.file_name().unwrap_or_default().to_string_lossy();
                match draft.file(&entry.path(), &format!("assets/{folder}/{name}")) {
                    Ok(()) => {}
                    // It was removed meanwhile, with the block that named it.
                    Err(_) if !entry.path().exists() => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        version: VERSION.to_owned(),
        created_at,
        graphs,
        files: std::mem::take(&mut draft.files),
    };
    write_manifest(folder, &manifest)?;
    Ok((manifest, skipped))
}

/// Counter and checksum of a graph that was copied.
fn state(path: &Path, graph_id: &str) -> Result<GraphState, String> {
    let sql = Rusqlite::open(path, Synchronous::Full).map_err(|error| error.to_string())?;
    let mut graph = Graph::new(sql, now_ms, Options::DEFAULT);
    let position = graph.stored_position().map_err(|error| error.to_string())?;
    Ok(GraphState { graph_id: graph_id.to_owned(), t: position.t, checksum: position.checksum })
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let path = folder.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| Failure::new("io", exit::IO, error))?;
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&path).map_err(at(&path))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(at(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

fn pack_file(folder: &Path, path: &Path) -> Result<(), Failure> {
    let draft = beside(path, ".packing");
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft).map_err(at(&draft))?;
    pack(folder, &file).and_then(|()| file.sync_all()).map_err(at(&draft))?;
    std::fs::rename(&draft, path).map_err(at(path))
}

fn pack(folder: &Path, out: impl Write) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, out));
    archive.follow_symlinks(false);
    archive.append_dir_all("", folder)?;
    archive.into_inner()?.flush()
}

/// Notes for doctor and metrics when the last backup was made.
fn note_backup(data: &DataDir, created_at: &str) -> Result<(), Failure> {
    let path = data.root().join(LAST_BACKUP);
    std::fs::write(&path, format!("{}\n", json!({ "created_at": created_at }))).map_err(at(&path))
}

/// Removes older backups beside this one. What has no manifest of ours is none.
fn thin_out(path: &Path, keep: usize) -> Result<Vec<PathBuf>, Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut backups = Vec::new();
    for entry in parent.read_dir().map_err(at(parent))? {
        let folder = entry.map_err(at(parent))?.path();
        let manifest = std::fs::read(folder.join(MANIFEST)).ok();
        let manifest: Option<Manifest> = manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        backups.extend(manifest.map(|manifest| (manifest.created_at, folder)));
    }
    backups.sort();
    let old = backups.len().saturating_sub(keep);
    let mut removed = Vec::new();
    for (_, folder) in backups.into_iter().take(old) {
        std::fs::remove_dir_all(&folder).map_err(at(&folder))?;
        removed.push(folder);
    }
    Ok(removed)
}
