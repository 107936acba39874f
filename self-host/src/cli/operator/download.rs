//! `graph download`: the rows of a graph into a file, and its assets into a folder (sync.md 16).

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use datascript::Row;
use flate2::write::MultiGzDecoder;
use graph::rules;
use graph::snapshot::FrameReader;
use http::header::CONTENT_ENCODING;
use http::{Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::copy::{copy, unreadable};
use super::progress::Progress;
use super::surface::{PATIENCE, Surface, encoded, partial, refused, succeeded, whole};
use super::target::{GRAPHS, choose, with_target};
use super::{at, table};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// The verb.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    with_target(Command::new("download").about("Write the rows of a graph into a database file"), GRAPHS).args([
        option("graph-id", "ID", "the graph").required(true),
        option("output", "FILE", "the file [default: tmp/graph-<id>.snapshot.sqlite]"),
        option("assets", "DIR", "fetch the graph's assets into this folder, too"),
        flag("resume", "leave out assets that are there already"),
        flag("force", "write over a file that is there"),
    ])
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let graph_id = text(matches, "graph-id").unwrap_or_default();
    let path = text(matches, "output").map_or_else(|| default_path(&graph_id), PathBuf::from);
    let (force, resume) = (matches.get_flag("force"), matches.get_flag("resume"));
    if path.exists() && !force {
        return Err(Failure::new("exists", exit::FAILED, format!("{} is there already", path.display()))
            .with_hint("--force writes over it"));
    }
    if resume && text(matches, "assets").is_none() {
        return Err(Failure::usage("--resume goes with --assets: rows start anew, because the snapshot has changed"));
    }
    let (target, resolved) = choose(matches, output)?;
    let surface = Surface::open(&target, &resolved)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    if resume {
        output.note("rows start anew, because the snapshot has changed; assets that are there are left out");
    }
    let rows = rows(&surface, &graph_id, &path, output).await?;
    let mut data = json!({ "graph_id": graph_id, "path": path, "rows": rows });
    let mut words = format!("{}: {rows} rows", path.display());
    if let Some(folder) = text(matches, "assets") {
        let assets = assets(&surface, &graph_id, &path, Path::new(&folder), resume, output).await?;
        words = format!(
            "{words}\n{folder}: {} assets, {} were there, {} are missing on the server",
            assets.fetched,
            assets.left_out,
            assets.missing.len()
        );
        let told = json!({ "fetched": assets.fetched, "left_out": assets.left_out, "missing": assets.missing });
        data.as_object_mut().map(|data| data.insert("assets".into(), told));
    }
    output.result(&data, &words);
    Ok(ExitCode::SUCCESS)
}

fn default_path(graph_id: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    PathBuf::from(format!("tmp/graph-{}.snapshot.sqlite", graph_id.chars().map(plain).collect::<String>()))
}

/// Fetches the rows into a file, which gets its name once all of them are there.
async fn rows(surface: &Surface, graph_id: &str, path: &Path, output: Output) -> Result<u64, Failure> {
    let described =
        surface.ask(http::Method::GET, &format!("/sync/{}/snapshot/download", encoded(graph_id)), None).await?;
    let url = described.get("url").and_then(Value::as_str).unwrap_or_default();
    let uri: Uri = url.parse().map_err(|_| broken("the server names no address of the snapshot"))?;
    if !surface.is_own(&uri) {
        return Err(broken(&format!("the snapshot lies at another server, {}", web::url::origin(&uri))));
    }
    // By its path: the server may know itself by another name than we do.
    let place = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let response = succeeded(surface.get(place).await?).await?;
    let expected: Option<u64> =
        response.headers().get("x-snapshot-row-count").and_then(|value| value.to_str().ok()?.parse().ok());
    let draft = partial(path);
    let received = receive(response, &draft, expected, output).await;
    let rows = match received {
        Ok(rows) => rows,
        Err(failure) => {
            // What is there of it is of no use.
            let _ = std::fs::remove_file(&draft);
            return Err(failure);
        }
    };
    std::fs::rename(&draft, path).map_err(at(path))?;
    Ok(rows)
}

/// Writes rows into a file that is made anew.
struct Writer {
    connection: Connection,
    reader: FrameReader,
    rows: u64,
    last: Option<u32>,
}

impl Writer {
    fn create(path: &Path) -> Result<Self, Failure> {
        File::options().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(at(path))?;
        let failed = |error: rusqlite::Error| Failure::new("io", exit::IO, format!("{}: {error}", path.display()));
        let connection = Connection::open(path).map_err(failed)?;
        let schema = "PRAGMA journal_mode = OFF; CREATE TABLE kvs (addr INTEGER PRIMARY KEY, content TEXT, addresses JSON); BEGIN";
        connection.execute_batch(schema).map_err(failed)?;
        Ok(Self { connection, reader: FrameReader::new(), rows: 0, last: None })
    }

