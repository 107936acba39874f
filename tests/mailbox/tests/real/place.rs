//! A state directory with a mailbox, and processes on it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mailbox::FileHost;
use mailbox::host::Settings;

pub(crate) const SIDE: &str = env!("CARGO_BIN_EXE_mailbox-side");

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn state(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn host(&self) -> FileHost {
        FileHost::create(self.state(), "session", Settings::default(), 0).unwrap()
    }

    /// The arguments of a process of the agent's side.
    pub(crate) fn agent(host: &FileHost, generation: i64) -> Vec<String> {
        let places = host.places();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        vec![text(places.inside()), text(places.outside()), host.mailbox_id().to_owned(), generation.to_string()]
    }
}

/// A process, whose lines are read. It ends with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub(crate) fn side(verb: &str, words: &[String]) -> Self {
        Self::start(Command::new(SIDE).arg(verb).args(words))
    }

    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap_or_else(|| panic!("the process ended")).unwrap()
    }

    /// Kills it, and reads what it had told.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.by_ref().map_while(Result::ok).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Full numbers, as the specification names them, or fewer.
pub(crate) fn rounds(full: u64, short: u64) -> u64 {
    if std::env::var_os("LIFE_LONG").is_some() { full } else { short }
}

/// A shell in a namespace of users and mounts of its own. Nothing where that may not be made.
pub(crate) fn shell(script: &str) -> Option<Command> {
    let may = Command::new("unshare").args(["-Urm", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not run: no namespaces here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-ec", script]);
    Some(command)
}

/// What a file says of itself as a whole.
#[track_caller]
pub(crate) fn is_whole(file: &Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}
