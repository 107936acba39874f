//! Git's credentials in the agent's place (docs/spec/session-mailbox.md 8.5): git calls this program as its helper, which asks the one that drives
//! the agent over a socket in `out/`. So no token lies in a file, in a variable or on a command line.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, sync_channel};
use std::time::Duration;

use mailbox::credentials::{MAX_BYTES, PATIENCE};
use mailbox::fsafe;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::failure::Failure;
use crate::log;
use crate::session::Event;

/// The socket, in `out/`.
const SOCKET: &str = "git.sock";
/// How many questions are listened to at once.
const MOST: usize = 8;
/// How long a question may take to be said.
const SAYING: Duration = Duration::from_secs(5);

/// What git is asked to do with credentials, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Find some.
    Get,
    /// Keep them, or forget them: nothing is kept.
    Other,
}

/// Answers git. Whatever there is no answer to is nothing, and git goes on without.
pub(crate) fn help(outside: &Path, operation: Operation) -> Result<(), Failure> {
    let mut question = Vec::new();
    std::io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut question)?;
    if operation == Operation::Other || question.len() > MAX_BYTES {
        return Ok(());
    }
    if let Ok(answer) = ask(outside, &question) {
        std::io::stdout().lock().write_all(&answer)?;
    }
    Ok(())
}

fn ask(outside: &Path, question: &[u8]) -> Result<Vec<u8>, Failure> {
    let folder = fsafe::folder(outside)?;
    let mut stream = UnixStream::connect(socket(&folder))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(SAYING))?;
    stream.write_all(question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES as u64).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The path of the socket by way of the opened folder: the path itself may be longer than one of a socket can be.
fn socket(folder: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(SOCKET)
}

/// Listens to questions, until the process ends.
pub(crate) fn listen(outside: &Path, events: Sender<Event>) -> Result<(), Failure> {
    let folder = fsafe::folder(outside)?;
    match rustix::fs::unlinkat(&folder, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(Failure::System(error.into())),
    }
    let listener = UnixListener::bind(socket(&folder))?;
    let busy = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("git".into()).spawn(move || {
        // Ends with the process.
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // No descriptor is left, for a moment.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if busy.load(Ordering::Relaxed) >= MOST {
                continue;
            }
            busy.fetch_add(1, Ordering::Relaxed);
            let (events, done) = (events.clone(), Arc::clone(&busy));
            let answering = std::thread::Builder::new().name("git-question".into()).spawn(move || {
                if let Err(error) = answer(stream, &events) {
                    log::line("warn", "git-question", &error.to_string());
                }
                done.fetch_sub(1, Ordering::Relaxed);
            });
            if answering.is_err() {
                busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: UnixStream, events: &Sender<Event>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SAYING))?;
    stream.set_write_timeout(Some(SAYING))?;
    let mut question = Vec::new();
    (&stream).take(MAX_BYTES as u64 + 1).read_to_end(&mut question)?;
    let Some(question) = String::from_utf8(question).ok().filter(|question| question.len() <= MAX_BYTES) else {
        return Ok(());
    };
    let (tell, told) = sync_channel(1);
    if events.send(Event::Question { question, tell }).is_err() {
        return Ok(());
    }
    match told.recv_timeout(PATIENCE) {
        Ok(secret) => stream.write_all(&secret),
        Err(_) => Ok(()),
    }
}

/// A setting of git: its name and its value.
pub(crate) type Setting = (&'static str, String);

/// The settings by which git in the agent's tree finds its helper. Other helpers for GitHub are left out: one that stores would keep the token.
pub(crate) fn helper(shim: &Path, outside: &Path) -> Vec<Setting> {
    let helper = format!("!{} git-credential --out {}", quoted(shim), quoted(outside));
    vec![
        ("credential.https://github.com.helper", String::new()),
        ("credential.https://github.com.helper", helper),
        ("credential.https://github.com.useHttpPath", "true".to_owned()),
    ]
}

/// The variables that bring settings to git.
pub(crate) fn variables(settings: Vec<Setting>) -> Vec<(String, String)> {
    let mut variables = vec![("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())];
    for (at, (name, value)) in settings.into_iter().enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{at}"), name.to_owned()));
        variables.push((format!("GIT_CONFIG_VALUE_{at}"), value));
    }
    variables
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_finds_the_helper_and_no_other() {
        let variables = variables(helper(Path::new("/opt/logseq/agent-shim"), Path::new("/it's/out")));
        let value = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("GIT_CONFIG_COUNT"), Some("3"));
        assert_eq!(value("GIT_CONFIG_VALUE_0"), Some(""));
        let helper = r"!'/opt/logseq/agent-shim' git-credential --out '/it'\''s/out'";
        assert_eq!(value("GIT_CONFIG_VALUE_1"), Some(helper));
        assert_eq!(value("GIT_CONFIG_KEY_2"), Some("credential.https://github.com.useHttpPath"));
    }
}
