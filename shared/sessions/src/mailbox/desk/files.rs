//! How many files of a session are kept (session-mailbox.md 7.6, 7.9).

use crate::mailbox::limits;

/// The files of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// How large together, in bytes.
    pub bytes: u64,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesRefused {
    /// 413.
    #[error("too large")]
    TooLarge,
    /// 507.
    #[error("quota")]
    Quota,
}

impl Files {
    /// Whether one more file of so many bytes is taken. A file that is there already is not asked about.
    ///
    /// # Errors
    /// [`FilesRefused`].
    pub const fn admit(self, size: u64) -> Result<(), FilesRefused> {
        if size > limits::MAX_FILE_BYTES {
            return Err(FilesRefused::TooLarge);
        }
        if self.count >= limits::MAX_FILES || self.bytes.saturating_add(size) > limits::MAX_FILES_BYTES {
            return Err(FilesRefused::Quota);
        }
        Ok(())
    }
}
