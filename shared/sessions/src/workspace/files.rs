//! Files of the tree, for whoever looks at a session (agents.md 20.2).

use super::MAX_ENTRIES;

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1_024;

/// A path below the directory of the repository; empty for that directory itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativePath(String);

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Absolute, with `..` or NUL, or too long.
    #[error("invalid path")]
    Invalid,
    /// What git keeps for itself is not shown.
    #[error("not found")]
    Hidden,
}

impl RelativePath {
    /// Checks a path that somebody asks for.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES || text.starts_with('/') || text.contains('\0') {
            return Err(PathError::Invalid);
        }
        // Bounded by the length of the text.
        let mut segments = text.split('/');
        if segments.clone().any(|segment| segment == "..") {
            return Err(PathError::Invalid);
        }
        // Some file systems do not tell upper case from lower.
        if segments.any(|segment| segment.eq_ignore_ascii_case(".git")) {
            return Err(PathError::Hidden);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What kind an entry of a folder is of. Others than these are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link, wherever it leads.
    Link,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Its bytes.
    pub size: u64,
    /// When it was changed, in milliseconds since 1970.
    pub modified: i64,
}

/// What was found under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A folder: its first entries by name, and whether there are more.
    Folder(Vec<Listed>, bool),
    /// A file of so many bytes.
    File(u64),
    /// Nothing that could be shown.
    Missing,
    /// It leads out of the directory of the repository.
    Outside,
}

impl Found {
    /// Reads the output of [`crate::command::list`], which was asked for one entry more than [`MAX_ENTRIES`]; none when it says
    /// something else.
    pub fn parse(output: &str) -> Option<Self> {
        let at = output
            .find("agent-file ")
            .filter(|at| *at == 0 || output.get(..*at).is_some_and(|before| before.ends_with('\n')))?;
        let (line, rest) = output.get(at..)?.split_once('\n')?;
        match line.strip_prefix("agent-file ")? {
            "missing" => Some(Self::Missing),
            "outside" => Some(Self::Outside),
            "dir" => {
                let mut entries: Vec<Listed> = rest.split('\0').take(MAX_ENTRIES + 1).filter_map(entry).collect();
                let is_cut = entries.len() > MAX_ENTRIES;
                entries.truncate(MAX_ENTRIES);
                Some(Self::Folder(entries, is_cut))
            }
            file => file.strip_prefix("file ")?.parse().ok().map(Self::File),
        }
    }
}

/// `name/kind/size/seconds.fraction`: a name has no slash.
fn entry(text: &str) -> Option<Listed> {
    let mut parts = text.split('/');
    let (name, kind, size, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let kind = match kind {
        "f" => EntryKind::File,
        "d" => EntryKind::Dir,
        "l" => EntryKind::Link,
        _ => return None,
    };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    let millis = fraction.get(..3).and_then(|digits| digits.parse::<i64>().ok()).unwrap_or_default();
    let modified = seconds.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(millis)?;
    Some(Listed { name: name.to_owned(), kind, size: size.parse().ok()?, modified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["", "a", "a/b.c", "./a", "a//b", "..a", "a..", " ", "-rf", "$(x)", "a\nb", ".gitignore"] {
            assert_eq!(RelativePath::parse(good).unwrap().as_str(), good);
        }
        for bad in ["/", "/etc", "..", "../a", "a/..", "a/../b", "a\0b", &"x".repeat(1_025)] {
            assert_eq!(RelativePath::parse(bad), Err(PathError::Invalid), "{bad}");
        }
        for hidden in [".git", ".git/config", "sub/.git/config", ".GIT/config"] {
            assert_eq!(RelativePath::parse(hidden), Err(PathError::Hidden), "{hidden}");
        }
        assert!(RelativePath::parse(&"x".repeat(1_024)).is_ok());
    }

    #[test]
    fn folders_are_read() {
        let found =
            Found::parse("motd\nagent-file dir\na\nb/f/12/1700000000.5000000000\0d/d/4096/1700000001.0\0p/p/0/1\0");
        let Some(Found::Folder(entries, false)) = found else { panic!("{found:?}") };
        assert_eq!(entries.len(), 2, "a pipe is not listed");
        assert_eq!((entries[0].name.as_str(), entries[0].size, entries[0].modified), ("a\nb", 12, 1_700_000_000_500));
        assert_eq!(entries[1].kind, EntryKind::Dir);
        let many = (0..=MAX_ENTRIES).map(|at| format!("{at}/f/0/0.0\0")).collect::<Vec<_>>().concat();
        let Some(Found::Folder(entries, true)) = Found::parse(&format!("agent-file dir\n{many}")) else { panic!() };
        assert_eq!(entries.len(), MAX_ENTRIES);
    }

    #[test]
    fn other_answers() {
        assert_eq!(Found::parse("agent-file file 10\n"), Some(Found::File(10)));
        assert_eq!(Found::parse("agent-file missing\n"), Some(Found::Missing));
        assert_eq!(Found::parse("agent-file outside\n"), Some(Found::Outside));
        for text in ["", "agent-file", "agent-file x\n", "xagent-file missing\n"] {
            assert_eq!(Found::parse(text), None, "{text}");
        }
    }
}
