//! What is tested of the agents worker once it is built, and of what runs beside its agents.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::super::native;
use super::super::test::Amounts;
use crate::process::{self, step};
use crate::tools;

/// So many messages flow at the most while runners and their agents are killed, two for each kill.
const MAX_STORM_MESSAGES: u64 = 200;

/// The shim and the runner, recorded conversations, sessions from end to end, and the description of the API.
pub(super) fn check(root: &Path, amounts: &Amounts) -> Result<()> {
    tools::for_tests::bubblewrap()?;
    step("An agent beside a mailbox, and a runner that calls its worker");
    let mut shim = process::cargo();
    shim.current_dir(root).args(["test", "--quiet", "-p", "agent-shim", "-p", "logseq-runner"]);
    shim.env("SANDBOX_AGENT_BIN", tools::sandbox_agent::ensure()?);
    if amounts.all_faults {
        shim.env("LIFE_LONG", "1");
    }
    process::run(&mut shim)?;
    sessions(root, amounts.kills, amounts.storm_kills)?;
    observing(root, amounts.all_faults)?;
    api(root, amounts.api_seconds)
}

/// The agents worker: what was recorded of it, and sessions from end to end with the real sandbox-agent server.
fn sessions(root: &Path, kills: u64, storm_kills: u64) -> Result<()> {
    let node = || {
        let mut command = Command::new("node");
        command.current_dir(root).envs(tools::npm::QUIET);
        command
    };
    step("Recorded conversations with the agents worker");
    process::run(node().arg("tests/replay/agents.mjs"))?;

    step("Sessions from end to end");
    let server = tools::sandbox_agent::ensure()?;
    let cases = ["sessions", "together", "legacy", "resume", "transcripts", "webhooks", "mailbox"]
        .map(|name| format!("tests/agents/{name}.test.mjs"));
    // One after the other: each file has a worker of its own, and its cases have deadlines.
    process::run(
        node()
            .args(["--test", "--test-force-exit", "--test-concurrency=1"])
            .args(cases)
            .env("SANDBOX_AGENT_BIN", &server),
    )?;

    step("Stand-ins of E2B and GitHub, as E2B's SDK, Octokit and git see them");
    let cases = ["e2b-sdk", "github-octokit"].map(|name| format!("tests/agents/{name}.test.mjs"));
    process::run(node().args(["--test", "--test-force-exit", "--test-concurrency=2"]).args(cases))?;

    step("Sessions in sandboxes, their terminals, their trees, publishing with real git, and what comes back of it");
    let cases = [
        "e2b",
        "e2b-faults",
        "publish",
        "github-webhook",
        "terminal",
        "tree",
        "broker",
        "hostile",
        "canaries",
        "egress",
        "guide",
    ]
    .map(|name| format!("tests/agents/{name}.test.mjs"));
    process::run(
        node()
            .args(["--test", "--test-force-exit", "--test-concurrency=2"])
            .args(cases)
            .env("SANDBOX_AGENT_BIN", &server),
    )?;

    step("Pages for people, in a browser");
    let chromium = tools::chromium::ensure()?;
    let browser = [("SANDBOX_AGENT_BIN", server.as_path()), ("CHROMIUM", chromium.as_path())];
    process::run(node().args(["--test", "--test-force-exit", "tests/agents/view.test.mjs"]).envs(browser))?;

    runner(root, &server, &node, storm_kills)?;

    step("Kills while turns run");
    let mut killing = node();
    if std::env::var_os("AGENTS_KILLS").is_none() {
        killing.env("AGENTS_KILLS", kills.to_string());
    }
    process::run(killing.arg("tests/agents/kills.mjs").env("SANDBOX_AGENT_BIN", &server))
}

/// A runner from end to end, and what becomes of messages when it, its agents and the worker are killed.
fn runner(root: &Path, server: &Path, node: &dyn Fn() -> Command, kills: u64) -> Result<()> {
    step("A runner lends this machine to sessions");
    let packages = ["logseq-runner", "agent-shim", "mailbox-tests"].map(|package| ["-p", package]);
    let mut build = process::cargo();
    process::run(build.current_dir(root).args(["build", "--quiet", "--profile", "fast"]).args(packages.concat()))?;
    let built = native::target(root).join("fast");
    let binary = built.join("logseq-runner");
    let runner = [("SANDBOX_AGENT_BIN", server), ("LOGSEQ_RUNNER", binary.as_path())];
    let cases = ["runner", "runner-guide", "mailbox-runner", "mailbox-git", "mailbox-move"]
        .map(|name| format!("tests/agents/{name}.test.mjs"));
    process::run(node().args(["--test", "--test-force-exit", "--test-concurrency=1"]).args(cases).envs(runner))?;

    step(format!("{kills} kills of runners, shims, agents and the worker while messages flow"));
    let mut storm = node();
    let (kills, messages) = (kills.to_string(), kills.saturating_mul(2).min(MAX_STORM_MESSAGES).to_string());
    storm.args(["tests/agents/storm.mjs", "--kills", &kills, "--messages", &messages]).envs(runner);
    process::run(storm.env("MAILBOX_SIDE", built.join("mailbox-side")))
}

/// Changes of a real database to events of sessions, while workerd is killed: a tenth of them, unless all are asked for; tools with
/// which agents observe them, logs of bridges as streams, and the commands of docs/pg-sync.md.
fn observing(root: &Path, is_long: bool) -> Result<()> {
    step("Changes of PostgreSQL tables to events of sessions");
    if !tools::postgres::is_usable()? {
        return Ok(());
    }
    let mut observing = Command::new("node");
    observing.current_dir(root).envs(tools::npm::QUIET).env("PG_SYNC_CHANGES", if is_long { "10000" } else { "1000" });
    let cases = ["worker", "tools", "worker-streams", "guide"].map(|name| format!("tests/pg-sync/{name}.test.mjs"));
    process::run(observing.args(["--test", "--test-force-exit", "--test-concurrency=1"]).args(cases))
}

/// The agents worker against the description of its API.
fn api(root: &Path, seconds: u64) -> Result<()> {
    step("Recorded answers against the description of the API");
    process::run(Command::new("node").current_dir(root).arg("tests/openapi/recordings.mjs"))?;

    step(format!("schemathesis asks the agents worker for {seconds} s"));
    let python = tools::schemathesis::ensure()?;
    let mut asking = Command::new("node");
    asking.current_dir(root).envs(tools::npm::QUIET).args([
        "tests/openapi/fuzz.mjs",
        "--seconds",
        &seconds.to_string(),
    ]);
    process::run(asking.env("SCHEMATHESIS", python))
}
