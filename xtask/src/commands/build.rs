//! `cargo xtask build`: the workers as WebAssembly and their JavaScript glue.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lexopt::ValueExt as _;

use super::setup;
use crate::process::{self, note, step};
use crate::tools::Tools;
use crate::tools::fingerprint::{self, Look};
use crate::workers::{self, WORKERS, Worker};

const HELP: &str = "\
Build the workers into build/. Nothing is done for one whose sources and tools are those of its last build. npm packages
that are there are never replaced: `wrangler dev`, which calls this command, runs out of them.

Usage: cargo xtask build [OPTIONS]

Options:
  --release       optimised, as deployed (default)
  --debug         quick to build, with names in stack traces
  --worker NAME   only this worker, sync or agents; may be repeated
  --watch         go on: build again after each edit, until standard input ends; print a line for each build";

/// How much work the compiler puts in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As deployed.
    Release,
    /// Quick to build.
    Debug,
}

impl Profile {
    /// The argument of this command that asks for it.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Release => "--release",
            Self::Debug => "--debug",
        }
    }

    /// The same for worker-build.
    fn flag(self) -> &'static str {
        match self {
            Self::Release => "--release",
            Self::Debug => "--dev",
        }
    }
}

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let (mut profile, mut again) = (Profile::Release, false);
    let mut chosen = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("release") => profile = Profile::Release,
            lexopt::Arg::Long("debug") => profile = Profile::Debug,
            lexopt::Arg::Long("watch") => again = true,
            lexopt::Arg::Long("worker") => chosen.push(workers::named(&args.value()?.parse::<String>()?)?),
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen = WORKERS.to_vec();
    }
    let tools = setup::prepare_build()?;
    // Before the build: what is edited meanwhile counts as an edit.
    let seen = chosen.iter().map(|worker| fingerprint::look(worker).ok()).collect();
    chosen.iter().try_for_each(|worker| build(worker, &tools, profile))?;
    if again { watch(&chosen, seen, &tools, profile) } else { Ok(()) }
}

/// Builds a worker unless its last build had the same sources, tools and profile.
pub(crate) fn build(worker: &Worker, tools: &Tools, profile: Profile) -> Result<()> {
    let (root, bundle, stamp) = (workers::root(), worker.bundle(), worker.stamp());
    // `wrangler dev` starts the next build before the last one has ended when files change quickly.
    let _one_at_a_time = lock(&stamp.with_extension("lock"))?;
    let current = fingerprint::of_worker(worker, &[profile.flag(), &tools.wasm.identity, &tools.versions()])?;
    if bundle.join("index.js").is_file() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == current) {
        step(format!("{}: unchanged since the last build", worker.title));
        return Ok(());
    }
    step(format!("{}: building to WebAssembly (the first build takes minutes)", worker.title));
    // A build that is cut short must not look like a finished one.
    remove_if_present(&stamp)?;
    let mut command = Command::new(&tools.worker_build);
    command.current_dir(root.join(worker.package)).arg(profile.flag()).arg("--out-dir");
    command.arg(Path::new("../build").join(worker.name));
    tools.wasm.apply(&mut command)?;
    command
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("WASM_OPT_BIN", workers::npm_bin("wasm-opt"))
        .env("ESBUILD_BIN", workers::npm_bin("esbuild"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f"));
    process::run(&mut command)?;
    if profile == Profile::Release {
        strip_names(&bundle.join("index_bg.wasm"))?;
    }
    std::fs::write(&stamp, current).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Flags of the compiler; they take the place of those in .cargo/config.toml. Names of dependencies' files stand in the messages of
/// panics: without the folder in which they lie, a module is the same on each machine, and a little smaller.
fn flags() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let remap = home.map(|home| format!("--remap-path-prefix={}=", home.join("registry/src").display()));
    std::iter::once("-Ctarget-feature=+simd128".to_owned()).chain(remap).collect()
}

/// Takes the names of functions out of a module, which are a twelfth of the compressed worker; worker-build keeps them. Before that
/// the functions are put in the order of their names: instances of one generic function stand side by side, and compress better.
fn strip_names(module: &Path) -> Result<()> {
    let mut command = Command::new(workers::npm_bin("wasm-opt"));
    command.arg("--reorder-functions-by-name").arg("--strip-debug").arg(module).arg("-o").arg(module);
    process::run(&mut command)
}

/// How often sources are looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Builds workers again after edits. Polls: a look at a few hundred files costs less than a crate that is told by the system.
fn watch(workers: &[&Worker], mut built: Vec<Option<Look>>, tools: &Tools, profile: Profile) -> Result<()> {
    std::thread::spawn(|| {
        // Whoever started this holds the other end, and needs no builds any more when it is gone.
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let look = || workers.iter().map(|worker| fingerprint::look(worker)).collect::<Vec<_>>();
    note("waiting for edits");
    loop {
        std::thread::sleep(LOOK);
        let seen = look();
        std::thread::sleep(LOOK);
        for ((worker, built), (seen, again)) in workers.iter().zip(&mut built).zip(seen.into_iter().zip(look())) {
            // A file that is just being replaced cannot be looked at, and one that is just being written differs.
            let (Ok(seen), Ok(again)) = (seen, again) else { continue };
            if seen != again || built.as_ref() == Some(&seen) {
                continue;
            }
            match build(worker, tools, profile) {
                Ok(()) => println!("built {}", worker.name),
                Err(error) => note(format!("{error:#}; waiting for the next edit")),
            }
            *built = Some(seen);
        }
    }
}

/// Waits until nobody else has the lock; dropped, it is free.
fn lock(file: &Path) -> Result<File> {
    let failed = || format!("cannot lock {}", file.display());
    std::fs::create_dir_all(file.parent().unwrap_or(file)).with_context(failed)?;
    let lock = File::create(file).with_context(failed)?;
    lock.lock().with_context(failed)?;
    Ok(lock)
}

fn remove_if_present(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
