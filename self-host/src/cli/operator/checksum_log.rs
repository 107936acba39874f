//! `checksum log`: a transaction that upstream's server logged because of its checksum, replayed (sync.md 16).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use datascript::{Datom, Db};
use graph::drift::{fact, follow, of_facts};
use graph::rules::checksum;
use serde_json::json;
use transit::{Limits, Value};

use super::at;
use super::edn;
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// How the line begins.
const PREFIX: &str = ":debug :before-checksum-error ";

fn odd(why: impl std::fmt::Display) -> Failure {
    Failure::new("odd-log", exit::FAILED, why)
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let path = PathBuf::from(text(matches, "log").unwrap_or_default());
    let log = std::fs::read_to_string(&path).map_err(at(&path))?;
    let payload = log
        .trim()
        .strip_prefix(PREFIX)
        .ok_or_else(|| odd(format!("Log does not start with expected prefix: {PREFIX}")))?;
    let payload = edn::read(payload).map_err(odd)?;
    let logged = |names: &[&str]| names.iter().find_map(|name| payload.get(name)?.as_str().map(str::to_owned));
    let before = database(payload.get("db-before").and_then(Value::as_str).unwrap_or_default())?;
    let tx = match payload.get("tx-data") {
        Some(Value::String(text)) => decode(text)?,
        Some(items @ (Value::Vector(_) | Value::List(_))) => items.clone(),
        _ => return Err(odd("Unsupported tx-data shape")),
    };
    let unread = |error: graph::Error| odd(error);
    let unsummed = |error: graph::rules::Error| odd(error);
    let report = datascript::with_value(&before, &tx).map_err(odd)?;
    let input = logged(&["prev-checksum", "current-checksum"]);
    let full_before = checksum::full(&before).map_err(unsummed)?.to_string();
    let from_full = follow(&full_before, &report).map_err(unread)?;
    let is_sum = |text: &&String| text.parse::<checksum::Checksum>().is_ok();
    let from_input = input.as_ref().filter(is_sum).map(|sum| follow(sum, &report)).transpose().map_err(unread)?;
    let full_after = checksum::full(&report.db_after).map_err(unsummed)?.to_string();
    let (logged_before, logged_new) = (logged(&["prev-full-checksum"]), logged(&["new-checksum"]));
    let logged_after = logged(&["recomputed-after-checksum", "full-checksum"]);
    let data = json!({
        "log_file": path,
        "tx_count": tx.as_seq().map_or(0, <[Value]>::len),
        "input_checksum": input,
        "logged_prev_full_checksum": logged_before,
        "replayed_prev_full_checksum": full_before,
        "input_checksum_eq_replayed_prev_full": input.as_ref() == Some(&full_before),
        "match_logged_prev_full": logged_before.as_ref() == Some(&full_before),
        "logged_new_checksum": logged_new,
        "replayed_incremental": from_input,
        "replayed_incremental_from_full_before": from_full,
        "logged_full_after_checksum": logged_after,
        "replayed_recomputed_after": full_after,
        "match_logged_new": from_input == logged_new,
        "match_logged_full_after": logged_after.as_ref() == Some(&full_after),
        "incremental_eq_full": from_input.as_ref() == Some(&full_after),
        "incremental_from_full_before_eq_full": from_full == full_after,
    });
    output.result(&data, &super::checksum::words(&data));
    Ok(if from_input.as_ref() == Some(&full_after) { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

fn decode(text: &str) -> Result<Value, Failure> {
    let value = transit::read_with(text, Limits::STORED).map_err(odd)?;
    if value.as_seq().is_some() { Ok(value) } else { Err(odd("Decoded transit tx-data is not sequential")) }
}

/// The database value that was logged: its facts, under the schema that all graphs have.
fn database(text: &str) -> Result<Db, Failure> {
    let value = transit::read_with(text, Limits::STORED).map_err(|error| odd(format!("db-before: {error}")))?;
    let facts = match &value {
        Value::Tagged(tagged) if &*tagged.tag == "datascript/DB" => tagged.rep.get("datoms").and_then(Value::as_seq),
        _ => None,
    };
    let facts = facts.ok_or_else(|| odd("db-before is no database"))?;
    let mut wrong = false;
    let db = of_facts(|attrs| {
        let read = |value: &Value| -> Option<Datom> {
            let parts = match value {
                Value::Tagged(tagged) => tagged.rep.as_seq()?,
                value => value.as_seq()?,
            };
            let [e, a, v, tx, ..] = parts else { return None };
            let tx = u32::try_from(tx.as_int()?).ok()?;
            Some(fact(attrs, datascript::as_eid(e)?, a.as_keyword()?.as_str(), v.clone(), tx))
        };
        let all: Vec<Option<Datom>> = facts.iter().map(read).collect();
        wrong = all.iter().any(Option::is_none);
        all.into_iter().flatten().collect()
    });
    if wrong { Err(odd("db-before has facts that are none")) } else { Ok(db) }
}
