//! What a session changed, for whoever looks at it (agents.md 20.2).

use keyed::Map;

use serde::Serialize;

use super::{MAX_CHANGED, MAX_PATCH_BYTES};
use crate::publish::CommitId;

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its path below the directory of the repository.
    pub path: String,
    /// What became of it: `added`, `deleted`, `modified`, `type-changed`.
    pub status: &'static str,
    /// Lines that came; none for a file that is not text.
    pub additions: Option<u64>,
    /// Lines that went.
    pub deletions: Option<u64>,
    /// Whether it is not text.
    pub binary: bool,
}

/// What was changed since the work left its base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The commit, or tree, that is compared with.
    pub base: String,
    /// The commit that the work is at; none where there is none.
    pub head: Option<String>,
    /// The changed files; the first ones by path.
    pub files: Vec<Changed>,
    /// The changes as git writes them.
    pub patch: String,
    /// Whether files or text are missing.
    pub truncated: bool,
}

impl Diff {
    /// Reads the output of [`crate::command::diff`], which was asked for one file and one byte more than are given out; none when it
    /// says something else, or that there is no repository.
    pub fn parse(output: &str) -> Option<Self> {
        let at = output
            .find("agent-diff ")
            .filter(|at| *at == 0 || output.get(..*at).is_some_and(|before| before.ends_with('\n')))?;
        let (line, rest) = output.get(at..)?.split_once('\n')?;
        let mut words = line.strip_prefix("agent-diff ")?.split(' ');
        let base = CommitId::parse(words.next()?)?.as_str().to_owned();
        let head = Some(words.next()?).filter(|word| *word != "-");
        let head = head.map(|word| CommitId::parse(word).map(|id| id.as_str().to_owned()));
        let head = match head {
            Some(None) => return None,
            Some(found) => found,
            None => None,
        };
        let (statuses, rest) = section(rest)?;
        let (numbers, patch) = section(rest)?;
        let numbers: Map<&str, (&str, &str)> = fields(numbers)
            .filter_map(|record| {
                let mut parts = record.splitn(3, '\t');
                let (added, deleted, path) = (parts.next()?, parts.next()?, parts.next()?);
                Some((path, (added, deleted)))
            })
            .collect();
        let mut files = Vec::new();
        let mut words = fields(statuses);
        // Two words a file; the command gives at most one file more than is told.
        while let (Some(letter), Some(path)) = (words.next(), words.next()) {
            files.push(changed(letter, path, numbers.get(path)));
        }
        let is_cut = files.len() > MAX_CHANGED || patch.len() > MAX_PATCH_BYTES;
        files.truncate(MAX_CHANGED);
        let patch = cut(patch, MAX_PATCH_BYTES).to_owned();
        Some(Self { base, head, files, patch, truncated: is_cut })
    }
}

/// Fields that end with NUL, up to an empty one; and what comes after it.
fn section(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('\0') {
        return Some(("", rest));
    }
    text.split_once("\0\0")
}

fn fields(section: &str) -> impl Iterator<Item = &str> {
    section.split('\0').filter(|field| !field.is_empty())
}

fn changed(letter: &str, path: &str, numbers: Option<&(&str, &str)>) -> Changed {
    let status = match letter {
        "A" => "added",
        "D" => "deleted",
        "T" => "type-changed",
        _ => "modified",
    };
    let count = |of: fn(&(&str, &str)) -> Option<u64>| numbers.and_then(of);
    let (additions, deletions) = (count(|pair| pair.0.parse().ok()), count(|pair| pair.1.parse().ok()));
    let binary = numbers.is_some_and(|pair| pair.0 == "-");
    Changed { path: path.to_owned(), status, additions, deletions, binary }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn diffs_are_read() {
        let text = format!(
            "motd\nagent-diff {A} {A}\nM\0a b\0A\0c\nd\0\0{}\x001\t0\tc\nd\0\0diff --git a/a b/a\n+x\n",
            "-\t-\ta b"
        );
        let diff = Diff::parse(&text).unwrap();
        assert_eq!((diff.base.as_str(), diff.head.as_deref()), (A, Some(A)));
        assert_eq!(diff.files.len(), 2);
        assert_eq!(
            (diff.files[0].path.as_str(), diff.files[0].status, diff.files[0].binary),
            ("a b", "modified", true)
        );
        assert_eq!(
            (diff.files[1].path.as_str(), diff.files[1].additions, diff.files[1].deletions),
            ("c\nd", Some(1), Some(0))
        );
        assert_eq!(diff.patch, "diff --git a/a b/a\n+x\n");
        assert!(!diff.truncated);
        let nothing = Diff::parse(&format!("agent-diff {A} -\n\0\0")).unwrap();
        assert_eq!((nothing.head, nothing.files.len(), nothing.patch.as_str()), (None, 0, ""));
    }

    #[test]
    fn diffs_are_bounded() {
        let files = (0..=MAX_CHANGED).map(|at| format!("A\0f{at}\0")).collect::<Vec<_>>().concat();
        let patch = "é".repeat(MAX_PATCH_BYTES / 2 + 1);
        let diff = Diff::parse(&format!("agent-diff {A} {A}\n{files}\0\0{patch}")).unwrap();
        assert_eq!((diff.files.len(), diff.patch.len(), diff.truncated), (MAX_CHANGED, MAX_PATCH_BYTES, true));
    }

    #[test]
    fn other_texts_are_no_diff() {
        for text in ["", "agent-tree none\n", "agent-diff x y\n\0\0", &format!("agent-diff {A} {A}\nM\0a\0")] {
            assert_eq!(Diff::parse(text), None, "{text}");
        }
    }
}
