//! A working tree that the commands of the service find in a sandbox.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::agent::Fate;

pub(crate) const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";
const STORE: &str = "/home/user/.logseq-agents/bundle/piece.";

/// The tree of a sandbox, as the commands of the service see it. Each number is a tree of its own.
#[derive(Default)]
pub(crate) struct WorkingTree {
    /// None: there is no repository.
    pub(crate) number: Option<u64>,
    pub(crate) is_pushed: bool,
    /// Bytes of a bundle of it; none: it is too large.
    pub(crate) bundle: Option<Vec<u8>>,
    /// What the next commands of that kind come to.
    pub(crate) fates: BTreeMap<&'static str, VecDeque<Fate>>,
    /// Which commands there were.
    pub(crate) commands: Vec<&'static str>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    is_lying: bool,
    /// Bundles that were brought back.
    pub(crate) restored: Vec<Vec<u8>>,
}

impl WorkingTree {
    pub(crate) fn fate(&mut self, text: &str) -> Fate {
        let kind = kind_of(text);
        self.commands.push(kind);
        self.fates.get_mut(kind).and_then(VecDeque::pop_front).unwrap_or_default()
    }

    pub(crate) fn said(&mut self, text: &str) -> String {
        let Some(number) = self.number else { return "agent-tree none\n".to_owned() };
        let tree = format!("{number:040x}");
        match kind_of(text) {
            "look" => format!("agent-tree {HEAD} {tree} {} main\n", u8::from(!self.is_pushed)),
            "bundle" => {
                let Some(bytes) = self.bundle.clone() else { return "agent-bundle too-large 99\n".to_owned() };
                let mut sum = String::new();
                for byte in Sha256::digest(&bytes) {
                    write!(sum, "{byte:02x}").unwrap();
                }
                for (at, piece) in bytes.chunks(4 << 20).enumerate() {
                    let piece = if self.is_lying { vec![0; piece.len()] } else { piece.to_vec() };
                    self.files.insert(format!("{STORE}{at:03}"), piece);
                }
                format!("agent-bundle {sum} {} {HEAD} {tree} {HEAD} main\n", bytes.len())
            }
            "restore" => {
                self.restored.push(self.pieces());
                "agent-restored\n".to_owned()
            }
            "list" => "agent-file dir\n".to_owned(),
            "diff" => format!("agent-diff {HEAD} {HEAD}\n\0\0"),
            _ => String::new(),
        }
    }

    fn pieces(&self) -> Vec<u8> {
        self.files.iter().filter(|(path, _)| path.starts_with(STORE)).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// The sandbox says that its next bundle is another one than it gives out.
    pub(crate) fn lies(&mut self) {
        self.is_lying = true;
    }

    /// A new sandbox holds what was cloned.
    pub(crate) fn begin_anew(&mut self) {
        self.files.clear();
    }
}

fn kind_of(text: &str) -> &'static str {
    let kinds = [
        ("git bundle create", "bundle"),
        ("git bundle verify", "restore"),
        ("agent-diff", "diff"),
        ("agent-file", "list"),
    ];
    let found = kinds.iter().find(|(words, _)| text.contains(words)).map(|(_, kind)| *kind);
    found.unwrap_or(if text.contains("agent-tree %s") { "look" } else { "other" })
}
