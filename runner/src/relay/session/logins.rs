//! Files of logins for an agent whose home is not this user's (docs/spec/session-mailbox.md 8.2).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use mailbox::{Error, fsafe};

/// Bytes of such a file.
const MAX_BYTES: u64 = 1 << 20;

/// Copies files of this user's home to the same places of the agent's, where nothing is: an agent that has renewed its login keeps it. The agent may
/// have laid out anything in its home; nothing outside of it is touched. Files that could not be brought, and why not.
pub(super) fn bring<'a>(home: &Path, own: Option<&Path>, files: &'a [PathBuf]) -> Vec<(&'a Path, Error)> {
    // As many as the configuration names.
    files.iter().filter_map(|file| Some((file.as_path(), bring_one(home, own, file).err()?))).collect()
}

fn bring_one(home: &Path, own: Option<&Path>, file: &Path) -> Result<(), Error> {
    let below = own.and_then(|own| file.strip_prefix(own).ok()).and_then(Path::to_str);
    let below = below.ok_or_else(|| Error::Config("it is not below the home folder".to_owned()))?;
    let mut parts: Vec<&str> = below.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    let mut folder = fsafe::folder(home)?;
    for part in parts {
        folder = fsafe::make_folder(&folder, part)?;
    }
    if fsafe::exists(&folder, name)? {
        return Ok(());
    }
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(Error::Config("it is too long".to_owned()));
    }
    fsafe::create(&folder, name, &content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_login_is_copied_once_and_nothing_outside_of_the_home_is_touched() {
        let (own, home, other) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let login = own.path().join(".agent/login.json");
        std::fs::create_dir(own.path().join(".agent")).unwrap();
        std::fs::write(&login, "first").unwrap();
        let bring = |files: &[PathBuf]| bring(home.path(), Some(own.path()), files).len();
        assert_eq!(bring(std::slice::from_ref(&login)), 0);
        let copy = home.path().join(".agent/login.json");
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&copy, "renewed by the agent").unwrap();
        assert_eq!(bring(std::slice::from_ref(&login)), 0);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "renewed by the agent");
        // A folder that leads elsewhere is no folder of its home.
        std::fs::remove_dir_all(home.path().join(".agent")).unwrap();
        symlink(other.path(), home.path().join(".agent")).unwrap();
        assert_eq!(bring(std::slice::from_ref(&login)), 1);
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
        let strange =
            [own.path().join("../x"), "/etc/hostname".into(), own.path().join("absent"), own.path().to_owned()];
        assert_eq!(bring(&strange), 4);
    }
}
