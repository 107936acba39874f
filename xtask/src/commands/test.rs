//! `cargo xtask test`: every test there is.

use std::ffi::OsString;
use std::time::Instant;

use anyhow::Result;
use lexopt::ValueExt as _;

use super::parts::{self, Part};
use super::{build, programs, setup};
use crate::process::{self, note, step};
use crate::tools;
use crate::workers::{self, WORKERS, Worker};

const HELP: &str = "\
Run every test there is: unit, integration and golden tests, the black-box suite, the attacks, the faults, the independent
reader, the reports and the recorded conversations against the worker under workerd, suite, attacks, recorded conversations and
load against the native server, of suite and attacks what may differ in each other way of signing in, the simulations, and mutations of the
fuzz corpora.
Seeds are fixed, so that a run can be repeated.

Usage: cargo xtask test [OPTIONS]

Options:
  --long             full numbers: 20000 seeds, 100000 graphs, 500000 mutations, every place where something can fail,
                     ten minutes of schemathesis, the black-box suite against `wrangler dev` too, and all of both suites
                     in each way of signing in
  --random           other seeds each time; they are printed
  --seeds N          seeds of the simulations of graphs, of sessions and of bridges, and of a tenth as many of runners' mailboxes (default
                     1000)
  --graphs N         odd graphs (default 2000), and a fifth as many whose log is replayed entry by entry
  --mutations N      mutations of each fuzz target (default 20000)
  --fuzz-seconds N   seconds of mutations instead, shared by the targets
  --server-kills N   how often the native server is killed under load (default 50)
  --server-faults N  how often its system calls fail under load (default 20)
  --storm-kills N    how often runners, shims, agents and the worker are killed while messages flow (default 100)
  --part NAME        only this part of what is built already: worker, native or agents

Tests with PostgreSQL install it where apt can; elsewhere they say that they were not run, and fail with REQUIRE_POSTGRES=1.
Tests of walls say that they were not run where this user may make no namespaces, and fail with REQUIRE_WALLS=1.
AGENTS_KILLS is how often the agents worker is killed while turns run (default 15, with --long 100).
GOLDEN_DIR names another folder of recorded vectors and conversations (default tests/reference/golden).";

/// How much of what could go on for ever.
#[derive(Clone)]
pub(super) struct Amounts {
    pub(super) seeds: u64,
    pub(super) graphs: u64,
    pub(super) mutations: u64,
    pub(super) fuzz_seconds: Option<u64>,
    /// Every place where something can fail, or a tenth of them.
    pub(super) all_faults: bool,
    /// How often the agents worker is killed, unless `AGENTS_KILLS` says.
    pub(super) kills: u64,
    /// How often runners, their agents and the agents worker are killed while messages flow.
    pub(super) storm_kills: u64,
    /// How often the native server is killed while it observes changes.
    pub(super) observing_kills: u64,
    /// Seconds for which schemathesis asks the agents worker.
    pub(super) api_seconds: u64,
    /// How often the native server is killed under load.
    pub(super) server_kills: u64,
    /// How often its system calls fail under load.
    pub(super) server_faults: u64,
    random: bool,
    /// The one part that is run, of what was built.
    part: Option<Part>,
}

impl Amounts {
    const DEFAULT: Self = Self {
        seeds: 1000,
        graphs: 2000,
        mutations: 20_000,
        fuzz_seconds: None,
        all_faults: false,
        kills: 15,
        storm_kills: 100,
        observing_kills: 10,
        api_seconds: 60,
        server_kills: 50,
        server_faults: 20,
        random: false,
        part: None,
    };
    const LONG: Self = Self {
        seeds: 20_000,
        graphs: 100_000,
        mutations: 500_000,
        all_faults: true,
        kills: 100,
        storm_kills: 1000,
        observing_kills: 100,
        api_seconds: 600,
        server_kills: 1000,
        server_faults: 200,
        ..Self::DEFAULT
    };

