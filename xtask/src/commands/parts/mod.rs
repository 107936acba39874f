//! The parts of the tests that need what is built. They wait most of the time, so two run at once; each is a process, whose lines
//! begin with its name.

mod agents;
mod said;
mod worker;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use self::said::Said;
use super::native;
use super::test::Amounts;
use crate::process::{self, step};

/// A part of the tests.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// The sync worker, and what both workers share.
    Worker,
    /// The native server.
    Native,
    /// The agents worker, the shim and the runner.
    Agents,
}

/// Parts that follow one another, beside the others.
const TRACKS: [&[Part]; 2] = [&[Part::Worker, Part::Native], &[Part::Agents]];

/// Native programs that the parts build and run, in the sets in which they do: in another set dependencies may have other features,
/// and would be built once more.
pub(super) const PROGRAMS: [&[&str]; 4] =
    [&["logseq-sync"], &["logseq-runner", "agent-shim", "mailbox-tests"], &["crash"], &["load"]];

/// How long the last lines of a part that ended may take to come.
const LAST_LINES: Duration = Duration::from_secs(5);

impl Part {
    const ALL: [Self; 3] = [Self::Worker, Self::Native, Self::Agents];

    /// As `--part` takes it.
    const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Native => "native",
            Self::Agents => "agents",
        }
    }

    /// By its name.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| anyhow!("there is no part `{name}`: it is one of {}", Self::ALL.map(Self::name).join(", ")))
    }

    /// Runs its tests.
    pub(super) fn run(self, root: &Path, amounts: &Amounts) -> Result<()> {
        match self {
            Self::Worker => worker::check(root, amounts),
            Self::Native => native::check(root, amounts),
            Self::Agents => agents::check(root, amounts),
        }
    }

    /// Runs its tests in a process of their own, which gets `arguments` too; the error tells what the step said that failed.
    fn apart(self, arguments: &[OsString]) -> Result<()> {
        let (output, input) = std::io::pipe()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("test").args(arguments).args(["--part", self.name()]).stdin(Stdio::null());
        command.stdout(input.try_clone()?).stderr(input);
        let (ended, wait) = mpsc::channel();
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            show(self, output, &heard);
            ended.send(())
        });
        let outcome = process::run(&mut command);
        // It holds the other end of the pipe.
        drop(command);
        // A program that a test left behind may hold it too.
        let _in_time = wait.recv_timeout(LAST_LINES);
        outcome.map_err(|error| {
            // Nothing panics while it holds the lock.
            let said = said.lock().map(|said| said.digest().join("\n")).unwrap_or_default();
            anyhow!("{}: {error:#}\n{said}", self.name())
        })
    }
}

/// Shows the lines of a part until it ends.
fn show(part: Part, output: PipeReader, said: &Mutex<Said>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        eprintln!("[{}] {}", part.name(), text.trim_end());
        if let Ok(mut said) = said.lock() {
            said.hear(text.trim_end());
        }
        line.clear();
    }
}

/// Runs all parts, each with the same arguments; fails after all of them when one did.
pub(super) fn side_by_side(arguments: &[OsString]) -> Result<()> {
    step(format!("Side by side: {}", Part::ALL.map(Part::name).join(", ")));
    let outcomes: Vec<_> = thread::scope(|scope| {
        let tracks = TRACKS.map(|track| {
            scope.spawn(|| track.iter().map(|part| (part.name(), part.apart(arguments))).collect::<Vec<_>>())
        });
        tracks.into_iter().flat_map(|track| track.join().unwrap_or_default()).collect()
    });
    let failed: Vec<_> = outcomes.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?))).collect();
    if !failed.is_empty() || outcomes.len() < Part::ALL.len() {
        let names: Vec<_> = failed.iter().map(|(name, _)| **name).collect();
        let told: Vec<_> = failed.iter().map(|(_, error)| format!("{error:#}")).collect();
        let (names, told) = (names.join(", "), told.join("\n\n"));
        bail!("these parts failed: {names} (`cargo xtask test --part NAME` runs one of them)\n\n{told}");
    }
    Ok(())
}
