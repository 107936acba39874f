//! Skills of a session (docs/spec/session-mailbox.md 4.10): one copy for all of them lies in the share, which agents only read; a session has links
//! to those of its agent, and the agent finds them below its home.

use std::path::{Path, PathBuf};

use mailbox::{Error, fsafe, skills};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Session;
use crate::settings::AgentTable;

/// Skills that one session has at most.
const MOST: usize = 256;

impl Session {
    /// Links the skills of an agent. Their names; those that nothing is behind are reported once.
    pub(super) fn link_skills(&mut self, agent: &AgentTable) -> Result<Vec<String>, Error> {
        let share = self.station.share.join(skills::NAME);
        let names = match &agent.skills {
            Some(names) => names.iter().take(MOST).cloned().collect(),
            None => all(&share)?,
        };
        let (shown, inside) = self.station.driver.seen(&self.station.share, &self.host.places().inside());
        let linked = skills::link(&share, &shown.join(skills::NAME), &names, self.host.inside())?;
        if self.missing_skills != linked.missing {
            self.missing_skills.clone_from(&linked.missing);
            if !linked.missing.is_empty() {
                self.report("skills_missing", &format!("no such skills here: {}", linked.missing.join(", ")));
            }
        }
        if let Some(place) = &agent.skills_at
            && let Err(error) = lay_out(&self.host.places().home(), place, &inside.join(skills::NAME))
        {
            self.station.log.warn(format_args!("session {}: its skills: {error}", self.known.session_id));
        }
        Ok(linked.linked)
    }
}

/// Names of all skills there are.
fn all(share: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(share) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // Bounded by MOST: what one session has.
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.truncate(MOST);
    Ok(names)
}

/// Makes the place in an agent's home at which it looks for skills lead to those of its session, unless something else is there. The agent may have
/// laid out anything in its home; nothing outside of it is touched.
fn lay_out(home: &Path, place: &Path, skills: &PathBuf) -> Result<(), Error> {
    let parts: Option<Vec<&str>> = place.iter().map(|part| part.to_str()).collect();
    let mut parts = parts.filter(|parts| parts.iter().all(|part| fsafe::is_name(part))).ok_or(Error::BadName)?;
    let name = parts.pop().ok_or(Error::BadName)?;
    let mut folder = fsafe::folder(home)?;
    for part in parts {
        folder = fsafe::make_folder(&folder, part)?;
    }
    match rustix::fs::readlinkat(&folder, name, Vec::new()) {
        Ok(target) if target.as_bytes() == skills.as_os_str().as_encoded_bytes() => return Ok(()),
        // A link of another driver's. Whatever else lies there is the agent's.
        Ok(_) => rustix::fs::unlinkat(&folder, name, AtFlags::empty())?,
        Err(Errno::NOENT) => {}
        Err(Errno::INVAL) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::symlinkat(skills, &folder, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_finds_its_skills_and_keeps_what_it_has_there() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (place, target) = (Path::new(".claude/skills"), PathBuf::from("/mailbox/in/skills"));
        let link = home.path().join(place);
        for leads_to in ["/elsewhere", "/mailbox/in/skills", "/mailbox/in/skills"] {
            lay_out(home.path(), place, &leads_to.into()).unwrap();
            assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(leads_to));
        }
        std::fs::remove_file(&link).unwrap();
        std::fs::create_dir(&link).unwrap();
        lay_out(home.path(), place, &target).unwrap();
        assert!(link.is_dir() && std::fs::read_dir(&link).unwrap().count() == 0);
        // A folder that leads elsewhere is no folder of its home.
        std::fs::remove_dir_all(home.path().join(".claude")).unwrap();
        std::os::unix::fs::symlink(other.path(), home.path().join(".claude")).unwrap();
        assert!(lay_out(home.path(), place, &target).is_err());
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
        for bad in ["", "../skills", "/skills", ".claude/../../x"] {
            assert!(lay_out(home.path(), Path::new(bad), &target).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_list_a_session_has_all_skills_there_are() {
        let share = tempfile::tempdir().unwrap();
        assert_eq!(all(&share.path().join("absent")).unwrap(), Vec::<String>::new());
        for name in ["review", "deploy"] {
            std::fs::create_dir(share.path().join(name)).unwrap();
        }
        std::fs::write(share.path().join("README.md"), "").unwrap();
        assert_eq!(all(share.path()).unwrap(), ["deploy", "review"]);
    }
}
