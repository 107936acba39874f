//! Files beside outputs: what was cut off of them lies in `out/files/<sha256>/` (docs/spec/session-mailbox.md 4.8). One goes when no output that
//! waits for the host names it.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir};

use crate::fsafe;
use crate::message::Millis;
use crate::places::FILES;

/// The kind of outputs that name files.
pub(super) const KIND: &str = "file";
/// A file that no output names goes at this age, in milliseconds: whoever wrote it died before it said so.
const LEFT_MS: i64 = 86_400_000;

/// The folder of the file that an output names. None when it names none.
pub(super) fn named(content: &str) -> Option<String> {
    let content: serde_json::Value = serde_json::from_str(content).ok()?;
    Some(content.get("sha256")?.as_str().filter(|name| is_digest(name))?.to_owned())
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Removes the files that the host has taken, and those that nobody has named for long, but for those of outputs that wait. What cannot be
/// removed is tried again the next time.
pub(super) fn remove(outside: impl AsFd, taken: &BTreeSet<String>, waiting: &BTreeSet<String>, now: Millis) {
    if !fsafe::exists(&outside, FILES).unwrap_or_default() {
        return;
    }
    let Ok(folder) = fsafe::make_folder(&outside, FILES) else { return };
    let Ok(entries) = Dir::read_from(&folder) else { return };
    // Bounded by the files of outputs that wait, and of those of a day that nobody named.
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().ok().filter(|name| is_digest(name)) else { continue };
        let is_left = || {
            let seen = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
            seen.is_some_and(|seen| now.saturating_sub(seen.st_mtime.saturating_mul(1_000)) >= LEFT_MS)
        };
        if !waiting.contains(name) && (taken.contains(name) || is_left()) {
            let _ = fsafe::remove_folder(&folder, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["0", "1", "2", "3"];

    fn digest(name: &str) -> String {
        name.repeat(64)
    }

    #[test]
    fn what_was_taken_goes_with_what_was_left_a_day_ago_and_what_waits_stays() {
        let place = tempfile::tempdir().unwrap();
        let outside = fsafe::folder(place.path()).unwrap();
        remove(&outside, &BTreeSet::new(), &BTreeSet::new(), 0);
        assert!(!place.path().join(FILES).exists());
        for name in NAMES.map(digest).iter().map(String::as_str).chain(["other"]) {
            let folder = place.path().join(FILES).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("output.txt"), name).unwrap();
        }
        let there = || {
            let mut names: Vec<String> = std::fs::read_dir(place.path().join(FILES))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap().chars().take(1).collect())
                .collect();
            names.sort();
            names.concat()
        };
        let set = |names: &[&str]| names.iter().copied().map(digest).collect::<BTreeSet<_>>();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(since.as_millis()).unwrap();
        remove(&outside, &set(&["0", "1"]), &set(&["1", "2"]), now);
        assert_eq!(there(), "123o", "1 is named by another output that waits; nobody has named 3 yet");
        remove(&outside, &set(&[]), &set(&["1"]), now + LEFT_MS - 60_000);
        assert_eq!(there(), "123o");
        remove(&outside, &set(&[]), &set(&["1"]), now + LEFT_MS + 1_000);
        assert_eq!(there(), "1o", "what has another name is not of these");
    }

    #[test]
    fn an_output_that_names_nothing_sound_names_no_folder() {
        let good = digest("a");
        assert_eq!(named(&format!("{{\"sha256\":\"{good}\"}}")), Some(good));
        for bad in
            ["", "{", "{}", "{\"sha256\":1}", "{\"sha256\":\"..\"}", &format!("{{\"sha256\":\"{}\"}}", digest("A"))]
        {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
