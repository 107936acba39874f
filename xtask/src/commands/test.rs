//! `cargo xtask test`: every test there is.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use lexopt::ValueExt as _;

use super::{build, setup};
use crate::serving::Serving;
use crate::step::{note, step};
use crate::{process, project, tools};

const HELP: &str = "\
Run every test there is: unit, integration and golden tests, the black-box suite, the attacks, the independent reader and the recorded
conversations against the worker under workerd, the simulation, and random mutations of the fuzz corpora.

Usage: cargo xtask test [OPTIONS]

Options:
  --seeds N          seeds of the simulation (default 1000)
  --fuzz-seconds N   seconds of random mutations (default 120)

GOLDEN_DIR names another folder of recorded vectors and conversations (default tests/reference/golden).";

const DEFAULT_SEEDS: u64 = 1000;
const DEFAULT_FUZZ_SECONDS: u64 = 120;

/// What the tests of the running worker are told of it; the tools' own defaults.
const ISSUER: &str = "https://issuer.test/pool";
const CLIENT_ID: &str = "client-under-test";
const ADMIN_TOKEN: &str = "admin-secret";

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let (mut seeds, mut fuzz_seconds) = (DEFAULT_SEEDS, DEFAULT_FUZZ_SECONDS);
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("seeds") => seeds = args.value()?.parse()?,
            lexopt::Arg::Long("fuzz-seconds") => fuzz_seconds = args.value()?.parse()?,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let start = Instant::now();
    let root = project::root();
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&root);
        command
    };

    step("Unit, integration and golden tests");
    let later = ["sync-worker", "attacks", "conformance", "durability"].map(|package| ["--exclude", package]);
    process::run(cargo().args(["test", "--quiet", "--workspace"]).args(later.concat()))?;
    note(format!("{} s so far", start.elapsed().as_secs()));

    step(format!("Simulation, {seeds} seeds"));
    let seeds = seeds.to_string();
    process::run(cargo().args(["run", "--quiet", "--profile", "fast", "-p", "simulation", "--", "--seeds", &seeds]))?;

    step(format!("Fuzz corpora and {fuzz_seconds} s of random mutations"));
    let seconds = fuzz_seconds.to_string();
    process::run(cargo().args([
        "run",
        "--quiet",
        "--profile",
        "fast",
        "-p",
        "fuzz-targets",
        "--",
        "--seconds",
        &seconds,
    ]))?;
    note(format!("{} s so far", start.elapsed().as_secs()));

    build::build(&setup::prepare()?, build::Profile::Release)?;

    step("Black-box suite against the worker under workerd");
    process::run(cargo().args(["test", "--quiet", "-p", "conformance"]))?;

    step("Attacks on the worker under workerd");
    process::run(cargo().args(["test", "--quiet", "-p", "attacks"]))?;

    step("Kills between acknowledged writes");
    process::run(cargo().args(["test", "--quiet", "-p", "durability"]))?;

    step("Independent reader: transit-js and npm datascript");
    let server = serving(&[])?;
    process::run(node(&server).args(["--test", "tests/reader/snapshot.test.mjs"]))?;
    server.stop()?;

    step("Recorded conversations");
    let server = serving(&[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")])?;
    process::run(node(&server).arg("tests/replay/check.mjs"))?;
    server.stop()?;

    step(format!("All tests passed in {} s", start.elapsed().as_secs()));
    Ok(())
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
        .current_dir(project::root())
        .envs(tools::npm::QUIET)
        .env("BASE_URL", server.base())
        .env("JWKS_PORT", server.jwks_port().to_string())
        .env("SIGNING_KEY", server.folder().join("signing-key.json"));
    command
}
