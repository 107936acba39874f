//! `logseq-sync health`: whether a server answers.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http_body_util::Empty;
use serde_json::json;

use super::failure::{Failure, exit};
use super::output::Output;
use super::{Outcome, flags};
use crate::serve::client::{Client, plain};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The verb.
pub(super) fn command() -> Command {
    let url =
        Arg::new("url").long("url").value_name("URL").help("the server; else the configured port on this machine");
    flags::of_keys(Command::new("health").about("Say whether the server answers"), &["port"]).arg(url)
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let base = if let Some(url) = super::text(matches, "url") {
        url.trim_end_matches('/').to_owned()
    } else {
        let resolved = flags::resolve(matches)?;
        format!("http://127.0.0.1:{}", resolved.value("port").map(crate::config::text).unwrap_or_default())
    };
    let uri = format!("{base}/health").parse().map_err(|_| Failure::usage(format!("{base:?} is no address")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("io", exit::IO, error))?;
    let status = runtime.block_on(async {
        let client: Client<Empty<Bytes>> = plain();
        tokio::time::timeout(PATIENCE, client.get(uri)).await
    });
    match status {
        Ok(Ok(response)) if response.status().is_success() => {
            output.result(&json!({ "ok": true }), "ok");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ok(response)) => Err(Failure::new("unwell", exit::FAILED, format!("{base} answers {}", response.status()))),
        Ok(Err(error)) => Err(Failure::new("unreachable", exit::FAILED, format!("{base}: {error}"))),
        Err(_) => Err(Failure::new("unreachable", exit::FAILED, format!("{base}: no answer in time"))),
    }
}
