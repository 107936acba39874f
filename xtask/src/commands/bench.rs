//! `cargo xtask bench`: the figures of docs/benchmarks.md.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{build, native, setup};
use crate::process::step;
use crate::serving::Serving;
use crate::workers::{self, AGENTS, SYNC};
use crate::{process, tools};

const HELP: &str = "\
Measure, each figure beside its yardstick in the same run; one JSON object a figure.

Usage: cargo xtask bench [PART...]

Parts (default: all but load, native, agents, runner and pg-sync):
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
  native     (j) the native server under every measuring part of load.mjs, on disk (NATIVE_DISK, default target) and on a
                 memory file system (NATIVE_MEMORY, default /dev/shm), beside a bare commit that waits for the same disk
  agents     (h) the agents worker: events to viewers, events a second, replay, messages, size; the last lines are
                 `agents FIGURE value unit`
  pg-sync    (m) observed databases: from a change to its wake, what quiet bridges cost on Cloudflare as counted in workerd, 200 bridges
                 of the native server, changes through one bridge; the last lines are `pg-sync FIGURE value unit` (25 minutes)
  runner     (l) a runner that calls its worker: the delay from a message to its agent, with and without inotify, and what 100 idle
                 sessions cost; the last lines are `runner FIGURE value unit`

Run it on a machine that does nothing else.";

const ALL: [&str; 7] = ["engine", "pipeline", "workerd", "memory", "growth", "writes", "size"];
const LOAD: &str = "load";
const NATIVE: &str = "native";
const AGENTS_PART: &str = "agents";
const RUNNER: &str = "runner";
const PG_SYNC: &str = "pg-sync";

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
    if let Some(unknown) = parts
        .iter()
        .find(|part| ![&ALL[..], &[LOAD, NATIVE, AGENTS_PART, RUNNER, PG_SYNC]].concat().contains(&part.as_str()))
    {
        bail!("unknown part {unknown:?}; `cargo xtask bench --help` lists the parts");
    }
    if parts.is_empty() {
        parts = ALL.map(String::from).to_vec();
    }
    let tools = setup::prepare()?;
    for (worker, of_agents) in [(&SYNC, false), (&AGENTS, true)] {
        if parts
            .iter()
            .any(|part| part != NATIVE && [AGENTS_PART, RUNNER, PG_SYNC].contains(&part.as_str()) == of_agents)
        {
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
            let frames = big_frames(200_000, || load(&root))?;
            step("writes: the same in the running worker");
            process::run(node(&root, "writes.mjs").arg(frames))?;
        }
        "workerd" => {
            step("workerd: the worker and a bare Durable Object, in turn");
            process::run(&mut node(&root, "workerd.mjs"))?;
        }
        "memory" => {
            let frames = big_frames(1_000_000, || load(&root))?;
            step("memory: upload, transactions, download of 1,000,000 datoms");
            process::run(node(&root, "memory.mjs").arg(frames))?;
            step("memory: the largest messages");
            process::run(&mut node(&root, "messages.mjs"))?;
        }
        "size" => {
            step("size: the compressed worker and its start");
            process::run(&mut node(&root, "size.mjs"))?;
        }
        NATIVE => native_server(&root)?,
        AGENTS_PART => {
            step("agents: the worker with a runtime and viewers of its own");
            process::run(&mut node(&root, "agents.mjs"))?;
        }
        PG_SYNC => {
            step("pg-sync: the worker and the native server over a shape service of the benchmark");
            let mut build = process::cargo();
            process::run(build.current_dir(&root).args([
                "build",
                "--quiet",
                "--profile",
                "fast",
                "-p",
                "logseq-sync",
            ]))?;
            let binary = native::target(&root).join("fast/logseq-sync");
            process::run(node(&root, "pg-sync.mjs").env("LOGSEQ_SYNC_BIN", binary))?;
        }
        RUNNER => {
            step("runner: a runner with its shims, and the worker");
            let mut build = process::cargo();
            let words = ["build", "--quiet", "--profile", "fast", "-p", "logseq-runner", "-p", "agent-shim"];
            process::run(build.current_dir(&root).args(words))?;
            let binary = native::target(&root).join("fast/logseq-runner");
            let server = tools::sandbox_agent::ensure()?;
            let mut command = node(&root, "runner.mjs");
            process::run(command.env("LOGSEQ_RUNNER", binary).env("SANDBOX_AGENT_BIN", server))?;
        }
        _ => {
            step("load: every measuring part of load.mjs, three runs");
            let big = big_frames(200_000, || load(&root))?;
            let mut command = load(&root)?;
            command.args(["--watch", "workerd", "--runs", "3", "--big-frames"]).arg(big);
            command.args(["tx1", "tx1big", "tx50", "tx50big", "upload", "download", "cold", "pull", "many", "opened"]);
            process::run(&mut command)?;
        }
    }
    Ok(())
}

