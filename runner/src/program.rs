//! Programs that the runner starts: where they lie, where their output goes, how they ended.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The first file called `program` in the folders of the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// How long a command may take that only asks or tells something.
pub(crate) const COMMAND: Duration = Duration::from_secs(30);
/// Bytes of what it prints.
const PRINTED: u64 = 64 << 10;
/// Between two looks whether it has ended.
const STEP: Duration = Duration::from_millis(10);
/// How long what it has printed is waited for once it has ended: what it has started may hold the other end.
const REST: Duration = Duration::from_secs(1);

/// Runs a command that reads nothing, for so long at most.
///
/// # Errors
/// What the system refuses; [`std::io::ErrorKind::TimedOut`] after it was killed for taking too long.
pub(crate) fn output(command: &mut Command, patience: Duration) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (reads(child.stdout.take())?, reads(child.stderr.take())?);
    let status = wait(&mut child, patience)?;
    let rest = |printed: &Receiver<Vec<u8>>| printed.recv_timeout(REST).unwrap_or_default();
    Ok(Output { status, stdout: rest(&stdout), stderr: rest(&stderr) })
}

/// Waits for the end of a process, which is killed when it takes longer than that.
///
/// # Errors
/// As [`output`].
pub(crate) fn wait(child: &mut Child, patience: Duration) -> std::io::Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    // Bounded by the deadline.
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            let why = format!("no end within {} s", patience.as_secs());
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(STEP);
    }
}

/// Reads what is printed, on a thread of its own: whoever prints much waits for nobody.
fn reads(printed: Option<impl Read + Send + 'static>) -> std::io::Result<Receiver<Vec<u8>>> {
    let (tell, hear) = channel();
    std::thread::Builder::new().name("printed".into()).spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut printed) = printed {
            // What was read before an error counts.
            let _ = printed.by_ref().take(PRINTED).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut printed, &mut std::io::sink());
        }
        // Nobody hears it when it came too late.
        let _ = tell.send(bytes);
    })?;
    Ok(hear)
}

/// How a process ended, in words.
pub(crate) fn how(ended: std::io::Result<ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// A log that only its owner reads, begun anew.
pub(crate) fn log_file(path: &Path) -> Result<File, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::other(folder.display(), error))?;
    }
    let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.map_err(|error| Failure::other(path.display(), error))
}

/// A log that only its owner reads, to be written on.
pub(crate) fn append_log(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// The same of a log that is moved aside first when it is that long: the last one of its name and `.1` goes.
pub(crate) fn append_or_rotate(path: &Path, most: u64) -> std::io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.len() >= most) {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        std::fs::rename(path, old)?;
    }
    append_log(path)
}

/// Writes a file that is there whole or not at all, for its owner alone.
pub(crate) fn write_once(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> std::io::Result<Output> {
        output(Command::new("sh").args(["-c", script]), patience)
    }

    #[test]
    fn a_log_that_is_long_is_moved_aside_when_it_is_opened() {
        use std::io::Write as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log/shim.log");
        for text in ["one", "two", "three"] {
            append_or_rotate(&path, 6).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::read_to_string(place.path().join("log/shim.log.1")).unwrap(), "onetwo");
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        let began = Instant::now();
        let error = shell("exec sleep 600", Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(began.elapsed() < COMMAND);
    }

    #[test]
    fn a_command_reads_nothing_and_may_print_more_than_anybody_keeps() {
        let printed = shell("cat; head -c 1000000 /dev/zero; echo no >&2; exit 3", COMMAND).unwrap();
        assert_eq!((printed.status.code(), printed.stdout.len()), (Some(3), 64 << 10));
        assert_eq!(printed.stderr, b"no\n");
    }

    #[test]
    fn what_a_command_has_left_behind_does_not_hold_up_its_answer() {
        let began = Instant::now();
        let printed = shell("sleep 20 & exit 0", COMMAND).unwrap();
        assert!(printed.status.success() && began.elapsed() < Duration::from_secs(15));
    }
}
