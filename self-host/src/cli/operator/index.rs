//! `index export` and `index import`: users, graphs, members and keys move between deployments (self-host.md 7.1).
//!
//! The file has one JSON object a line: a head, one line for each row, and an end that says how many there are, so that a
//! file that was cut is not taken for a whole one.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use database::Cell;
use index::operator::transfer::{self, Cells, Table};
use serde_json::{Map, Value, json};

use super::ledger::Ledger;
use super::progress::Progress;
use super::target::{INDEX, choose, with_target};
use super::{at, table};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// What the head says.
const FORMAT: &str = "logseq-sync-index";

/// The version of the format that is written, and the newest one that is read.
const VERSION: u64 = 1;

/// Bytes of a line at most: keys are short, and a line is one row.
const LINE_BYTES: u64 = 4 << 20;

/// The verb.
pub(super) fn command() -> Command {
    let file =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("FILE").required(true).help(help);
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("write over a file that is there");
    let dry = Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("only say what would be done");
    Command::new("index")
        .about("Move users, graphs, members and keys between deployments")
        .subcommand_required(true)
        .subcommands([
            with_target(Command::new("export").about("Write the index into a file, which holds encrypted keys"), INDEX)
                .args([file("output", "the file; - is standard output"), force]),
            with_target(
                Command::new("import").about("Take an index over; rows that are there stay as they are"),
                INDEX,
            )
            .args([file("from", "the file; - is standard input"), dry]),
        ])
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    match matches.subcommand() {
        Some(("export", matches)) => export(matches, output).await,
        Some(("import", matches)) => import(matches, output).await,
        _ => Err(Failure::usage("a verb is missing")),
    }
}

