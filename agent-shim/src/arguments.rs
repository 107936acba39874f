//! The command line (docs/spec/session-mailbox.md 8.5).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::git::Operation;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Drive an agent.
    Run(Places),
    /// Roll back what a dead process has left.
    Recover {
        /// The folder `out/`.
        outside: PathBuf,
    },
    /// Tell what of the folders works.
    Check {
        /// The folder `in/`.
        inside: PathBuf,
        /// The folder `out/`.
        outside: PathBuf,
    },
    /// Answer git, which asks for credentials.
    GitCredential {
        /// The folder `out/`.
        outside: PathBuf,
        /// What git wants.
        operation: Operation,
    },
    /// Print the version.
    Version,
}

/// The folders of a session, as this process sees them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// What the host writes.
    pub(crate) inside: PathBuf,
    /// What this process writes.
    pub(crate) outside: PathBuf,
    /// The agent's working tree.
    pub(crate) work: PathBuf,
    /// The agent's own state.
    pub(crate) home: PathBuf,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Verb, Failure> {
    let mut arguments = arguments.peekable();
    let verb = arguments.next().and_then(|verb| verb.into_string().ok()).unwrap_or_default();
    let mut folders = Folders::default();
    let mut operation = None;
    // Bounded by the command line.
    while let Some(flag) = arguments.next() {
        let flag = flag.to_string_lossy().into_owned();
        let slot = match flag.as_str() {
            "--in" => &mut folders.inside,
            "--out" => &mut folders.outside,
            "--work" => &mut folders.work,
            "--home" => &mut folders.home,
            "--share" => &mut folders.share,
            // Git puts it behind everything else, and may have more of them one day.
            word if verb == "git-credential" && operation.is_none() && !word.starts_with('-') => {
                operation = Some(if word == "get" { Operation::Get } else { Operation::Other });
                continue;
            }
            _ => return Err(Failure::Usage(format!("unknown argument {flag}"))),
        };
        let value = arguments.next().ok_or_else(|| Failure::Usage(format!("{flag} needs a folder")))?;
        if slot.replace(PathBuf::from(value)).is_some() {
            return Err(Failure::Usage(format!("{flag} is given twice")));
        }
    }
    match verb.as_str() {
        "run" => Ok(Verb::Run(Places {
            inside: needed(folders.inside, "--in")?,
            outside: needed(folders.outside, "--out")?,
            work: needed(folders.work, "--work")?,
            home: needed(folders.home, "--home")?,
        })),
        "recover" => Ok(Verb::Recover { outside: needed(folders.outside, "--out")? }),
        "check" => {
            let inside = needed(folders.inside, "--in")?;
            Ok(Verb::Check { inside, outside: needed(folders.outside, "--out")? })
        }
        "git-credential" => {
            let operation =
                operation.ok_or_else(|| Failure::Usage("git-credential needs get, store or erase".into()))?;
            Ok(Verb::GitCredential { outside: needed(folders.outside, "--out")?, operation })
        }
        "--version" => Ok(Verb::Version),
        other => Err(Failure::Usage(format!("unknown verb {other:?}: run, recover, check, git-credential, --version"))),
    }
}

#[derive(Default)]
struct Folders {
    inside: Option<PathBuf>,
    outside: Option<PathBuf>,
    work: Option<PathBuf>,
    home: Option<PathBuf>,
    /// Where links to skills lead; nothing is looked up there by this program itself.
    share: Option<PathBuf>,
}

fn needed(folder: Option<PathBuf>, flag: &str) -> Result<PathBuf, Failure> {
    folder.ok_or_else(|| Failure::Usage(format!("{flag} is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Verb, Failure> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn verbs_have_their_folders() {
        let run = parsed("run --in /i --out /o --work /w --home /h").unwrap();
        let Verb::Run(places) = run else { panic!() };
        assert_eq!(places.home, PathBuf::from("/h"));
        assert_eq!(parsed("recover --out /o").unwrap(), Verb::Recover { outside: "/o".into() });
        assert_eq!(parsed("--version").unwrap(), Verb::Version);
        for (word, operation) in [("get", Operation::Get), ("store", Operation::Other), ("erase", Operation::Other)] {
            let wanted = Verb::GitCredential { outside: "/o".into(), operation };
            assert_eq!(parsed(&format!("git-credential --out /o {word}")).unwrap(), wanted);
        }
    }

    #[test]
    fn anything_else_is_a_misuse() {
        for bad in [
            "",
            "go",
            "run",
            "run --in /i --out /o --work /w",
            "recover",
            "recover --out",
            "recover --out /a --out /b",
            "check --in /i",
            "run --token x",
            "git-credential get",
            "git-credential --out /o",
            "git-credential --out /o get get",
            "recover --out /o get",
        ] {
            assert!(matches!(parsed(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
