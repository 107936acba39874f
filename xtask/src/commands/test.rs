//! `cargo xtask test`: every test there is.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lexopt::ValueExt as _;

use super::{build, native, setup, wrangler};
use crate::process::{self, note, step};
use crate::serving::Serving;
use crate::tools;
use crate::workers::{self, WORKERS, Worker};

const HELP: &str = "\
Run every test there is: unit, integration and golden tests, the black-box suite, the attacks, the faults, the independent
reader, the reports and the recorded conversations against the worker under workerd, suite, attacks and recorded conversations
against the native server, the simulations, and mutations of the fuzz corpora. Seeds are fixed, so that a run can be repeated.

Usage: cargo xtask test [OPTIONS]

Options:
  --long             full numbers: 20000 seeds, 100000 graphs, 500000 mutations, every place where something can fail,
                     ten minutes of schemathesis, and the black-box suite against `wrangler dev` too
  --random           other seeds each time; they are printed
  --seeds N          seeds of the simulations of graphs and of sessions (default 1000)
  --graphs N         odd graphs (default 2000), and a fifth as many whose log is replayed entry by entry
  --mutations N      mutations of each fuzz target (default 20000)
  --fuzz-seconds N   seconds of mutations instead, shared by the targets

AGENTS_KILLS is how often the agents worker is killed while turns run (default 100).
GOLDEN_DIR names another folder of recorded vectors and conversations (default tests/reference/golden).";

/// How much of what could go on for ever.
struct Amounts {
    seeds: u64,
    graphs: u64,
    mutations: u64,
    fuzz_seconds: Option<u64>,
    /// Every place where something can fail, or a tenth of them.
    all_faults: bool,
    /// Seconds for which schemathesis asks the agents worker.
    api_seconds: u64,
    random: bool,
}

/// Entries that a graph of `simulation odd --told` is sent (`simulation::odd`): 10,000 in all by default.
const TOLD_ENTRIES: u64 = 25;

impl Amounts {
    const DEFAULT: Self = Self {
        seeds: 1000,
        graphs: 2000,
        mutations: 20_000,
        fuzz_seconds: None,
        all_faults: false,
        api_seconds: 60,
        random: false,
    };
    const LONG: Self = Self {
        seeds: 20_000,
        graphs: 100_000,
        mutations: 500_000,
        all_faults: true,
        api_seconds: 600,
        ..Self::DEFAULT
    };

    /// Of the arguments; `None` after the help was shown.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let (mut long, mut random, mut fuzz_seconds) = (false, false, None);
        let (mut seeds, mut graphs, mut mutations) = (None, None, None);
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("long") => long = true,
                lexopt::Arg::Long("random") => random = true,
                lexopt::Arg::Long("seeds") => seeds = Some(args.value()?.parse()?),
                lexopt::Arg::Long("graphs") => graphs = Some(args.value()?.parse()?),
                lexopt::Arg::Long("mutations") => mutations = Some(args.value()?.parse()?),
                lexopt::Arg::Long("fuzz-seconds") => fuzz_seconds = Some(args.value()?.parse()?),
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    println!("{HELP}");
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let base = if long { Self::LONG } else { Self::DEFAULT };
        Ok(Some(Self {
            seeds: seeds.unwrap_or(base.seeds),
            graphs: graphs.unwrap_or(base.graphs),
            mutations: mutations.unwrap_or(base.mutations),
            fuzz_seconds,
            all_faults: base.all_faults,
            api_seconds: base.api_seconds,
            random,
        }))
    }

    /// What every program that takes seeds is told.
    fn random(&self) -> Option<&'static str> {
        self.random.then_some("--random")
    }
}

