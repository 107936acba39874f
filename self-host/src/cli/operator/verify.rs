//! `verify`: whether graphs are whole, and whether two sides agree (self-host.md 7.2). Changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use datascript::Db;
use graph::rules::checksum::blocks;
use graph::{Finding, Inspection};
use serde_json::{Map, Value, json};

use super::copy::{Copied, copy, read_only, unreadable};
use super::graphs::not_found;
use super::ledger::{Ledger, looked_at};
use super::progress::Progress;
use super::surface::{Surface, encoded};
use super::target::{Credential, Remote, Takes, Target, choose, secret, with_target};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::store::{DataDir, asset_file, graph_folder};

/// Differences that are told at most.
const DIFFERENCES: usize = 1_000;

/// The verb.
pub(super) fn command() -> Command {
    let command = Command::new("verify").about("Say whether graphs are whole, and whether another side holds the same");
    with_target(command, Takes::default()).args([
        Arg::new("graph-id")
            .long("graph-id")
            .value_name("ID")
            .action(ArgAction::Append)
            .help("this graph alone; may be repeated"),
        Arg::new("with").long("with").value_name("URL").help("compare with the graph of this id at another server"),
        Arg::new("with-token")
            .long("with-token")
            .value_name("TOKEN")
            .help("its operator's token; - reads it [DB_SYNC_ADMIN_TOKEN]"),
        Arg::new("db").long("db").value_name("FILE").help("compare with a device's database file"),
    ])
}

/// What was found of one graph.
struct Verified {
    graph_id: String,
    inspection: Option<Inspection>,
    problems: Vec<(String, String)>,
    differences: Vec<Value>,
    truncated: bool,
}

/// Blocks of one side, by their uuid, as the diagnostics show them.
pub(super) type Blocks = BTreeMap<String, Map<String, Value>>;

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let (target, resolved) = choose(matches, output)?;
    let Target::Data(path) = &target else { return Err(Failure::usage("verify looks at a data directory")) };
    let data = looked_at(path)?;
    let named: Vec<String> = matches.get_many::<String>("graph-id").into_iter().flatten().cloned().collect();
    let (with, db) = (text(matches, "with"), text(matches, "db").map(PathBuf::from));
    if with.is_some() && db.is_some() {
        return Err(Failure::usage("pass --with or --db, not both"));
    }
    if db.is_some() && named.len() != 1 {
        return Err(Failure::usage("--db is compared with one graph: name it with --graph-id"));
    }
    let other = match with {
        Some(base) => {
            let token = secret(matches, "with-token", output)?.or_else(|| {
                resolved.value("auth.admin_token").map(crate::config::text).filter(|text| !text.is_empty())
            });
            let token = token.ok_or_else(|| Failure::usage("the other server wants a token: --with-token -"))?;
            let remote = Remote { base: base.trim_end_matches('/').to_owned(), credential: Credential::Admin(token) };
            Some(Surface::open(&Target::Server(remote), &resolved)?)
        }
        None => None,
    };
    let graphs = if named.is_empty() { graphs_of(&data).await? } else { named };
    let mut progress = Progress::new(output, "verify");
    let mut found = Vec::new();
    for (done, graph_id) in graphs.iter().enumerate() {
        progress.at(done as u64, Some(graphs.len() as u64), "graphs");
        let mut verified = look(&data, graph_id)?;
        if let Some(surface) = &other {
            compare(&data, &mut verified, &of_server(surface, graph_id).await?)?;
        }
        if let Some(db) = &db {
            compare(&data, &mut verified, &of_copy(&mut copy(db)?, db)?)?;
        }
        found.push(verified);
    }
    drop(progress);
    let good = found.iter().all(|it| it.problems.is_empty() && it.differences.is_empty());
    let told: Vec<Value> = found.iter().map(as_json).collect();
    output.result(&json!({ "graphs": told, "ok": good }), &words(&found));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// The graphs of the index.
