//! Programs of tests that need a processor and nothing else: simulations and fuzz targets. They run beside the suites, which mostly
//! wait, and give way to them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};

use super::test::Amounts;
use crate::process::{self, step};

/// Programs that run, one after the other.
pub(super) struct Programs {
    running: JoinHandle<Result<()>>,
    log: PathBuf,
    /// Where they write; it goes when this goes.
    _folder: tempfile::TempDir,
}

/// Starts them.
pub(super) fn start(root: &Path, amounts: Amounts) -> Result<Programs> {
    step("Simulations and fuzz targets: begin beside the suites, and are told at the end");
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let root = root.to_path_buf();
    let running = std::thread::spawn(move || run(&root, &amounts, &output));
    Ok(Programs { running, log, _folder: folder })
}

impl Programs {
    /// Waits for them and shows what they printed; fails when one did.
    pub(super) fn finish(self) -> Result<()> {
        step("Simulations and fuzz targets");
        let outcome = self.running.join().map_err(|_| anyhow!("running the programs failed"))?;
        eprint!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        outcome
    }
}

fn run(root: &Path, amounts: &Amounts, output: &File) -> Result<()> {
    let play = |package: &str, more: &[&str]| {
        let cargo = process::cargo();
        let mut command = match process::find("nice") {
            Some(nice) => {
                let mut command = Command::new(nice);
                command.args(["-n", "10"]).arg(cargo.get_program());
                command
            }
            None => cargo,
        };
        command.current_dir(root).args(["run", "--quiet", "--profile", "fast", "-p", package, "--"]);
        command.args(more).args(amounts.random());
        process::run(command.stdout(output.try_clone()?).stderr(output.try_clone()?))
    };
    play("simulation", &["--seeds", &amounts.seeds.to_string()])?;
    play("simulation", &["odd", "--graphs", &amounts.graphs.to_string()])?;
    // What the log tells is what the server holds.
    play("simulation", &["odd", "--told", "--graphs", &amounts.graphs.div_ceil(5).to_string()])?;
    let (flag, much) = match amounts.fuzz_seconds {
        None => ("--mutations", amounts.mutations),
        Some(seconds) => ("--seconds", seconds),
    };
    play("fuzz-targets", &[flag, &much.to_string()])
}