/// What the tests of the running worker are told of it; the tools' own defaults.
pub(super) const ISSUER: &str = "https://issuer.test/pool";
pub(super) const CLIENT_ID: &str = "client-under-test";
pub(super) const ADMIN_TOKEN: &str = "admin-secret";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    let Some(amounts) = Amounts::parse(args)? else { return Ok(()) };
    let start = Instant::now();
    let root = workers::root();
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&root);
        command
    };

    if process::find("strace").is_none() {
        tools::apt::install("tests of daemons let system calls fail", &["strace"])?;
    }
    step("Unit, integration and golden tests");
    let packages = |worker: &Worker| worker.suites.iter().map(|suite| suite.package).chain([worker.package]);
    let later = WORKERS.into_iter().flat_map(packages).flat_map(|package| ["--exclude", package]);
    let mut everything = cargo();
    everything.args(["test", "--quiet", "--workspace"]).args(later);
    // Histories of sessions of the agents worker are among them.
    everything.env("SESSION_SEEDS", amounts.seeds.to_string());
    if amounts.random {
        let first = u64::from(std::process::id()) << 16;
        note(format!("SESSION_FIRST_SEED={first}"));
        everything.env("SESSION_FIRST_SEED", first.to_string());
    }
    if amounts.all_faults {
        everything.env("LIFE_LONG", "1");
    }
    process::run(&mut everything)?;
    note(format!("{} s so far", start.elapsed().as_secs()));

    let play = |package: &str, more: &[&str]| {
        let mut command = cargo();
        command.args(["run", "--quiet", "--profile", "fast", "-p", package, "--"]).args(more).args(amounts.random());
        process::run(&mut command)
    };
    step(format!("Simulation, {} seeds", amounts.seeds));
    play("simulation", &["--seeds", &amounts.seeds.to_string()])?;

    step(format!("Odd graphs, {} of them", amounts.graphs));
    tools::npm::ensure_node()?;
    tools::npm::ensure_packages()?;
    play("simulation", &["odd", "--graphs", &amounts.graphs.to_string()])?;
    let told = amounts.graphs.div_ceil(5);
    step(format!("What the log tells is what the server holds: {told} graphs of {TOLD_ENTRIES} entries"));
    play("simulation", &["odd", "--told", "--graphs", &told.to_string()])?;

    match amounts.fuzz_seconds {
        None => {
            step(format!("Fuzz corpora and {} mutations of each target's", amounts.mutations));
            play("fuzz-targets", &["--mutations", &amounts.mutations.to_string()])?;
        }
        Some(seconds) => {
            step(format!("Fuzz corpora and {seconds} s of mutations"));
            play("fuzz-targets", &["--seconds", &seconds.to_string()])?;
        }
    }
    note(format!("{} s so far", start.elapsed().as_secs()));

    let tools = setup::prepare()?;
    WORKERS.iter().try_for_each(|worker| build::build(worker, &tools, build::Profile::Release))?;

    step("Verdicts of clients' own Transit reader");
    process::run(Command::new("node").current_dir(&root).args(["tests/clients/verdicts.mjs", "--check"]))?;

    // A tenth of the places where something can fail, unless all are asked for.
    let all_faults = if amounts.all_faults { "1" } else { "0" };
    for suite in WORKERS.iter().flat_map(|worker| worker.suites) {
        step(suite.title);
        process::run(cargo().args(["test", "--quiet", "-p", suite.package]).env("FAULTS_LONG", all_faults))?;
    }

    if amounts.all_faults {
        wrangler::check(&root)?;
    }

    wrangler::workers(&root)?;

    step("Independent reader: transit-js and npm datascript");
    let server = serving(&[])?;
    process::run(node(&server).args(["--test", "tests/reader/snapshot.test.mjs"]))?;
    server.stop()?;

    step("What the launcher and the scripts say");
    let scripts = ["--test", "xtask/launcher/settings.test.mjs", "xtask/scripts/scripts.test.mjs"];
    process::run(Command::new("node").current_dir(&root).args(scripts))?;

    reports(&root)?;

    step("Recorded conversations");
    let server = serving(&[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")])?;
    process::run(node(&server).arg("tests/replay/check.mjs"))?;
    server.stop()?;

    native::check(&root, &cargo)?;

    agents(&root)?;
    api(&root, amounts.api_seconds)?;

    step(format!("All tests passed in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The agents worker: what was recorded of it, and sessions from end to end with the real sandbox-agent server.
fn agents(root: &Path) -> Result<()> {
    let node = || {
        let mut command = Command::new("node");
        command.current_dir(root).envs(tools::npm::QUIET);
        command
    };
    step("Recorded conversations with the agents worker");
    process::run(node().arg("tests/replay/agents.mjs"))?;

    step("Sessions from end to end");
    let server = tools::sandbox_agent::ensure()?;
    let cases = ["sessions", "together", "legacy", "resume", "transcripts", "webhooks"]
        .map(|name| format!("tests/agents/{name}.test.mjs"));
    // One after the other: each file has a worker of its own, and its cases have deadlines.
    process::run(node().args(["--test", "--test-concurrency=1"]).args(cases).env("SANDBOX_AGENT_BIN", &server))?;

    step("Stand-ins of E2B and GitHub, as E2B's SDK, Octokit and git see them");
    let cases = ["e2b-sdk", "github-octokit"].map(|name| format!("tests/agents/{name}.test.mjs"));
    process::run(node().args(["--test", "--test-concurrency=2"]).args(cases))?;

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
    process::run(node().args(["--test", "--test-concurrency=2"]).args(cases).env("SANDBOX_AGENT_BIN", &server))?;

    step("Pages for people, in a browser");
    let chromium = tools::chromium::ensure()?;
    let browser = [("SANDBOX_AGENT_BIN", server.as_path()), ("CHROMIUM", chromium.as_path())];
    process::run(node().args(["--test", "tests/agents/view.test.mjs"]).envs(browser))?;

    step("Kills while turns run");
    process::run(node().arg("tests/agents/kills.mjs").env("SANDBOX_AGENT_BIN", &server))
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

/// The token of the `static` driver, as the reports send it.
const TOKEN: &str = "choose-a-long-secret";

/// What people met with servers of this kind: one script a report.
fn reports(root: &Path) -> Result<()> {
    step("Reports");
    let server = serving(&[
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", TOKEN),
        ("DB_SYNC_TRUSTED_PROXIES", "loopback"),
    ])?;
    let folder = root.join("tests/reports");
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        scripts.push(entry?.path());
    }
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "mjs"));
    scripts.sort();
    ensure!(!scripts.is_empty(), "no reports in {}", folder.display());
    for script in scripts {
        process::run(node(&server).env("TOKEN", TOKEN).arg(script))?;
    }
    server.stop()
}

/// The built worker, trusting the key set that the tools serve.
fn serving(more: &[(&str, &str)]) -> Result<Serving> {
    let jwks_port = Serving::free_port()?;
    let settings = [("COGNITO_ISSUER", ISSUER), ("COGNITO_CLIENT_ID", CLIENT_ID), ("DB_SYNC_ADMIN_TOKEN", ADMIN_TOKEN)];
    Serving::start(jwks_port, settings.iter().chain(more).copied())
}

/// Node at the repository's root, told where the server is.
fn node(server: &Serving) -> Command {
    let mut command = Command::new("node");
    command
        .current_dir(workers::root())
        .envs(tools::npm::QUIET)
        .env("BASE_URL", server.base())
        .env("JWKS_PORT", server.jwks_port().to_string())
        .env("SIGNING_KEY", server.folder().join("signing-key.json"));
    command
}
