//! The files of a sandbox or machine, as far as transcripts need them. Paths are absolute.

use crate::places::Pattern;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A plain file of so many bytes.
    File(u64),
    /// A folder, a link, a device or anything else.
    Other,
}

/// Why a file could not be read or written. For logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It may help to try again.
    #[error("the files are not reached: {0}")]
    Unreachable(String),
    /// It does not.
    #[error("{0}")]
    Refused(String),
}

/// The files of one machine.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Target {
    /// What lies there; none when there is nothing.
    async fn stat(&self, path: &str) -> Result<Option<Entry>, TargetError>;

    /// The bytes of a file; none when there is nothing. One of more than `limit` bytes is refused, without having been read.
    async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, TargetError>;

    /// Writes a file, and does not return before it would outlast a crash where the machine can promise that.
    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TargetError>;

    /// Makes a folder, with its parents.
    async fn make_folder(&self, path: &str) -> Result<(), TargetError>;

    /// Sets the rights of a file.
    async fn set_mode(&self, path: &str, mode: u32) -> Result<(), TargetError>;

    /// Lets a file take the place of another one at once.
    async fn rename(&self, from: &str, to: &str) -> Result<(), TargetError>;

    /// Paths of plain files below `home` that the pattern fits, relative to it; links are not followed. More than `most` are
    /// refused.
    async fn find(&self, home: &str, pattern: &Pattern, most: usize) -> Result<Vec<String>, TargetError>;

    /// Waits, in milliseconds.
    async fn pause(&self, ms: u32);
}
