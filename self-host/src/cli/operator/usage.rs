//! `usage`: how much a deployment is used.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use index::{migrations, operator};
use serde_json::json;

use super::ledger::Ledger;
use super::target::{INDEX, choose, with_target};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::host::now_ms;

/// The verb.
pub(super) fn command() -> Command {
    let days = Arg::new("days")
        .long("days")
        .value_name("N")
        .default_value("7")
        .help("days that are looked at, today included");
    with_target(Command::new("usage").about("Show how many users and graphs there are, and how many are active"), INDEX)
        .arg(days)
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let days =
        text(matches, "days").and_then(|text| text.parse::<u32>().ok()).filter(|days| (1..=36_500).contains(days));
    let days = days.ok_or_else(|| Failure::usage("--days must be a whole number from 1 on"))?;
    let (target, _) = choose(matches, output)?;
    let ledger = Ledger::open(&target, false)?;
    let missing = migrations::missing(&ledger).await?;
    let usage = operator::usage(&ledger, days, now_ms(), &missing).await?;
    let hints: Vec<String> = ["0005", "0006"]
        .into_iter()
        .filter_map(|number| missing.iter().find(|name| name.starts_with(number)))
        .map(|name| format!("the migration {name} was not applied: what it keeps is not counted"))
        .collect();
    let data = json!({
        "days": days,
        "active_since_utc": usage.since,
        "active_users_last_n_days": usage.active_users,
        "active_graphs_last_n_days": usage.active_graphs,
        "total_users": usage.users,
        "total_graphs": usage.graphs,
        "users_created_today": usage.users_today,
        "graphs_created_today": usage.graphs_today,
        "today_utc": usage.today,
        "hints": hints,
    });
    for hint in &hints {
        output.note(&format!("hint: {hint}"));
    }
    let fields = data.as_object().into_iter().flatten().filter(|(name, _)| *name != "hints");
    let words: Vec<String> = fields
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name}: {text}"),
            serde_json::Value::Null => format!("{name}: -"),
            other => format!("{name}: {other}"),
        })
        .collect();
    output.result(&data, &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}
