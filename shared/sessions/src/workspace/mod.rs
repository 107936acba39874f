//! The working tree of a session: what is known of it, and what the commands of [`crate::command`] say of it (agents.md 5.3.10, 20.2).
//! Pure. Whatever they write was made in a sandbox and is believed no more than the agent there: it is read into bounded types, and
//! becomes an argument or a text, never a part of a command.

mod diff;
mod files;
mod tree;

pub use diff::{Changed, Diff};
pub use files::{EntryKind, Found, Listed, PathError, RelativePath};
pub use tree::{Bundle, Bundled, Look, Saved, Tree};

/// Entries of a folder that are listed at most.
pub const MAX_ENTRIES: usize = 1_000;
/// Bytes of a file that is given out.
pub const MAX_FILE_BYTES: usize = 10 << 20;
/// Changed files of a diff that are listed at most.
pub const MAX_CHANGED: usize = 500;
/// Bytes of the patch of a diff.
pub const MAX_PATCH_BYTES: usize = 1 << 20;
/// Bytes that a command may say of the tree: names of [`MAX_CHANGED`] files, twice, and a patch.
pub const MAX_OUTPUT_BYTES: usize = MAX_PATCH_BYTES + (2 << 20);