pub(super) async fn graphs_of(data: &DataDir) -> Result<Vec<String>, Failure> {
    let ledger = Ledger::of(data)?;
    let graphs = index::operator::graphs(&ledger, None).await?;
    Ok(graphs.into_iter().map(|graph| graph.graph_id).collect())
}

/// The database file of a graph.
pub(super) fn file_of(data: &DataDir, graph_id: &str) -> PathBuf {
    data.graph(&graph_folder(graph_id)).join("db.sqlite")
}

fn look(data: &DataDir, graph_id: &str) -> Result<Verified, Failure> {
    let path = file_of(data, graph_id);
    let mut verified = Verified {
        graph_id: graph_id.to_owned(),
        inspection: None,
        problems: Vec::new(),
        differences: Vec::new(),
        truncated: false,
    };
    if !path.is_file() {
        // A graph that nobody has used has no file.
        let folder = path.parent().is_some_and(Path::exists);
        if folder {
            verified.problems.push(("file".into(), format!("{} is missing", path.display())));
        }
        return Ok(verified);
    }
    if let Err(why) = integrity(&path)? {
        verified.problems.push(("sqlite".into(), why));
        return Ok(verified);
    }
    let mut copied = match copy(&path) {
        Ok(copied) => copied,
        Err(failure) if failure.code == "no-graph" => return Ok(verified),
        Err(failure) => {
            verified.problems.push((failure.code.to_string(), failure.message()));
            return Ok(verified);
        }
    };
    match copied.graph.inspect() {
        Ok(inspection) => {
            let code = |finding: &Finding| (finding.code().to_owned(), finding.to_string());
            verified.problems.extend(inspection.findings.iter().map(code));
            for name in &inspection.assets {
                if asset_file(data, graph_id, name).is_none_or(|path| !path.is_file()) {
                    verified.problems.push(("asset-missing".into(), name.clone()));
                }
            }
            verified.inspection = Some(inspection);
        }
        // A graph that was deleted, or whose upload runs, is whole in its way.
        Err(graph::Error::Deleted | graph::Error::NotReady) => {}
        Err(error) => verified.problems.push(("rows".into(), error.to_string())),
    }
    Ok(verified)
}

/// What SQLite says of a file.
pub(super) fn integrity(path: &Path) -> Result<Result<(), String>, Failure> {
    let connection = match read_only(path) {
        Ok(connection) => connection,
        Err(failure) if failure.code == "graph-damaged" => return Ok(Err(failure.message())),
        Err(failure) => return Err(failure),
    };
    let found = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get::<_, String>(0));
    Ok(match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(found),
        Err(error) => Err(error.to_string()),
    })
}

async fn of_server(surface: &Surface, graph_id: &str) -> Result<Blocks, Failure> {
    let path = format!("/sync/{}/checksum/diagnostics", encoded(graph_id));
    let mut told = surface.ask(http::Method::GET, &path, None).await?;
    let blocks = told.get_mut("blocks").map(Value::take).unwrap_or_default();
    Ok(by_uuid(blocks))
}

fn by_uuid(blocks: Value) -> Blocks {
    let Value::Array(blocks) = blocks else { return Blocks::new() };
    let block = |block| match block {
        Value::Object(block) => Some((block.get("uuid")?.as_str()?.to_owned(), block)),
        _ => None,
    };
    blocks.into_iter().filter_map(block).collect()
}

fn of_copy(copied: &mut Copied, path: &Path) -> Result<Blocks, Failure> {
    let failed = unreadable(path);
    blocks_of(copied.graph.db().map_err(&failed)?).map_err(failed)
}

/// The blocks of a database value.
pub(super) fn blocks_of(db: &Db) -> graph::Result<Blocks> {
    let is_e2ee = blocks::is_e2ee(db)?;
    let mut found = Vec::new();
    blocks::visit(db, is_e2ee, None, |visited| {
        if let Some(block) = &visited.block {
            let mut text = String::new();
            block.write_json(&mut text);
            found.extend(serde_json::from_str::<Value>(&text));
        }
        true
    })?;
    Ok(by_uuid(Value::Array(found)))
}

