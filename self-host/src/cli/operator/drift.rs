//! `checksum drift`: where the stored checksum of a graph went wrong, by a replay of its log (sync.md 16).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;
use graph::drift::{Replayed, Why};
use graph::rules::checksum;
use serde_json::{Value, json};

use super::at;
use super::checksum::file_of;
use super::copy::{copy, unreadable};
use super::progress::Progress;
use super::verify::{Blocks, blocks_of};
use crate::cli::failure::exit;
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// Blocks that differ, of which words show so many.
const SAMPLE: usize = 5;

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let path = file_of(matches, output)?;
    let mut copied = copy(&path)?;
    let failed = unreadable(&path);
    let stored = copied.graph.stored_position().map_err(&failed)?.checksum;
    let mut progress = Progress::new(output, "replay");
    let replayed = copied.graph.replay_log(&mut |rows| progress.at(rows, None, "transactions")).map_err(&failed)?;
    drop(progress);
    let db = copied.graph.db().map_err(&failed)?;
    let recomputed = checksum::full(db).map_err(|error| failed(error.into()))?.to_string();
    let current = blocks_of(db).map_err(&failed)?;
    let ours = blocks_of(&replayed.db).map_err(&failed)?;
    let differing = differing(&current, &ours);
    let out = text(matches, "diff-out").map(PathBuf::from);
    if let Some(out) = &out {
        std::fs::write(out, format!("{}\n", json!(differing))).map_err(at(out))?;
    }
    let equal = stored.as_ref().is_none_or(|stored| *stored == recomputed) && replayed.stopped.is_none();
    let data = json!({
        "path": path,
        "stored": stored,
        "recomputed": recomputed,
        "tx_log_count": replayed.rows,
        "current_blocks": current.len(),
        "replayed_blocks": ours.len(),
        "different_blocks": differing.len(),
        "sample": differing.iter().take(SAMPLE).collect::<Vec<_>>(),
        "diff_out": out,
        "replay": replay_json(&replayed),
        "ok": equal,
    });
    output.result(&data, &words(&path, &data, &differing));
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// Blocks that are not the same on both sides, in the order of their uuids.
fn differing(current: &Blocks, replayed: &Blocks) -> Vec<Value> {
    let mut uuids: Vec<&String> = current.keys().chain(replayed.keys()).collect();
    uuids.sort();
    uuids.dedup();
    let sides = uuids.into_iter().map(|uuid| (uuid, current.get(uuid), replayed.get(uuid)));
    sides
        .filter(|(_, current, replayed)| current != replayed)
        .map(|(uuid, current, replayed)| json!({ "uuid": uuid, "current": current, "replayed": replayed }))
        .collect()
}

fn replay_json(replayed: &Replayed) -> Value {
    let Some(stopped) = &replayed.stopped else {
        return json!({ "ok": true, "idx": replayed.rows, "checksum": replayed.checksum, "recomputed": replayed.recomputed });
    };
    let mut told = json!({
        "ok": false,
        "idx": stopped.index,
        "t": stopped.t,
        "outliner_op": stopped.outliner_op,
        "prev_checksum": stopped.previous,
        "tx_size": stopped.items,
        "tx_preview": stopped.shown,
    });
    let why = match &stopped.why {
        Why::Differs { incremental, recomputed } => vec![("incremental", incremental), ("recomputed", recomputed)],
        Why::Refused(error) => vec![("error", error)],
    };
    if let Some(told) = told.as_object_mut() {
        told.extend(why.into_iter().map(|(name, text)| (name.to_owned(), text.as_str().into())));
    }
    told
}

fn words(path: &Path, data: &Value, differing: &[Value]) -> String {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |name: &str| data.get(name).cloned().unwrap_or_default();
    let mut lines = vec![
        format!("db: {}", path.display()),
        format!("stored-checksum: {}", text("stored")),
        format!("recomputed-checksum: {}", text("recomputed")),
        format!("tx-log-count: {}", number("tx_log_count")),
        format!(
            "current-blocks: {}, replayed-blocks: {}, different-blocks: {}",
            number("current_blocks"),
            number("replayed_blocks"),
            number("different_blocks")
        ),
    ];
    if !differing.is_empty() {
        lines.push("different-blocks-sample:".into());
        lines.extend(differing.iter().take(SAMPLE).map(ToString::to_string));
    }
    if data.get("diff_out").is_some_and(|out| !out.is_null()) {
        lines.push(format!("diff-out: {}", text("diff_out")));
    }
    lines.push(number("replay").to_string());
    lines.join("\n")
}
