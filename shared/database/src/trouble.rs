//! What a message of a database or a file system means for those who wait: drivers and platforms pass on texts, and no more.

/// Why storage does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room: a disk, an allowance or a quota is used up. Reading goes on, and writing may again later.
    Full,
    /// It cannot be written, because it was made read-only. What is there can be read.
    ReadOnly,
    /// It cannot be written, or not even read: the device fails.
    Unavailable,
    /// A file is no database any more.
    Damaged,
}

const FULL: [&str; 4] = ["sqlite_full", "database or disk is full", "no space left on device", "quota exceeded"];

const READ_ONLY: [&str; 3] = ["sqlite_readonly", "readonly database", "read-only file system"];

const UNAVAILABLE: [&str; 5] = [
    "sqlite_ioerr",
    "disk i/o error",
    "input/output error",
    "unable to open database file",
    "write-ahead log could not be synced",
];

const DAMAGED: [&str; 4] =
    ["sqlite_corrupt", "sqlite_notadb", "database disk image is malformed", "file is not a database"];

impl Trouble {
    /// What a message means; none where it is about something else.
    pub fn of(message: &str) -> Option<Self> {
        let lower = message.to_ascii_lowercase();
        let says = |markers: &[&str]| markers.iter().any(|marker| lower.contains(marker));
        if says(&FULL) {
            Some(Self::Full)
        } else if says(&DAMAGED) {
            Some(Self::Damaged)
        } else if says(&READ_ONLY) {
            Some(Self::ReadOnly)
        } else if says(&UNAVAILABLE) {
            Some(Self::Unavailable)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_databases_and_file_systems_are_understood() {
        for (message, trouble) in [
            ("D1_ERROR: database or disk is full: SQLITE_FULL", Some(Trouble::Full)),
            ("/data/tmp/x: No space left on device (os error 28)", Some(Trouble::Full)),
            ("disk I/O error", Some(Trouble::Unavailable)),
            ("attempt to write a readonly database", Some(Trouble::ReadOnly)),
            ("Read-only file system (os error 30)", Some(Trouble::ReadOnly)),
            ("/data/db.sqlite-wal: Input/output error (os error 5)", Some(Trouble::Unavailable)),
            ("storage: database disk image is malformed", Some(Trouble::Damaged)),
            ("file is not a database", Some(Trouble::Damaged)),
            ("UNIQUE constraint failed: users.id", None),
        ] {
            assert_eq!(Trouble::of(message), trouble, "{message}");
        }
    }
}
