//! What nobody needs any more goes (docs/spec/session-mailbox.md 8.4): folders of sessions that were ended a week ago, and what was moved aside a
//! month ago.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mailbox::message::Millis;
use mailbox::{Error, FileHost, Places};

use super::records;

/// How long the folder of a session stays that was ended, in milliseconds.
const ENDED_MS: Millis = 7 * 86_400_000;
/// How long stays what was moved aside.
const STALE_MS: Millis = 30 * 86_400_000;
const STALE: &str = "stale";

/// Moves the folders of sessions aside that were ended long ago, but not those that somebody works with. A working tree stays where it is, if
/// `keeps_work`, unless nothing is in it: whether its work lies elsewhere too, only git could tell. What can be removed now.
pub(super) fn set_aside(
    state: &Path,
    now: Millis,
    keeps_work: bool,
    is_here: &dyn Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, Error> {
    // As many as the runner has made.
    for id in records::sessions(state)?.into_iter().filter(|id| !is_here(id)) {
        let places = Places::of(state, &id);
        let known = records::Session::read(&places);
        let ended = known.and_then(|known| known.closed_at).filter(|at| at.saturating_add(ENDED_MS) <= now);
        if ended.is_none() || !super::attaching::is_silent(&places) {
            continue;
        }
        let has_work = std::fs::read_dir(places.work()).is_ok_and(|mut entries| entries.next().is_some());
        // Named by a time so long ago that it can go at once.
        let as_of = now.saturating_sub(STALE_MS);
        FileHost::set_aside(&places, as_of)?;
        if keeps_work && has_work {
            let name = places.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
            std::fs::create_dir(places.folder())?;
            std::fs::rename(state.join(STALE).join(format!("{name}.{as_of}")).join("work"), places.work())?;
        }
    }
    let entries = match std::fs::read_dir(state.join(STALE)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let is_old = |path: &PathBuf| {
        let at = path.extension().and_then(|at| at.to_str()?.parse::<Millis>().ok());
        at.is_some_and(|at| at.saturating_add(STALE_MS) <= now)
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_old).collect())
}

/// Removes folders. Links in them are removed, and nothing that they lead to. Those that stay, and why.
pub(super) fn remove(folders: Vec<PathBuf>) -> Vec<(PathBuf, std::io::Error)> {
    folders.into_iter().filter_map(|folder| Some((folder.clone(), std::fs::remove_dir_all(folder).err()?))).collect()
}

#[cfg(test)]
mod tests {
    use mailbox::host::Settings;

    use super::*;

    fn session(state: &Path, id: &str, closed_at: Option<Millis>) -> Places {
        FileHost::create(state, id, Settings::default(), 0).unwrap();
        let places = Places::of(state, id);
        let known = records::Session { session_id: id.to_owned(), closed_at, ..records::Session::default() };
        known.write(&places).unwrap();
        places
    }

    #[test]
    fn folders_go_a_week_after_their_end_and_what_was_moved_aside_after_a_month() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().canonicalize().unwrap();
        let now = 100 * 86_400_000;
        let long_ago = Some(now - ENDED_MS);
        let [open, fresh, old, busy, worked] = [
            session(&state, "open", None),
            session(&state, "fresh", Some(now - ENDED_MS + 1)),
            session(&state, "old", long_ago),
            session(&state, "busy", long_ago),
            session(&state, "worked", long_ago),
        ];
        std::fs::write(worked.work().join("left.txt"), "words").unwrap();
        std::os::unix::fs::symlink("/etc", old.home().join("link")).unwrap();
        let stale = state.join("stale");
        std::fs::create_dir(&stale).unwrap();
        let (young, aged) =
            (stale.join(format!("a.{}", now - STALE_MS + 1)), stale.join(format!("b.{}", now - STALE_MS)));
        std::fs::create_dir(&young).unwrap();
        std::fs::create_dir(&aged).unwrap();
        let folders = set_aside(&state, now, true, &|id| id == "busy").unwrap();
        assert_eq!(folders.len(), 3);
        assert!(remove(folders).is_empty());
        assert!([&open, &fresh, &busy].iter().all(|places| places.inside().exists()));
        assert!(!old.folder().exists() && !worked.inside().exists() && !aged.exists() && young.exists());
        assert_eq!(std::fs::read_to_string(worked.work().join("left.txt")).unwrap(), "words");
        assert!(Path::new("/etc/passwd").exists(), "a link is removed, not what it leads to");
        // One of the same name begins there again.
        let again = session(&state, "worked", long_ago);
        let folders = set_aside(&state, now, false, &|id| id == "busy").unwrap();
        assert!(remove(folders).is_empty() && !again.folder().exists(), "unless trees are not kept");
    }
}
