//! Skills: one read-only copy for all sessions, and links into it for those of one (docs/spec/session-mailbox.md 4.10).

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode};

use crate::{Error, fsafe};

/// The folder of links, in `in/`.
pub const NAME: &str = "skills";

/// What became of a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Skills that the session has.
    pub linked: Vec<String>,
    /// Names that nothing is behind, which the session is told.
    pub missing: Vec<String>,
}

/// Makes the links of a session: `in/skills/<name>` leads to `<shown>/<name>`, the place at which the agent's side sees the
/// folder `share`. Links to skills that are no longer on the list go.
///
/// # Errors
///
/// What the system refuses.
pub fn link(share: &Path, shown: &Path, names: &[String], inside: impl AsFd) -> Result<Linked, Error> {
    let links = fsafe::make_folder(inside, NAME)?;
    let mut result = Linked::default();
    let mut wanted = BTreeSet::new();
    // Bounded by the list, which the host makes.
    for name in names {
        let there = fsafe::is_name(name) && share.join(name).symlink_metadata().is_ok_and(|found| found.is_dir());
        let list = if there { &mut result.linked } else { &mut result.missing };
        if wanted.insert(name.as_str()) {
            list.push(name.clone());
        }
    }
    for entry in rustix::fs::Dir::read_from(&links)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            rustix::fs::unlinkat(&links, name, AtFlags::empty())?;
        }
    }
    for name in &result.linked {
        rustix::fs::symlinkat(shown.join(name), &links, name.as_str())?;
    }
    rustix::fs::fchmod(&links, Mode::RWXU)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_skills_on_its_list_and_is_told_of_those_that_are_missing() {
        let place = tempfile::tempdir().unwrap();
        let share = place.path().join("share");
        for name in ["review", "deploy"] {
            std::fs::create_dir_all(share.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", share.join("link")).unwrap();
        let inside = fsafe::folder(place.path()).unwrap();
        let names = ["review", "nothing", "../review", "link", "review"].map(str::to_owned);
        let shown = Path::new("/opt/logseq/skills");
        let made = link(&share, shown, &names, &inside).unwrap();
        assert_eq!(made.linked, ["review"]);
        assert_eq!(made.missing, ["nothing", "../review", "link"]);
        assert_eq!(std::fs::read_link(place.path().join("skills/review")).unwrap(), shown.join("review"));
        link(&share, shown, &["deploy".to_owned()], &inside).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(place.path().join(NAME)).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["deploy"]);
    }
}