    /// Of the arguments; `None` after the help was shown.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let (mut long, mut random, mut fuzz_seconds) = (false, false, None);
        let (mut seeds, mut graphs, mut mutations) = (None, None, None);
        let (mut server_kills, mut server_faults, mut storm_kills, mut part) = (None, None, None, None);
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("long") => long = true,
                lexopt::Arg::Long("random") => random = true,
                lexopt::Arg::Long("seeds") => seeds = Some(args.value()?.parse()?),
                lexopt::Arg::Long("graphs") => graphs = Some(args.value()?.parse()?),
                lexopt::Arg::Long("mutations") => mutations = Some(args.value()?.parse()?),
                lexopt::Arg::Long("fuzz-seconds") => fuzz_seconds = Some(args.value()?.parse()?),
                lexopt::Arg::Long("server-kills") => server_kills = Some(args.value()?.parse()?),
                lexopt::Arg::Long("server-faults") => server_faults = Some(args.value()?.parse()?),
                lexopt::Arg::Long("storm-kills") => storm_kills = Some(args.value()?.parse()?),
                lexopt::Arg::Long("part") => part = Some(Part::named(&args.value()?.string()?)?),
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
            kills: base.kills,
            storm_kills: storm_kills.unwrap_or(base.storm_kills),
            observing_kills: base.observing_kills,
            api_seconds: base.api_seconds,
            server_kills: server_kills.unwrap_or(base.server_kills),
            server_faults: server_faults.unwrap_or(base.server_faults),
            random,
            part,
        }))
    }

    /// What every program that takes seeds is told.
    pub(super) fn random(&self) -> Option<&'static str> {
        self.random.then_some("--random")
    }
}

/// What the tests of the running worker are told of it; the tools' own defaults.
pub(super) const ISSUER: &str = "https://issuer.test/pool";
pub(super) const CLIENT_ID: &str = "client-under-test";
pub(super) const ADMIN_TOKEN: &str = "admin-secret";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    // The parts are told the same, after this program's name and the command's.
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let Some(amounts) = Amounts::parse(args)? else { return Ok(()) };
    let start = Instant::now();
    let root = workers::root();
    if let Some(part) = amounts.part {
        return part.run(&root, &amounts);
    }
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&root);
        command
    };

    tools::for_tests::strace()?;
    // The independent reader, which tests of the native server ask, needs its packages.
    tools::npm::ensure_node()?;
    tools::npm::ensure_packages()?;
    step("Unit, integration and golden tests");
    let packages = |worker: &Worker| worker.suites.iter().map(|suite| suite.package).chain([worker.package]);
    let later = WORKERS.into_iter().flat_map(packages).flat_map(|package| ["--exclude", package]);
    let mut everything = cargo();
    // The agent of the shim and of the runner is a program of Node's, which is looked for below.
    everything
        .args(["test", "--quiet", "--workspace", "--exclude", "agent-shim", "--exclude", "logseq-runner"])
        .args(later);
    // Histories of sessions of the agents worker, of what they hand to runners, and of bridges to PostgreSQL are among them.
    everything.env("SESSION_SEEDS", amounts.seeds.to_string());
    everything.env("PG_SYNC_SEEDS", amounts.seeds.to_string());
    // Four kinds of them, each in a database.
    everything.env("RUNNER_SEEDS", (amounts.seeds / 10).max(1).to_string());
    if amounts.random {
        let first = u64::from(std::process::id()) << 16;
        note(format!("SESSION_FIRST_SEED={first} PG_SYNC_FIRST_SEED={first} RUNNER_FIRST_SEED={first}"));
        for name in ["SESSION_FIRST_SEED", "PG_SYNC_FIRST_SEED", "RUNNER_FIRST_SEED"] {
            everything.env(name, first.to_string());
        }
    }
    if amounts.all_faults {
        everything.env("LIFE_LONG", "1").env("SHORT_WRITES", "500");
    }
    process::run(&mut everything)?;
    note(format!("{} s so far", start.elapsed().as_secs()));

    // Before the parts begin, which would install them at the same time.
    tools::for_tests::ensure()?;
    let programs = programs::start(&root, amounts)?;

    let tools = setup::prepare()?;
    WORKERS.iter().try_for_each(|worker| build::build(worker, &tools, build::Profile::Release))?;
    step("Native programs");
    for packages in parts::PROGRAMS {
        let packages = packages.iter().flat_map(|package| ["-p", package]);
        process::run(cargo().args(["build", "--quiet", "--profile", "fast"]).args(packages))?;
    }

    let parts = parts::side_by_side(&arguments);
    let programs = programs.finish();
    parts.and(programs)?;

    step(format!("All tests passed in {} s", start.elapsed().as_secs()));
    Ok(())
}
