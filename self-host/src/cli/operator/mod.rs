//! The operator's verbs over a data directory, a remote server or a deployment's D1 (self-host.md 7).

mod backup;
mod checksum;
mod checksum_log;
mod confirm;
mod copy;
mod delete;
mod download;
mod drift;
mod edn;
mod engine;
mod gc;
mod graphs;
mod index;
mod ledger;
mod manifest;
mod progress;
mod repair;
mod restore;
mod surface;
mod table;
mod target;
mod upload;
mod usage;
mod verify;
mod wrangler;
mod ws_test;

use clap::{ArgMatches, Command};

use super::Outcome;
use super::failure::{Failure, exit};
use super::output::Output;

/// All verbs.
pub(super) fn commands() -> Vec<Command> {
    let graph = graphs::graph_command().subcommands([download::command(), upload::command(), delete::graph_command()]);
    vec![
        graphs::command(),
        graph,
        usage::command(),
        index::command(),
        checksum::command(),
        ws_test::command(),
        verify::command(),
        repair::command(),
        gc::checkpoint_command(),
        backup::command(),
        restore::command(),
        gc::gc_command(),
    ]
}

/// `user delete`, which stands with the other verbs about users.
pub(super) fn user_delete() -> Command {
    delete::user_command()
}

/// Runs it.
pub(super) fn delete_user(matches: &ArgMatches, output: Output) -> Outcome {
    block_on(delete::user(matches, output))
}

/// Runs one; none where the verb is not one of these.
pub(super) fn run(verb: &str, matches: &ArgMatches, output: Output) -> Option<Outcome> {
    Some(match verb {
        "graphs" => block_on(graphs::of_user(matches, output)),
        "graph" => block_on(graphs::run(matches, output)),
        "usage" => block_on(usage::run(matches, output)),
        "index" => block_on(index::run(matches, output)),
        "ws-test" => block_on(ws_test::run(matches, output)),
        "verify" => block_on(verify::run(matches, output)),
        "repair" => block_on(repair::run(matches, output)),
        "checkpoint" => block_on(gc::checkpoint(matches, output)),
        "backup" => block_on(backup::run(matches, output)),
        "restore" => block_on(restore::run(matches, output)),
        "gc" => block_on(gc::gc(matches, output)),
        "checksum" => checksum::run(matches, output),
        _ => return None,
    })
}

/// Runs a verb, which waits for servers and files, on this thread.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("io", exit::IO, error))?.block_on(work)
}

impl From<::index::Error> for Failure {
    fn from(error: ::index::Error) -> Self {
        Self::new("index", exit::FAILED, error)
    }
}

impl From<database::DbError> for Failure {
    fn from(error: database::DbError) -> Self {
        Self::new("index", exit::FAILED, format!("index database: {error}"))
    }
}

/// What the file system says about a path.
fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new("io", exit::IO, format!("{}: {error}", path.display()))
}
