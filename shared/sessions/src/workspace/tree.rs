//! Fingerprints of the tree, and bundles of what was not pushed (agents.md 5.3.10).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::PIECE_BYTES;
use crate::publish::CommitId;

/// The longest name of a branch that is kept, in bytes.
const MAX_BRANCH_BYTES: usize = 1_024;

/// A fingerprint of the working tree: two that are equal have the same files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tree {
    /// The commit; none in a repository without one.
    pub head: Option<String>,
    /// The branch; none when there is no current one.
    pub branch: Option<String>,
    /// git's id of everything that is not ignored, committed or not.
    pub tree: String,
}

impl Tree {
    /// As events tell it.
    pub fn told(&self) -> Value {
        json!({"head": self.head, "branch": self.branch, "tree": self.tree})
    }
}

/// What a look at the tree said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Look {
    /// What it is.
    pub tree: Tree,
    /// Whether it holds something that was neither pushed nor fetched.
    pub is_unpushed: bool,
}

/// What came of making a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundled {
    /// There is one; its id and time are yet to come.
    Made(Bundle),
    /// Everything is on a remote, or there is no repository.
    Empty,
    /// It has so many bytes, which are too many.
    TooLarge(u64),
}

/// What was not pushed, as it was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bundle {
    /// Its id among the bundles of its session.
    pub id: String,
    /// The hash of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
    /// The tree that it was made of.
    pub tree: Tree,
    /// The commit of what was not committed.
    pub wip: Option<String>,
}

impl Bundle {
    /// In how many pieces it is read and stored.
    pub fn pieces(&self) -> u64 {
        self.size.div_ceil(PIECE_BYTES as u64)
    }
}

/// What a session knows of its tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Saved {
    /// How the tree was left when the runtime was paused; none while something may change it, and when nobody could look.
    #[serde(default)]
    pub seen: Option<Look>,
    /// What is brought back into a new sandbox; none when everything was pushed.
    #[serde(default)]
    pub bundle: Option<Bundle>,
}

impl Saved {
    /// Whether a sandbox in which this was seen can be removed, and nothing is lost.
    pub fn covers(&self, look: &Look) -> bool {
        !look.is_unpushed || self.bundle.as_ref().is_some_and(|bundle| bundle.tree == look.tree)
    }
}

fn id(word: &str) -> Option<String> {
    CommitId::parse(word).map(|id| id.as_str().to_owned())
}

/// A word is not what it has to be.
struct Unread;

/// A word that may be left out as `-`.
fn optional<T>(word: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Unread> {
    if word == "-" { Ok(None) } else { read(word).map(Some).ok_or(Unread) }
}

fn branch(text: &str) -> Option<String> {
    let is_name = !text.is_empty() && text.len() <= MAX_BRANCH_BYTES && !text.contains(char::is_control);
    is_name.then(|| text.to_owned())
}

impl Look {
    /// Reads the output of [`crate::command::look`]; none where there is no repository, and where nothing is said of one.
    pub fn parse(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix("agent-tree "))?;
        let mut words = line.splitn(4, ' ');
        let head = optional(words.next()?, id).ok()?;
        let tree = id(words.next()?)?;
        let is_unpushed = words.next()? == "1";
        let branch = optional(words.next()?, branch).ok()?;
        Some(Self { tree: Tree { head, branch, tree }, is_unpushed })
    }
}

impl Bundled {
    /// Reads the output of [`crate::command::bundle`]; none when it says something else.
    pub fn parse(output: &str) -> Option<Self> {
        if output.lines().any(|line| line == "agent-tree none") {
            return Some(Self::Empty);
        }
        let line = output.lines().find_map(|line| line.strip_prefix("agent-bundle "))?;
        if line == "empty" {
            return Some(Self::Empty);
        }
        let mut words = line.splitn(6, ' ');
        let sha256 = words.next()?;
        let size = words.next()?.parse().ok()?;
        if sha256 == "too-large" {
            return Some(Self::TooLarge(size));
        }
        let sha256 = id(sha256).filter(|sum| sum.len() == 64)?;
        let head = optional(words.next()?, id).ok()?;
        let tree = id(words.next()?)?;
        let wip = optional(words.next()?, id).ok()?;
        let branch = optional(words.next()?, branch).ok()?;
        let tree = Tree { head, branch, tree };
        Some(Self::Made(Bundle { id: String::new(), sha256, size, tree, wip }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";
    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn looks_are_read() {
        let look = Look::parse(&format!("welcome\nagent-tree {A} {A} 1 topic/x\n")).unwrap();
        assert_eq!(look.tree.head.as_deref(), Some(A));
        assert_eq!(look.tree.branch.as_deref(), Some("topic/x"));
        assert!(look.is_unpushed);
        let look = Look::parse(&format!("agent-tree - {A} 0 -")).unwrap();
        assert_eq!((look.tree.head, look.tree.branch, look.is_unpushed), (None, None, false));
        for text in ["", "agent-tree none", "agent-tree", "agent-tree x y 1 z", &format!("agent-tree {A} x 1 main")] {
            assert_eq!(Look::parse(text), None, "{text}");
        }
        assert_eq!(Look::parse(&format!("agent-tree {A} {A} 1 {}", "x".repeat(2_000))), None);
    }

    #[test]
    fn bundles_are_read() {
        let text = format!("agent-bundle {SUM} 9000000 {A} {A} - main");
        let Some(Bundled::Made(bundle)) = Bundled::parse(&text) else { panic!("{text}") };
        assert_eq!((bundle.size, bundle.pieces(), bundle.wip), (9_000_000, 3, None));
        assert_eq!(Bundled::parse("agent-bundle too-large 77"), Some(Bundled::TooLarge(77)));
        assert_eq!(Bundled::parse("agent-bundle empty"), Some(Bundled::Empty));
        assert_eq!(Bundled::parse("agent-tree none"), Some(Bundled::Empty));
        for text in ["", "agent-bundle", &format!("agent-bundle {A} 1 {A} {A} - main"), "agent-bundle too-large x"] {
            assert_eq!(Bundled::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_pushed_or_bundled_is_covered() {
        let tree = |tree: &str| Tree { head: None, branch: None, tree: tree.to_owned() };
        let look = |name: &str, is_unpushed| Look { tree: tree(name), is_unpushed };
        let saved = Saved { seen: None, bundle: Some(Bundle { tree: tree("a"), ..Bundle::default() }) };
        assert!(saved.covers(&look("a", true)) && saved.covers(&look("b", false)) && !saved.covers(&look("b", true)));
        assert!(!Saved::default().covers(&look("a", true)) && Saved::default().covers(&look("a", false)));
    }
}
