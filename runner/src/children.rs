//! What the runner has started. Each such process, and whatever it starts, carries a mark in its environment, so that it is found
//! again after the runner was killed: by this mark, never by a name, and with a descriptor, so that nobody is meant who got its pid.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use daemon_lifecycle::process::Handle;
use rustix::process::Signal;
use tokio::process::Command;

/// The variable that has the mark.
pub const VARIABLE: &str = "LOGSEQ_RUNNER_MARK";

/// How long processes have to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Rounds of looking: a process may start another one while it is being ended.
const ROUNDS: usize = 5;

/// Starts processes, and ends all that it or an earlier runner with the same mark has started.
#[derive(Clone, Debug)]
pub struct Children {
    mark: String,
}

impl Children {
    /// The processes of the runner that has this mark.
    pub fn of(mark: &str) -> Self {
        Self { mark: mark.to_owned() }
    }

    /// A command that is marked, has nobody's input, and a process group of its own: a terminal's Ctrl-C reaches the runner alone.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(VARIABLE, &self.mark).stdin(Stdio::null()).process_group(0);
        command
    }

    /// The marked processes there are.
    ///
    /// # Errors
    /// When the process table cannot be read.
    pub fn found(&self) -> io::Result<Vec<Handle>> {
        let entry = format!("{VARIABLE}={}", self.mark);
        let mut found = Vec::new();
        // As many as the machine has processes; those of others have no environment for us.
        for process in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if pid == std::process::id() {
                continue;
            }
            // The descriptor first: what is read then is of the same process.
            let Ok(Some(handle)) = Handle::open(pid) else { continue };
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|text| text == entry.as_bytes()) {
                found.push(handle);
            }
        }
        Ok(found)
    }

    /// Ends all of them: SIGTERM, and SIGKILL for those that do not heed it. Gives their number. It blocks.
    ///
    /// # Errors
    /// When the process table cannot be read, or the system does not let a process be ended.
    pub fn end_all(&self) -> io::Result<usize> {
        let mut ended = 0;
        for round in 0..ROUNDS {
            let found = self.found()?;
            if found.is_empty() {
                break;
            }
            ended = ended.max(found.len());
            let (signal, patience) =
                if round == 0 { (Signal::TERM, GRACE) } else { (Signal::KILL, Duration::from_secs(1)) };
            found.iter().try_for_each(|handle| handle.signal(signal))?;
            let until = Instant::now() + patience;
            for handle in &found {
                handle.wait(until.saturating_duration_since(Instant::now()))?;
            }
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_their_mark_and_ended_with_what_they_started() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let own = Children::of(&format!("test-{}", uuid::Uuid::new_v4()));
        let other = Children::of(&format!("other-{}", uuid::Uuid::new_v4()));
        // The first one ignores SIGTERM and has started another one.
        let script = "trap '' TERM; sleep 600 & echo started; wait; sleep 600";
        let mut stubborn = own.command("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut foreign = other.command("sleep").arg("600").spawn().unwrap();
        let mut output = stubborn.stdout.take().unwrap();
        runtime.block_on(async { tokio::io::AsyncReadExt::read_u8(&mut output).await.unwrap() });
        assert_eq!(own.found().unwrap().len(), 2);
        assert_eq!(own.end_all().unwrap(), 2);
        assert!(own.found().unwrap().is_empty());
        assert_eq!(other.found().unwrap().len(), 1, "what somebody else started goes on");
        assert_eq!(other.end_all().unwrap(), 1);
        runtime.block_on(async { (stubborn.wait().await.unwrap(), foreign.wait().await.unwrap()) });
    }
}
