//! What may be done with a daemon that is there (docs/spec/daemon.md 4.5). Pure.

use crate::{Build, Owner};

/// What `ensure` does with a daemon of another build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// It is replaced.
    Replace,
    /// It stays, and the start fails.
    Refuse(&'static str),
}

/// What is known of a daemon of another build.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    /// Its owner.
    pub owner: Owner,
    /// Its version, if it said so.
    pub version: Option<&'a str>,
    /// How many clients were there lately, if it said so.
    pub clients: Option<u64>,
}

/// Decides whether a daemon of another build is replaced: by its owner at once; by others only while nobody uses it; a newer
/// one by nobody. `force` overrides.
pub fn replacement(other: &Other<'_>, requester: Owner, build: &Build, force: bool) -> Replacement {
    if force {
        return Replacement::Replace;
    }
    if other.version.is_some_and(|version| is_newer(version, &build.version)) {
        return Replacement::Refuse("newer");
    }
    if other.owner.lets(requester) || other.clients == Some(0) {
        return Replacement::Replace;
    }
    Replacement::Refuse("clients")
}

/// Whether a version is newer than another. What is no version is not.
fn is_newer(version: &str, than: &str) -> bool {
    match (semver::Version::parse(version), semver::Version::parse(than)) {
        (Ok(version), Ok(than)) => version > than,
        _ => false,
    }
}

/// What a `cleanup` does with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// It is of this build.
    Keep,
    /// It is of another build, and somebody else's.
    SkipOwner,
    /// It is of another build, and the command line's.
    Stop,
}

/// Decides what a `cleanup` does with a server.
pub fn cleanup(owner: Owner, revision: &str, build: &Build) -> Cleanup {
    if revision == build.revision {
        Cleanup::Keep
    } else if owner == Owner::Cli {
        Cleanup::Stop
    } else {
        Cleanup::SkipOwner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build { version: "1.4.0".into(), revision: "abc".into() }
    }

    fn decide(owner: Owner, version: Option<&str>, clients: Option<u64>, force: bool) -> Replacement {
        replacement(&Other { owner, version, clients }, Owner::Cli, &build(), force)
    }

    /// Fact 22 as docs/spec/daemon.md 4.9 has it: a foreign daemon only without clients, or by force.
    #[test]
    fn the_owner_replaces_and_others_only_what_nobody_uses() {
        assert_eq!(decide(Owner::Cli, Some("1.4.0"), Some(9), false), Replacement::Replace);
        assert_eq!(decide(Owner::Unknown, None, None, false), Replacement::Replace);
        assert_eq!(decide(Owner::Desktop, None, Some(0), false), Replacement::Replace);
        assert_eq!(decide(Owner::Desktop, None, Some(1), false), Replacement::Refuse("clients"));
        assert_eq!(decide(Owner::Desktop, None, None, false), Replacement::Refuse("clients"));
        assert_eq!(decide(Owner::Desktop, None, Some(1), true), Replacement::Replace);
    }

    #[test]
    fn nobody_replaces_a_newer_one_unasked() {
        assert_eq!(decide(Owner::Cli, Some("1.10.0"), Some(0), false), Replacement::Refuse("newer"));
        assert_eq!(decide(Owner::Cli, Some("1.10.0"), Some(0), true), Replacement::Replace);
        assert_eq!(decide(Owner::Cli, Some("1.4.0-rc.1"), Some(0), false), Replacement::Replace);
        assert_eq!(decide(Owner::Cli, Some("odd"), Some(0), false), Replacement::Replace);
    }

    /// Fact 38.
    #[test]
    fn cleanup_stops_only_what_the_command_line_owns() {
        assert_eq!(cleanup(Owner::Cli, "abc", &build()), Cleanup::Keep);
        assert_eq!(cleanup(Owner::Cli, "old", &build()), Cleanup::Stop);
        for owner in [Owner::Desktop, Owner::Service, Owner::Unknown] {
            assert_eq!(cleanup(owner, "old", &build()), Cleanup::SkipOwner);
        }
    }
}
