//! What an agent's process is walled in with, and how it is started in it (docs/spec/session-mailbox.md 8.5). The command lines are
//! pure functions of a [`Launch`].

mod bubblewrap;
mod container;
mod plain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mailbox::Places;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::program::on_path;
use crate::settings::{DriverKind, Settings};

pub(crate) use bubblewrap::INFO;

/// Where a walled-in process sees the share.
const SHARE: &str = "/opt/logseq";
/// Where it sees what the host writes.
const INSIDE: &str = "/mailbox/in";
/// Its name of the shim.
const SHIM: &str = "/opt/logseq/agent-shim";
/// Where it sees its own state.
const HOME: &str = "/home/user";
/// Where it works, if nobody says otherwise.
const WORKSPACE: &str = "/home/user/workspace";

/// A driver that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Nothing around the process: no boundary.
    Plain,
    /// Namespaces.
    Bubblewrap {
        /// The program.
        program: PathBuf,
    },
    /// A container of this runtime.
    Container {
        /// The program.
        runtime: PathBuf,
        /// The image.
        image: String,
    },
}

/// Its name in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// [`Driver::Plain`]
    Plain,
    /// [`Driver::Bubblewrap`]
    Bubblewrap,
    /// [`Driver::Container`]
    Container,
}

/// What a process is started with.
#[derive(Clone, Debug)]
pub(crate) struct Launch<'a> {
    /// The folders of its session.
    pub(crate) places: &'a Places,
    /// Where it works: a path of this machine, or one inside of the wall.
    pub(crate) cwd: &'a str,
    /// The working tree on this machine.
    pub(crate) work: &'a Path,
    /// The folder of the shim and of skills.
    pub(crate) share: &'a Path,
    /// Its mailbox.
    pub(crate) mailbox_id: &'a str,
    /// Its number.
    pub(crate) generation: i64,
    /// Its name among containers.
    pub(crate) name: &'a str,
    /// Paths of the system that it sees.
    pub(crate) system: &'a [PathBuf],
    /// Paths of the user that it sees.
    pub(crate) binds: &'a [PathBuf],
    /// Its network.
    pub(crate) network: &'a str,
    /// Who it is.
    pub(crate) user: (u32, u32),
}

/// Commands that start a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commands {
    /// What is run before, and has to succeed.
    pub(crate) before: Option<Vec<OsString>>,
    /// What stays.
    pub(crate) main: Vec<OsString>,
    /// Whether it tells of its process on the descriptor [`INFO`].
    pub(crate) tells: bool,
}

impl Driver {
    /// The driver that the settings ask for.
    ///
    /// # Errors
    /// [`Failure::Configuration`] when there is none.
    pub(crate) fn choose(settings: &Settings) -> Result<Self, Failure> {
        let wrong = |text: &str| Failure::Configuration(format!("RUNNER_DRIVER: {text}"));
        let image = settings.mailbox.image.clone();
        let container = || {
            let runtime = ["podman", "docker"].into_iter().find_map(on_path)?;
            Some(Self::Container { runtime, image: image.clone()? })
        };
        let namespaces = || {
            on_path("bwrap").filter(|program| bubblewrap::works(program)).map(|program| Self::Bubblewrap { program })
        };
        let network = settings.mailbox.network.as_str();
        let driver = match settings.mailbox.driver {
            DriverKind::Plain => Ok(Self::Plain),
            DriverKind::Bubblewrap => namespaces().ok_or_else(|| {
                wrong("bubblewrap cannot be used: install it, and let users make namespaces (kernel.unprivileged_userns_clone)")
            }),
            DriverKind::Container => {
                container().ok_or_else(|| wrong("a container needs podman or docker on the path, and RUNNER_IMAGE"))
            }
            DriverKind::Auto => {
                let by_network = || namespaces().filter(|driver| driver.has_network(network));
                by_network().or_else(container).or_else(namespaces).ok_or_else(|| {
                    wrong("neither bubblewrap nor a container can be used; plain, which is no wall, has to be named")
                })
            }
        }?;
        if !driver.has_network(network) {
            let name = driver.name();
            return Err(Failure::Configuration(format!(
                "RUNNER_NETWORK: the driver {name} has no network {network:?}"
            )));
        }
        Ok(driver)
    }

    /// Whether it can give an agent this network: a wall of namespaces the machine's or none, a container any that its runtime knows.
    fn has_network(&self, network: &str) -> bool {
        match self {
            Self::Plain => network == "host",
            Self::Bubblewrap { .. } => matches!(network, "host" | "none"),
            Self::Container { .. } => true,
        }
    }

    /// Its name.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Plain => Kind::Plain,
            Self::Bubblewrap { .. } => Kind::Bubblewrap,
            Self::Container { .. } => Kind::Container,
        }
    }

    /// Its name for the worker.
    pub(crate) fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Where an agent works whose session says nothing of it.
    pub(crate) fn cwd(&self, session_id: &str, asked: Option<&str>, work: &Path) -> String {
        match (self, asked) {
            (Self::Plain, _) => work.to_string_lossy().into_owned(),
            // Below its home, which is hidden by no other mount; a path that leads out of there is not taken.
            (_, Some(asked)) if is_inside(asked) => asked.to_owned(),
            _ => format!("{WORKSPACE}/{}", sanitize(session_id)),
        }
    }

    /// Where a process sees the share, and what the host writes of its session.
    pub(crate) fn seen(&self, share: &Path, inside: &Path) -> (PathBuf, PathBuf) {
        match self {
            Self::Plain => (share.to_owned(), inside.to_owned()),
            Self::Bubblewrap { .. } | Self::Container { .. } => (SHARE.into(), INSIDE.into()),
        }
    }

    /// The commands that start a process.
    pub(crate) fn commands(&self, launch: &Launch<'_>) -> Commands {
        match self {
            Self::Plain => Commands { before: None, main: plain::command(launch), tells: false },
            Self::Bubblewrap { program } => {
                Commands { before: None, main: bubblewrap::command(program, launch), tells: true }
            }
            Self::Container { runtime, image } => {
                let (create, start) = container::commands(runtime, image, launch);
                Commands { before: Some(create), main: start, tells: false }
            }
        }
    }

    /// The command that rolls back what a dead process has left in `out/`, as the process would have done it itself.
    pub(crate) fn recovery(&self, launch: &Launch<'_>) -> Vec<OsString> {
        match self {
            Self::Plain => plain::recovery(launch),
            Self::Bubblewrap { program } => bubblewrap::recovery(program, launch),
            Self::Container { runtime, image } => container::recovery(runtime, image, launch),
        }
    }
}

impl Kind {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Bubblewrap => "bubblewrap",
            Self::Container => "container",
        }
    }
}

/// Whether a path lies below the home of a walled-in process, without steps up.
fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.strip_prefix("/home/user/").is_some_and(|rest| rest.split('/').all(is_plain)) && path.len() <= 1024
}

/// A session's id as a name of a folder, as the worker makes it (docs/spec/agents.md 5.2).
fn sanitize(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name: String = name.trim_end_matches('-').chars().take(63).collect();
    if name.is_empty() { "task".to_owned() } else { name }
}

/// Words of a command line.
fn words<const N: usize>(list: [&str; N]) -> impl Iterator<Item = OsString> {
    list.into_iter().map(OsString::from)
}

/// What a walled-in shim is told of its folders.
fn inner_run(cwd: &str) -> impl Iterator<Item = OsString> {
    words([SHIM, "run", "--in", INSIDE, "--out", "/mailbox/out", "--work", cwd, "--home", HOME, "--share", SHARE])
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests;
