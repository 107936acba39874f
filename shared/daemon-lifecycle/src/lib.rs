//! One daemon for each data directory, or for each graph of it, that whoever needs it first starts and everybody else
//! finds. Who started it alone may end it (docs/spec/daemon.md 4).
//!
//! Decisions are pure: [`identity`] (is it that process?), [`state`] (what is seen of a daemon?), [`policy`] (may it be
//! reused, replaced, ended?), [`admin`] (what does the daemon answer?), [`manager`] (which daemons does a desktop app
//! need?). Around them: [`lock`], [`Holder`] (the daemon's side), [`ensure`](ensure::ensure), [`stop`](stop::stop),
//! [`orphans`], [`launcher`], and with the feature `verbs` the commands `server …`.
//!
//! It runs on Linux, whose process table and locks it uses.
//!
//! A daemon's `main`, in the order that counts:
//!
//! ```no_run
//! # use daemon_lifecycle::{Claim, Error, Holder, Owner, Program, Scope, Spawned, Trial, endpoint, record::Kind};
//! # fn serve(program: &Program) -> Result<(), Box<dyn std::error::Error>> {
//! // Before any thread is started: the descriptors that the starter left open.
//! let mut spawned = Spawned::from_environment()?;
//! let scope = Scope::new("data".as_ref(), None)?;
//! // The configuration is read by now: relative paths in it are those of the starter.
//! spawned.settle()?;
//! let taken = Holder::take(&Claim {
//!     scope: &scope,
//!     kind: Kind::SelfHost,
//!     owner: Owner::Cli,
//!     program,
//!     stop_timeout: std::time::Duration::from_secs(20),
//!     allow_weak_lock: false,
//!     trial: Trial::default(),
//!     step: &|_| {},
//! })
//! .inspect_err(|error: &Error| spawned.reporter.error(error.code(), &error.to_string(), error.members()))?;
//! spawned.reporter.starting("opening the index");
//! // … open the data, bind, answer `admin::answer` on the socket …
//! let socket = endpoint::bind(&scope)?;
//! taken.holder.publish(format!("unix:{}", scope.socket().display()), vec!["http://[::]:8080".to_owned()])?;
//! spawned.reporter.ready(&taken.holder.record(), &taken.recovered);
//! // … serve: `holder.check()` before each commit and every five seconds; lost means: write nothing, exit with 76 …
//! taken.holder.stopping()?;
//! // … finish, close the data …
//! taken.holder.clean_up();
//! # drop(socket);
//! # Ok(())
//! # }
//! ```

mod directory;
mod error;
mod files;
mod holder;
mod owner;
mod scope;
mod spawned;
mod weak;

pub mod admin;
pub mod endpoint;
pub mod ensure;
pub mod identity;
pub mod launcher;
pub mod legacy;
pub mod lock;
pub mod log;
pub mod manager;
pub mod names;
pub mod orphans;
pub mod policy;
pub mod process;
pub mod ready;
pub mod record;
pub mod registry;
pub mod spawn;
pub mod state;
pub mod stop;
pub mod survey;
#[cfg(feature = "verbs")]
pub mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use directory::prepare;
pub use error::{Error, Failure, Left};
pub use holder::{Claim, Holder, Lost, Step, Taken, Trial};
pub use owner::Owner;
pub use record::Record;
pub use scope::{BadName, Scope};
pub use spawned::Spawned;

/// The exact build of a program, which it has compiled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The version, as semver.
    pub version: String,
    /// The revision of the source.
    pub revision: String,
}

impl Build {
    /// Whether the revision is known: one that is not compares with nothing.
    pub fn is_known(&self) -> bool {
        !matches!(self.revision.as_str(), "" | "unknown")
    }
}

/// The program that daemons are started with.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its executable.
    pub executable: PathBuf,
    /// The word of its command line that makes it a daemon.
    pub serve: &'static str,
    /// The words of its command line that make it a launcher ([`launcher::run`]).
    pub launch: &'static [&'static str],
    /// Its build.
    pub build: Build,
}

impl Program {
    /// The command line of a daemon of a scope.
    pub fn command(&self, scope: &Scope, owner: Owner, flags: &[OsString]) -> Vec<OsString> {
        let mut command = vec![self.executable.clone().into_os_string(), self.serve.into()];
        command.extend(["--data-dir".into(), scope.directory().as_os_str().to_owned()]);
        if let Some(graph) = scope.graph() {
            command.extend(["--graph".into(), graph.into()]);
        }
        command.extend(["--owner".into(), owner.name().into()]);
        command.extend(flags.iter().cloned());
        command
    }
}

/// A command line as it can be pasted into a shell.
pub fn quoted(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // Only a zero byte cannot be quoted, and no argument can hold one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// How long things may take. The defaults are those of the specification (docs/spec/daemon.md 4.4, 4.5).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A start without a line.
    pub silence: Duration,
    /// A probe.
    pub probe: Duration,
    /// Between two probes.
    pub period: Duration,
    /// A daemon without an answer is busy for so long, then it hangs.
    pub hang: Duration,
    /// However much it computes, a daemon without an answer hangs after this.
    pub busy: Duration,
    /// A lock without metadata belongs to a starting daemon for so long.
    pub metadata: Duration,
    /// How long a daemon may take to end by itself, whatever its metadata says.
    pub own_end: Option<Duration>,
    /// Beyond the time that its metadata says.
    pub grace: Duration,
    /// After SIGTERM.
    pub term: Duration,
    /// After SIGKILL.
    pub kill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            probe: Duration::from_secs(1),
            period: Duration::from_millis(250),
            hang: Duration::from_secs(15),
            busy: Duration::from_mins(1),
            metadata: Duration::from_secs(5),
            own_end: None,
            grace: Duration::from_secs(2),
            term: Duration::from_secs(5),
            kill: Duration::from_secs(1),
        }
    }
}

/// A random text of 32 bytes, for a token.
fn random_token() -> std::io::Result<String> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// A random id.
fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fact 45: the whole command line, as a shell takes it.
    #[test]
    fn a_command_line_is_whole_and_quoted() {
        let program = Program {
            executable: "/opt/my tools/logseq-sync".into(),
            serve: "serve",
            launch: &[],
            build: Build { version: "1.0.0".into(), revision: "abc".into() },
        };
        let scope = Scope::new(std::path::Path::new("/nowhere/it's"), Some("a b")).unwrap();
        let command = program.command(&scope, Owner::Cli, &["--port".into(), "0".into()]);
        let quoted = quoted(&command);
        let words = shlex::split(&quoted).unwrap();
        assert_eq!(words, command.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(
            words[1..],
            ["serve", "--data-dir", "/nowhere/it's", "--graph", "a b", "--owner", "cli", "--port", "0"]
        );
    }

    #[test]
    fn ids_and_tokens_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
        assert_eq!(random_token().unwrap().len(), 43);
    }
}