fn compare(data: &DataDir, verified: &mut Verified, right: &Blocks) -> Result<(), Failure> {
    let path = file_of(data, &verified.graph_id);
    if !path.is_file() {
        return Err(not_found(&verified.graph_id));
    }
    let left = of_copy(&mut copy(&path)?, &path)?;
    let all = differences(&left, right);
    verified.truncated = all.len() > DIFFERENCES;
    verified.differences.extend(all.into_iter().take(DIFFERENCES));
    Ok(())
}

/// Which entities differ, and in what.
fn differences(left: &Blocks, right: &Blocks) -> Vec<Value> {
    let mut found = Vec::new();
    let mut uuids: Vec<&String> = left.keys().chain(right.keys()).collect();
    uuids.sort();
    uuids.dedup();
    for uuid in uuids {
        match (left.get(uuid), right.get(uuid)) {
            (Some(left), Some(right)) => {
                let mut fields: Vec<&String> = left.keys().chain(right.keys()).collect();
                fields.sort();
                fields.dedup();
                for field in fields {
                    let side = |block: &Map<String, Value>| block.get(field).cloned().unwrap_or_default();
                    if side(left) != side(right) {
                        found.push(json!({ "uuid": uuid, "field": field, "left": side(left), "right": side(right) }));
                    }
                }
            }
            (left, right) => found.push(json!({
                "uuid": uuid, "field": "block", "left": left.is_some(), "right": right.is_some(),
            })),
        }
    }
    found
}

fn as_json(it: &Verified) -> Value {
    let position = it.inspection.as_ref().map(|inspection| &inspection.position);
    let problems: Vec<Value> =
        it.problems.iter().map(|(code, detail)| json!({ "code": code, "detail": detail })).collect();
    json!({
        "graph_id": it.graph_id,
        "t": position.map(|position| position.t),
        "checksum": position.and_then(|position| position.checksum.clone()),
        "recomputed": it.inspection.as_ref().and_then(|inspection| inspection.recomputed.clone()),
        "ok": it.problems.is_empty() && it.differences.is_empty(),
        "problems": problems,
        "differences": it.differences,
        "truncated": it.truncated,
    })
}

fn words(found: &[Verified]) -> String {
    let mut lines = Vec::new();
    for it in found {
        let state = if it.problems.is_empty() && it.differences.is_empty() { "ok" } else { "not ok" };
        let t = it.inspection.as_ref().map_or_else(|| "-".to_owned(), |it| it.position.t.to_string());
        let sum = it.inspection.as_ref().and_then(|it| it.recomputed.clone()).unwrap_or_else(|| "-".into());
        lines.push(format!("{}: {state}, t {t}, checksum {sum}", it.graph_id));
        lines.extend(it.problems.iter().map(|(code, detail)| format!("  {code}: {}", super::table::plain(detail))));
        lines.extend(it.differences.iter().map(|it| format!("  differs: {it}")));
        if it.truncated {
            lines.push(format!("  only the first {DIFFERENCES} differences are shown"));
        }
    }
    lines.push(format!("Count: {}", found.len()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_compared_field_by_field() {
        let side = |text: &str| by_uuid(serde_json::from_str(text).unwrap());
        let left = side(r#"[{"uuid":"a","title":"x","order":null},{"uuid":"b","title":"y"}]"#);
        let right = side(r#"[{"uuid":"a","title":"z","order":null},{"uuid":"c","title":"y"}]"#);
        let found = differences(&left, &right);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], json!({ "uuid": "a", "field": "title", "left": "x", "right": "z" }));
        assert_eq!(found[1], json!({ "uuid": "b", "field": "block", "left": true, "right": false }));
        assert!(differences(&left, &left).is_empty());
    }
}