async fn export(matches: &ArgMatches, output: Output) -> Outcome {
    let path = PathBuf::from(text(matches, "output").unwrap_or_default());
    let to_stdout = path == Path::new("-");
    if to_stdout && output.json {
        return Err(Failure::usage("--output - and --json: both would be written to standard output"));
    }
    if !to_stdout && path.exists() && !matches.get_flag("force") {
        return Err(Failure::new("exists", exit::FAILED, format!("{} is there already", path.display()))
            .with_hint("--force writes over it"));
    }
    let (target, _) = choose(matches, output)?;
    let ledger = Ledger::open(&target, false)?;
    let mut lines = Vec::new();
    let mut counts = transfer::TABLES.iter().map(|table| (table.name, 0_u64)).collect::<Vec<_>>();
    let mut progress = Progress::new(output, "index");
    transfer::read(&ledger, &mut |table, row| {
        lines.push(line_of(table, &row));
        progress.at(lines.len() as u64, None, "rows");
        counts.iter_mut().filter(|(name, _)| *name == table.name).for_each(|(_, count)| *count += 1);
    })
    .await?;
    drop(progress);
    let now = index::operator::instant(crate::host::now_ms());
    let counts: Map<String, Value> = counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let head = json!({ "format": FORMAT, "version": VERSION, "created_at": now });
    let whole = [head].into_iter().chain(lines).chain([json!({ "end": counts })]);
    if to_stdout {
        write_lines(std::io::stdout().lock(), whole).map_err(at(&path))?;
    } else {
        write_file(&path, whole).map_err(at(&path))?;
        let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        output.result(&json!({ "path": path, "rows": counts }), &words.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_lines(out: impl Write, lines: impl Iterator<Item = Value>) -> std::io::Result<()> {
    let mut out = BufWriter::new(out);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Written beside, synced and renamed: a file of this name is whole.
fn write_file(path: &Path, lines: impl Iterator<Item = Value>) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    write_lines(&file, lines)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

fn line_of(table: &Table, row: &[Cell]) -> Value {
    let cells = table.columns.iter().zip(row).map(|(name, cell)| {
        let value = match cell {
            Cell::Null => Value::Null,
            #[expect(clippy::cast_possible_truncation, reason = "times and flags are whole numbers below 2^53")]
            Cell::Number(number) => (*number as i64).into(),
            Cell::Text(text) => text.as_str().into(),
        };
        ((*name).to_owned(), value)
    });
    json!({ "table": table.name, "row": cells.collect::<Map<_, _>>() })
}

async fn import(matches: &ArgMatches, output: Output) -> Outcome {
    let path = PathBuf::from(text(matches, "from").unwrap_or_default());
    // The whole file is read and checked before anything is touched.
    let rows = if path == Path::new("-") {
        read_rows(std::io::stdin().lock(), &path)?
    } else {
        read_rows(BufReader::new(File::open(&path).map_err(at(&path))?), &path)?
    };
    let (target, _) = choose(matches, output)?;
    let ledger = Ledger::open(&target, true)?;
    let plan = transfer::plan(&ledger, rows).await?;
    if !plan.foreign.is_empty() {
        let names: Vec<String> = plan.foreign.iter().map(|id| table::plain(id)).collect();
        let text = format!("these graphs belong to somebody else here: {}", names.join(", "));
        let mut failure = Failure::new("graph-owned-by-other", exit::FAILED, text)
            .with_hint("nothing was changed; delete them here first if those of the file are meant");
        failure.details.insert("graphs".into(), plan.foreign.into());
        return Err(failure);
    }
    let dry = matches.get_flag("dry-run");
    if !dry {
        let mut progress = Progress::new(output, "index");
        let total = plan.rows() as u64;
        plan.write(&ledger, &mut |written| progress.at(written as u64, Some(total), "rows")).await?;
    }
    let mut data = Map::new();
    let mut words = Vec::new();
    for (name, tally) in &plan.tallies {
        data.insert((*name).to_owned(), json!({ "added": tally.added, "same": tally.same, "kept": tally.kept }));
        words.push(format!(
            "{name}: {} added, {} the same, {} kept as they are",
            tally.added,
            tally.same,
            tally.kept.len()
        ));
        words.extend(tally.kept.iter().map(|key| format!("  kept: {}", table::plain(key))));
    }
    let graphs = plan.tallies.iter().find(|(name, _)| *name == "graphs").map_or(0, |(_, tally)| tally.added);
    if graphs > 0 && !dry {
        output.note("hint: the new graphs are empty until `logseq-sync graph upload --graph-id G --db F` has brought their rows");
    }
    output.result(&json!({ "dry_run": dry, "tables": data }), &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// All rows of a file, if it is a whole one.
fn read_rows(mut file: impl std::io::BufRead, path: &Path) -> Result<Vec<(&'static Table, Cells)>, Failure> {
    let bad = |number: usize, why: &str| {
        Failure::new("bad-export", exit::FAILED, format!("{}: line {number}: {why}", path.display()))
    };
    let mut rows = Vec::new();
    let mut counts: Map<String, Value> =
        transfer::TABLES.iter().map(|table| (table.name.to_owned(), 0.into())).collect();
    let mut ended = false;
    // Bounded by the operator's own file, line by line.
    for number in 1.. {
        let mut line = String::new();
        let read = file.by_ref().take(LINE_BYTES).read_line(&mut line).map_err(at(path))?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_BYTES {
            return Err(bad(number, "is too long"));
        }
        if ended {
            return Err(bad(number, "nothing follows the end"));
        }
        let value: Value = serde_json::from_str(&line).map_err(|error| bad(number, &error.to_string()))?;
        if number == 1 {
            if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
                return Err(bad(number, "this is no export of an index"));
            }
            if value.get("version").and_then(Value::as_u64).is_none_or(|version| version > VERSION) {
                return Err(bad(number, "a newer version has written it"));
            }
        } else if let Some(end) = value.get("end") {
            if end.as_object() != Some(&counts) {
                return Err(bad(number, "the number of rows is another one"));
            }
            ended = true;
        } else {
            let (table, row) = row_of(&value).ok_or_else(|| bad(number, "is no row of an index"))?;
            if let Some(count) = counts.get_mut(table.name) {
                *count = (count.as_u64().unwrap_or_default() + 1).into();
            }
            rows.push((table, row));
        }
    }
    if ended { Ok(rows) } else { Err(bad(rows.len() + 2, "the end is missing: the file was cut")) }
}

fn row_of(value: &Value) -> Option<(&'static Table, Cells)> {
    let table = Table::named(value.get("table")?.as_str()?)?;
    let row = value.get("row")?.as_object()?;
    if row.keys().any(|name| !table.columns.contains(&name.as_str())) {
        return None;
    }
    let cell = |name: &&str| match row.get(*name) {
        None | Some(Value::Null) => Some(Cell::Null),
        Some(Value::String(text)) => Some(Cell::Text(text.clone())),
        Some(Value::Number(number)) => number.as_f64().map(Cell::Number),
        Some(_) => None,
    };
    Some((table, table.columns.iter().map(cell).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        read_rows(text.as_bytes(), Path::new("f")).map(|rows| rows.len()).map_err(|failure| failure.message())
    }

    #[test]
    fn only_a_whole_file_is_taken() {
        let head = format!(r#"{{"format":"{FORMAT}","version":1}}"#);
        let user = r#"{"table":"users","row":{"id":"u","email":null,"created_at":5}}"#;
        let end = |users: u64| {
            format!(
                r#"{{"end":{{"users":{users},"user_rsa_keys":0,"graphs":0,"graph_members":0,"graph_aes_keys":0}}}}"#
            )
        };
        assert_eq!(read(&format!("{head}\n{user}\n{}\n", end(1))), Ok(1));
        for (text, why) in [
            (String::new(), "cut"),
            (format!("{head}\n{user}\n"), "cut"),
            (format!("{head}\n{user}\n{}\n", end(2)), "number of rows"),
            (format!("{head}\n{}\n{user}\n", end(0)), "nothing follows"),
            (format!("{user}\n{}\n", end(0)), "no export"),
            (head.replace('1', "2"), "newer"),
            (format!("{head}\n{{\"table\":\"kvs\",\"row\":{{}}}}\n"), "no row"),
            (format!("{head}\n{{\"table\":\"users\",\"row\":{{\"id\":[]}}}}\n"), "no row"),
            (format!("{head}\n{{\"table\":\"users\",\"row\":{{\"nme\":\"x\"}}}}\n"), "no row"),
            (format!("{head}\n{{"), "line 2"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
