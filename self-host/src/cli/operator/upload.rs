//! `graph upload`: the rows of a database file take the place of a graph's, and files become its assets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use graph::rules::checksum;
use graph::snapshot::Encoding;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use index::graphs::NewGraph;
use serde_json::{Value, json};

use super::copy::{Copied, copy, unreadable};
use super::graphs::{user_of, with_user};
use super::ledger::Ledger;
use super::progress::Progress;
use super::surface::{Surface, encoded, succeeded};
use super::target::{Credential, GRAPHS, Target, choose, with_target};
use super::{at, download};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::host::now_ms;

/// The verb.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("upload").about("Put the rows of a database file in the place of a graph's");
    with_user(with_target(command, GRAPHS)).args([
        option("db", "FILE", "the database file: of a client, of a download or of a server").required(true),
        option("graph-id", "ID", "the graph whose rows these are from now on"),
        option("name", "NAME", "a new graph; on a data directory its owner is --username or --user-id"),
        option("assets", "DIR", "files that become its assets"),
    ])
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let path = PathBuf::from(text(matches, "db").unwrap_or_default());
    let (graph_id, name) = (text(matches, "graph-id"), text(matches, "name"));
    if graph_id.is_some() == name.is_some() {
        return Err(Failure::usage("pass exactly one of --graph-id or --name"));
    }
    let (target, resolved) = choose(matches, output)?;
    let mut copied = copy(&path)?;
    let failed = unreadable(&path);
    let db = copied.graph.db().map_err(&failed)?;
    let sum = checksum::full(db).map_err(|error| failed(error.into()))?.to_string();
    let e2ee = checksum::blocks::is_e2ee(db).map_err(|error| failed(error.into()))?;
    let version = graph::rules::schema_version(db).map_err(|error| failed(error.into()))?;
    // What a surface of our own would have locked is asked for before.
    let made = match &name {
        Some(name) => made_here(matches, &target, name, e2ee, version.as_deref()).await?,
        None => None,
    };
    let surface = Surface::open(&target, &resolved)?;
    let graph_id = match (graph_id.or(made), &name) {
        (Some(graph_id), _) => graph_id,
        (None, Some(name)) => made_there(&surface, &target, name, e2ee, version.as_deref()).await?,
        (None, None) => return Err(Failure::usage("pass exactly one of --graph-id or --name")),
    };
    let rows = rows(&surface, &graph_id, &mut copied, &sum, output).await.map_err(|failure| {
        let hint = format!("the graph {graph_id} is as it was; the same command begins anew");
        if failure.hint.is_none() { failure.with_hint(hint) } else { failure }
    })?;
    let mut data = json!({ "graph_id": graph_id, "rows": rows, "checksum": sum, "e2ee": e2ee });
    let mut words = format!("{graph_id}: {rows} rows, checksum {sum}");
    if let Some(folder) = text(matches, "assets") {
        let (sent, skipped) = assets(&surface, &graph_id, Path::new(&folder), output).await?;
        words = format!("{words}\n{folder}: {sent} assets");
        let told = json!({ "sent": sent, "skipped": skipped });
        data.as_object_mut().map(|data| data.insert("assets".into(), told));
    }
    output.result(&data, &words);
    Ok(ExitCode::SUCCESS)
}

/// A new graph in the index of a data directory. None: the graph is made elsewhere.
async fn made_here(
    matches: &ArgMatches,
    target: &Target,
    name: &str,
    e2ee: bool,
    version: Option<&str>,
) -> Result<Option<String>, Failure> {
    let Target::Data(_) = target else { return Ok(None) };
    let ledger = Ledger::open(target, false)?;
    let owner = user_of(matches, &ledger).await?;
    if index::graphs::name_exists(&ledger, name, &owner.id).await? {
        return Err(Failure::new("graph-exists", exit::FAILED, "the user has a graph of this name already"));
    }
    let graph_id = crate::host::random_uuid().to_string();
    let new = NewGraph {
        graph_id: &graph_id,
        graph_name: name,
        user_id: &owner.id,
        schema_version: version,
        e2ee,
        ready_for_use: false,
    };
    index::graphs::create(&ledger, &new, now_ms()).await?;
    Ok(Some(graph_id))
}

/// A new graph of the user whose token a server is shown.
async fn made_there(
    surface: &Surface,
    target: &Target,
    name: &str,
    e2ee: bool,
    version: Option<&str>,
) -> Result<String, Failure> {
    if !matches!(target, Target::Server(remote) if matches!(remote.credential, Credential::User(_))) {
        return Err(Failure::usage("a new graph belongs to somebody: pass a user's token with --token -"));
    }
    let body = json!({
        "graph-name": name, "schema-version": version, "graph-e2ee?": e2ee, "graph-ready-for-use?": false,
    });
    let answer = surface.ask(Method::POST, "/graphs", Some(body)).await?;
    let id = answer.get("graph-id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| Failure::new("odd-answer", exit::FAILED, "the server names no graph"))
}

/// Sends the rows: until the last part has come, the graph stays as it is.
pub(super) async fn rows(
    surface: &Surface,
    graph_id: &str,
    copied: &mut Copied,
    sum: &str,
    output: Output,
) -> Result<u64, Failure> {
    let failed = |error: graph::Error| Failure::new("graph-damaged", exit::FAILED, error);
    let mut export = copied.graph.begin_export(Encoding::Identity).map_err(failed)?;
    let total = u64::try_from(export.row_count()).unwrap_or_default();
    let mut progress = Progress::new(output, "upload");
    let (mut first, mut sent) = (true, 0_u64);
    let mut next = copied.graph.next_chunk(&mut export).map_err(failed)?;
    // Ends with the export.
    while let Some(part) = next {
        next = copied.graph.next_chunk(&mut export).map_err(failed)?;
        let finished = if next.is_none() { format!("&finished=true&checksum={sum}") } else { String::new() };
        let path = format!("/sync/{}/snapshot/upload?reset={first}{finished}", encoded(graph_id));
        let bytes = part.len() as u64;
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(CONTENT_TYPE, "application/transit+json").body(Full::from(Bytes::from(part)));
        succeeded(surface.send(request.map_err(Failure::usage)?).await?).await?;
        sent += bytes;
        progress.at(sent / 1024, None, "KiB");
        first = false;
    }
    copied.graph.end_export(export).map_err(failed)?;
    Ok(total)
}

/// Sends the files of a folder, of which those count that have a name and an end.
pub(super) async fn assets(
    surface: &Surface,
    graph_id: &str,
    folder: &Path,
    output: Output,
) -> Result<(usize, Vec<String>), Failure> {
    let mut names = Vec::new();
    for entry in folder.read_dir().map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if entry.file_type().map_err(at(folder))?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let total = names.len() as u64;
    let (mut sent, mut skipped) = (0, Vec::new());
    let mut progress = Progress::new(output, "assets");
    for name in names {
        let is_asset = download::is_plain(&name)
            && name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && !end.is_empty())
            && !name.ends_with(".meta.json")
            && !name.ends_with(".partial");
        if !is_asset {
            skipped.push(name);
            continue;
        }
        let path = folder.join(&name);
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        // In a data directory names are written as in addresses.
        let shown = web::url::decode(&name).unwrap_or_else(|| name.clone());
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("/assets/{}/{}", encoded(graph_id), encoded(&shown)))
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::from(bytes));
        succeeded(surface.send(request.map_err(Failure::usage)?).await?).await?;
        sent += 1;
        progress.at(sent as u64, Some(total), "files");
    }
    Ok((sent, skipped))
}
