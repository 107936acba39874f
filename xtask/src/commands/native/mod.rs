//! The native server under the suites of the sync worker: what they ask, it answers the same.

pub(super) mod modes;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use self::server::Setup;
use super::load;
use super::test::Amounts;
use crate::process::{self, step};
use crate::serving::Serving;
use crate::tools;
use crate::tools::npm::QUIET;

/// The folder in which cargo builds.
pub(super) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The suites, the recorded conversations and load against the native server, deaths of it, and the bridge to a database.
pub(super) fn check(root: &Path, amounts: &Amounts) -> Result<()> {
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(root);
        command
    };
    let binary = plays(root, &cargo, amounts.all_faults)?;
    observing(root, &binary, amounts.observing_kills)?;
    streams(root, &cargo)?;

    let (kills, faults) = (amounts.server_kills, amounts.server_faults);
    step(format!("Native server under load: {kills} kills, and {faults} times system calls fail"));
    let mut crash = cargo();
    crash.args(["run", "--quiet", "--profile", "fast", "-p", "crash", "--"]).env("LOGSEQ_SYNC", binary);
    crash.args(["--kills", &kills.to_string(), "--faults", &faults.to_string()]).args(amounts.random());
    process::run(&mut crash)?;
    shapes(root)
}

/// Builds the binary, which is given back, and plays the suites, the recorded conversations and what people do with it.
fn plays(root: &Path, cargo: &dyn Fn() -> Command, all_modes: bool) -> Result<PathBuf> {
    step("Native server: build");
    process::run(cargo().args(["build", "--quiet", "--profile", "fast", "-p", "logseq-sync"]))?;
    let binary = target(root).join("fast/logseq-sync");
    suites(&binary, cargo)?;
    modes::check(&binary, cargo, all_modes)?;

    step("Recorded conversations with the native server");
    let server = Setup::of_cognito()?.with("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false").start(&binary)?;
    let mut node = server.told(Command::new("node"));
    process::run(node.current_dir(root).envs(QUIET).arg("tests/replay/check.mjs"))?;
    server.stop()?;

    step("Load on the native server: 200 sockets for 10 s");
    load::play(cargo, Some(&binary), ["--sockets", "200", "--graphs", "10", "--seconds", "10"])?;

    let script = |file: &str| {
        let mut node = Command::new("node");
        node.current_dir(root).envs(QUIET).env("LOGSEQ_SYNC", &binary).args(["--test", "--test-force-exit", file]);
        process::run(&mut node)
    };
    step("Every command of docs/self-hosting.md, and the unit");
    tools::for_tests::systemd_analyze()?;
    script("tests/self-host/guide.test.mjs")?;

    step("A deployment moves from the native server to the worker and D1, and back");
    script("tests/moving/moving.test.mjs")?;

    step("The native server's status page, in a browser");
    let mut page = Command::new("node");
    page.current_dir(root).envs(QUIET).env("LOGSEQ_SYNC", &binary).env("CHROMIUM", tools::chromium::ensure()?);
    process::run(page.args(["--test", "--test-force-exit", "tests/self-host/status.test.mjs"]))?;
    Ok(binary)
}

/// Changes of a database, through the stand-in of the shape service and the server's bridge, which is killed so often; and its log as a
/// stream, which the official client reads.
fn observing(root: &Path, binary: &Path, kills: u64) -> Result<()> {
    step("Changes of a PostgreSQL, through the native server's bridge to a sink, and as a stream");
    if tools::postgres::is_usable()? {
        let mut node = Command::new("node");
        node.current_dir(root).envs(QUIET).env("LOGSEQ_SYNC_BIN", binary).env("PG_SYNC_KILLS", kills.to_string());
        let cases = ["native", "streams"].map(|name| format!("tests/pg-sync/{name}.test.mjs"));
        process::run(node.args(["--test", "--test-force-exit", "--test-concurrency=1"]).args(cases))?;
    }
    Ok(())
}

/// The published suite of durable streams against the store of bridges' logs, with routes that write: no release has those.
fn streams(root: &Path, cargo: &dyn Fn() -> Command) -> Result<()> {
    step("The conformance suite of durable streams");
    process::run(cargo().args(["build", "--quiet", "-p", "streams-server"]))?;
    let server = target(root).join("debug/streams-server");
    let mut node = Command::new("node");
    process::run(node.current_dir(root).envs(QUIET).env("STREAMS_SERVER", server).arg("tests/streams/conformance.mjs"))
}

/// The black-box suite and the attacks against a binary.
pub(super) fn suites(binary: &Path, cargo: &dyn Fn() -> Command) -> Result<()> {
    step("Black-box suite against the native server");
    let agents_port = Serving::free_port()?.to_string();
    let setup = Setup::of_cognito()?.with("AGENTS_SERVICE_URL", format!("http://127.0.0.1:{agents_port}"));
    let server = setup.telling("AGENTS_PORT", agents_port).start(binary)?;
    server.suite(cargo, "conformance")?;
    step("Attacks on the native server");
    server.suite(cargo, "attacks")?;
    server.stop()
}

/// The stand-in of the shape service over a real database, as the official client and the published description see it.
fn shapes(root: &Path) -> Result<()> {
    step("Shapes of PostgreSQL tables: the stand-in of Electric's service, with the official client");
    if !tools::postgres::is_usable()? {
        return Ok(());
    }
    let cases = ["shapes", "protocol"].map(|name| format!("tests/pg-sync/{name}.test.mjs"));
    // The official client keeps timers for a minute after it was stopped.
    let arguments = ["--test", "--test-force-exit", "--test-concurrency=2"];
    process::run(Command::new("node").current_dir(root).args(arguments).args(cases))
}