/// Parts of the load tool, in an order in which memory is looked at before much was done.
const LOAD_PARTS: [&str; 10] =
    ["opened", "tx1", "tx1big", "tx50", "tx50big", "upload", "download", "cold", "pull", "many"];

/// The native server on both kinds of file system.
fn native_server(root: &Path) -> Result<()> {
    step("native: build");
    let mut build = process::cargo();
    process::run(build.current_dir(root).args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "logseq-sync",
        "-p",
        "benches",
    ]))?;
    let target = native::target(root);
    let folder = |variable: &str, default: PathBuf| std::env::var_os(variable).map_or(default, PathBuf::from);
    let disk = folder("NATIVE_DISK", target.clone());
    let memory = folder("NATIVE_MEMORY", "/dev/shm".into());
    let serve = format!(
        "{} serve --quiet --bind 127.0.0.1 --port $PORT --data-dir $DATA_DIR",
        target.join("release/logseq-sync").display()
    );
    let big = big_frames(200_000, || load_of(root, &serve, &memory))?;
    for (name, folder) in [("disk", &disk), ("memory file system", &memory)] {
        step(format!("native: {name}, a commit alone"));
        process::run(Command::new(target.join("release/native")).arg("commits").arg(folder))?;
        // Memory with open graphs is looked at in a process that has done nothing else.
        for parts in [&LOAD_PARTS[..1], &LOAD_PARTS[1..]] {
            step(format!("native: {name}, {}, three runs", parts.join(" ")));
            let mut command = load_of(root, &serve, folder)?;
            command.args(["--label", name, "--runs", "3", "--big-frames"]).arg(&big);
            process::run(command.args(parts))?;
        }
    }
    Ok(())
}

/// Frames of a graph of so many datoms: made once through the interface of a server, by this load tool.
fn big_frames(datoms: u32, load: impl FnOnce() -> Result<Command>) -> Result<PathBuf> {
    let name = format!("graph-{datoms}.frames.gz");
    let folder = tools::cache::root()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(&name);
    if !file.is_file() {
        step(format!("Making a graph of {datoms} datoms, once"));
        let unfinished = folder.join(format!("{name}.unfinished"));
        let mut command = load()?;
        command.args(["make-big", "--datoms", &datoms.to_string(), "--out"]).arg(&unfinished);
        process::run(&mut command)?;
        std::fs::rename(unfinished, &file)?;
    }
    Ok(file)
}

/// The load tool over a worker of its own.
fn load(root: &Path) -> Result<Command> {
    let serve = format!("{} serve --worker sync --port $PORT", std::env::current_exe()?.display());
    load_of(root, &serve, &std::env::temp_dir())
}

/// The load tool over a server that this command starts on `$PORT`, with data in this folder.
fn load_of(root: &Path, serve: &str, data: &Path) -> Result<Command> {
    let port = Serving::free_port()?;
    let jwks_port = Serving::free_port()?;
    let mut command = Command::new("node");
    command
        .current_dir(root)
        .args(["--import", "./benches/js/checksum.mjs", "tests/reference/tools/load.mjs"])
        .args(["--base", &format!("http://127.0.0.1:{port}"), "--jwks-port", &jwks_port.to_string(), "--spawn", serve])
        .arg("--data")
        .arg(data.join(format!("logseq-workers-load-{}", std::process::id())))
        .env("PORT", port.to_string())
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