    fn put(&mut self, row: &Row) -> Result<(), Failure> {
        if self.last.is_some_and(|last| last >= row.addr) {
            return Err(broken("its rows are in no order"));
        }
        self.last = Some(row.addr);
        self.rows += 1;
        let failed = |error: rusqlite::Error| Failure::new("io", exit::IO, error);
        let sql = "INSERT INTO kvs (addr, content, addresses) VALUES (?, ?, ?)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(params![row.addr, row.content, row.addresses]).map_err(failed)?;
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while let Some(row) = self.reader.next_row(&mut bytes).map_err(|error| broken(&error.to_string()))? {
            self.put(&row)?;
        }
        Ok(())
    }

    fn end(self, expected: Option<u64>) -> Result<u64, Failure> {
        self.reader.end().map_err(|_| broken("it breaks off"))?;
        if let Some(expected) = expected.filter(|expected| *expected != self.rows) {
            return Err(broken(&format!("it has {} rows, and should have {expected}", self.rows)));
        }
        self.connection.execute_batch("COMMIT").map_err(|error| Failure::new("io", exit::IO, error))?;
        Ok(self.rows)
    }
}

fn broken(why: &str) -> Failure {
    Failure::new("broken-snapshot", exit::FAILED, format!("the snapshot cannot be used: {why}"))
}

async fn receive(
    response: Response<Incoming>,
    path: &Path,
    expected: Option<u64>,
    output: Output,
) -> Result<u64, Failure> {
    let packed = response.headers().get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip");
    let mut body = response.into_body();
    let mut writer = Writer::create(path)?;
    let mut unpack = MultiGzDecoder::new(Vec::new());
    let mut progress = Progress::new(output, "rows");
    // Ends with the stream; what is held is one piece of it.
    loop {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| broken("nothing came for too long"))?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(|error| broken(&error.to_string()))?.into_data() else { continue };
        if packed {
            unpack.write_all(&bytes).map_err(|error| broken(&error.to_string()))?;
            let unpacked = std::mem::take(unpack.get_mut());
            writer.take(&unpacked)?;
        } else {
            writer.take(&bytes)?;
        }
        progress.at(writer.rows, expected, "rows");
    }
    if packed {
        unpack.try_finish().map_err(|error| broken(&error.to_string()))?;
        let unpacked = std::mem::take(unpack.get_mut());
        writer.take(&unpacked)?;
    }
    drop(progress);
    let rows = writer.end(expected)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))?;
    Ok(rows)
}

/// What became of assets.
#[derive(Default)]
struct Assets {
    fetched: usize,
    left_out: usize,
    missing: Vec<String>,
}

/// Fetches the assets that the downloaded graph names.
async fn assets(
    surface: &Surface,
    graph_id: &str,
    rows: &Path,
    folder: &Path,
    resume: bool,
    output: Output,
) -> Result<Assets, Failure> {
    let names = names_of(rows)?;
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut done = Assets::default();
    let mut progress = Progress::new(output, "assets");
    for (place, name) in names.iter().enumerate() {
        progress.at(place as u64, Some(names.len() as u64), "files");
        let path = folder.join(name);
        if resume && path.is_file() {
            done.left_out += 1;
            continue;
        }
        let response = surface.get(&format!("/assets/{}/{}", encoded(graph_id), encoded(name))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => done.missing.push(name.clone()),
            status if status.is_success() => {
                let draft = partial(&path);
                write_body(response, &draft).await?;
                std::fs::rename(&draft, &path).map_err(at(&path))?;
                done.fetched += 1;
            }
            status => return Err(refused(status, &whole(response.into_body()).await?)),
        }
    }
    Ok(done)
}

/// The files that a graph in a database file names. What is no plain name of a file is left out: it would lead elsewhere.
pub(super) fn names_of(path: &Path) -> Result<Vec<String>, Failure> {
    let mut copied = copy(path)?;
    let failed = unreadable(path);
    let mut names = Vec::new();
    let db = copied.graph.db().map_err(&failed)?;
    rules::named_assets(db, |name| names.push(name)).map_err(|error| failed(error.into()))?;
    names.retain(|name| is_plain(name));
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether a name is that of one file in a folder.
pub(super) fn is_plain(name: &str) -> bool {
    !name.contains(['/', '\\', '\0']) && name.len() <= 200 && !name.starts_with('.') && table::plain(name) == name
}

async fn write_body(response: Response<Incoming>, path: &Path) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(at(path))?;
    loop {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| broken("nothing came for too long"))?;
        let Some(frame) = frame else { break };
        if let Ok(bytes) = frame.map_err(|error| broken(&error.to_string()))?.into_data() {
            file.write_all(&bytes).map_err(at(path))?;
        }
    }
    file.sync_all().map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_plain("9a8b7c6d.png"));
        for name in ["a/b.png", "..", ".hidden", "a\\b", "a\nb", ""] {
            assert!(!is_plain(name) || name.is_empty(), "{name}");
        }
        assert_eq!(default_path("a b/c").to_str(), Some("tmp/graph-a_b_c.snapshot.sqlite"));
    }
}
