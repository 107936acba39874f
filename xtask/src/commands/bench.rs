//! `cargo xtask bench`: the figures of docs/benchmarks.md.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{build, setup};
use crate::process::step;
use crate::serving::Serving;
use crate::workers::{self, AGENTS, SYNC};
use crate::{process, tools};

const HELP: &str = "\
Measure, each figure beside its yardstick in the same run; one JSON object a figure.

Usage: cargo xtask bench [PART...]

Parts (default: all but load and agents):
  engine     (a) transactions of 7 datoms in memory, beside npm datascript
  pipeline   (b) message in, rows on disk, beside npm datascript and bare inserts of the same log rows
  workerd    (c) the running worker beside a bare Durable Object
  memory     (d) memory with a graph of 1,000,000 datoms (made once, kept in the user's cache folder), and what a batch of
                 30 MB and a pull of 150 MB leave of it
  growth     (e) cost of a transaction with 2,000 and with 1,000,000 datoms
  writes     (i) rows, bytes and processor time a transaction over 200,000 datoms, natively with the journal and with the tail,
                 and in the running worker; the last lines are `writes native|worker WORKLOAD rows=… bytes=… cpu_us=…`
  size       (f) compressed size of the worker, and how fast it starts beside an empty worker
  load       (g) every measuring part of tests/reference/tools/load.mjs (some ten minutes)
  agents     (h) the agents worker: events to viewers, events a second, replay, messages, size; the last lines are
                 `agents FIGURE value unit`

Run it on a machine that does nothing else.";

const ALL: [&str; 7] = ["engine", "pipeline", "workerd", "memory", "growth", "writes", "size"];
const LOAD: &str = "load";
const AGENTS_PART: &str = "agents";

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let mut parts = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Value(part) => parts.push(part.to_string_lossy().into_owned()),
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(unknown) = parts.iter().find(|part| ![&ALL[..], &[LOAD, AGENTS_PART]].concat().contains(&part.as_str()))
    {
        bail!("unknown part {unknown:?}; `cargo xtask bench --help` lists the parts");
    }
    if parts.is_empty() {
        parts = ALL.map(String::from).to_vec();
    }
    let tools = setup::prepare()?;
    for (worker, of_agents) in [(&SYNC, false), (&AGENTS, true)] {
        if parts.iter().any(|part| (part == AGENTS_PART) == of_agents) {
            build::build(worker, &tools, build::Profile::Release)?;
        }
    }
    for part in &parts {
        measure(part)?;
    }
    Ok(())
}

fn measure(part: &str) -> Result<()> {
    let root = workers::root();
    match part {
        "engine" | "pipeline" => {
            step(format!("{part}: npm datascript, then ours"));
            let yardstick = json(node(&root, "npm-datascript.mjs").arg("10000"))?;
            let ours = json(&mut native(&root, part))?;
            println!("{yardstick}\n{ours}");
            let rate = |text: &str| field(text, "transactionsPerSecond");
            println!("{{\"part\":\"{part}\",\"ratioToNpmDatascript\":{:.2}}}", rate(&ours)? / rate(&yardstick)?);
        }
        "growth" => {
            step("growth: filling a graph to 1,000,000 datoms first");
            process::run(&mut native(&root, "growth"))?;
        }
        "writes" => {
            step("writes: four workloads over 200,000 datoms, natively");
            process::run(&mut native(&root, "writes"))?;
            let frames = big_frames(&root, 200_000)?;
            step("writes: the same in the running worker");
            process::run(node(&root, "writes.mjs").arg(frames))?;
        }
        "workerd" => {
            step("workerd: the worker and a bare Durable Object, in turn");
            process::run(&mut node(&root, "workerd.mjs"))?;
        }
        "memory" => {
            let frames = big_frames(&root, 1_000_000)?;
            step("memory: upload, transactions, download of 1,000,000 datoms");
            process::run(node(&root, "memory.mjs").arg(frames))?;
            step("memory: the largest messages");
            process::run(&mut node(&root, "messages.mjs"))?;
        }
        "size" => {
            step("size: the compressed worker and its start");
            process::run(&mut node(&root, "size.mjs"))?;
        }
        AGENTS_PART => {
            step("agents: the worker with a runtime and viewers of its own");
            process::run(&mut node(&root, "agents.mjs"))?;
        }
        _ => {
            step("load: every measuring part of load.mjs, three runs");
            let big = big_frames(&root, 200_000)?;
            let mut command = load(&root)?;
            command.args(["--watch", "workerd", "--runs", "3", "--big-frames"]).arg(big);
            command.args(["tx1", "tx1big", "tx50", "tx50big", "upload", "download", "cold", "pull", "many", "opened"]);
            process::run(&mut command)?;
        }
    }
    Ok(())
}

/// Frames of a graph of so many datoms: made once through the worker's own interface.
fn big_frames(root: &Path, datoms: u32) -> Result<PathBuf> {
    let name = format!("graph-{datoms}.frames.gz");
    let folder = tools::cache::root()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(&name);
    if !file.is_file() {
        step(format!("Making a graph of {datoms} datoms, once"));
        let unfinished = folder.join(format!("{name}.unfinished"));
        let mut command = load(root)?;
        command.args(["make-big", "--datoms", &datoms.to_string(), "--out"]).arg(&unfinished);
        process::run(&mut command)?;
        std::fs::rename(unfinished, &file)?;
    }
    Ok(file)
}

/// The load tool over a worker of its own.
fn load(root: &Path) -> Result<Command> {
    let port = Serving::free_port()?;
    let jwks_port = Serving::free_port()?;
    let serve = format!("{} serve --worker sync --port {port}", std::env::current_exe()?.display());
    let mut command = Command::new("node");
    command
        .current_dir(root)
        .arg("tests/reference/tools/load.mjs")
        .args([
            "--base",
            &format!("http://127.0.0.1:{port}"),
            "--jwks-port",
            &jwks_port.to_string(),
            "--spawn",
            &serve,
            "--data",
        ])
        .arg(std::env::temp_dir().join(format!("logseq-workers-load-{}", std::process::id())))
        .env("COGNITO_ISSUER", "https://issuer.test/pool")
        .env("COGNITO_CLIENT_ID", "client-under-test")
        .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"));
    Ok(command)
}

fn native(root: &Path, part: &str) -> Command {
    let mut command = process::cargo();
    command.current_dir(root).args(["run", "--quiet", "--release", "-p", "benches", "--", part]);
    command
}

fn node(root: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.current_dir(root).arg(Path::new("benches/js").join(script)).envs(tools::npm::QUIET);
    command
}

/// The one line a measuring program prints.
fn json(command: &mut Command) -> Result<String> {
    process::output(command)
}

/// A number out of a flat JSON object.
fn field(text: &str, name: &str) -> Result<f64> {
    let key = format!("\"{name}\":");
    let Some((_, rest)) = text.split_once(&key) else { bail!("no {name} in {text}") };
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    Ok(rest.split_at(end).0.trim().parse()?)
}
