//! Files that the other side may have laid out as traps: symbolic links, pipes that block, files of somebody else, names that
//! lead out of a folder (docs/spec/session-mailbox.md 4.4). Everything is opened from a folder's descriptor, part by part, and
//! what was looked at is the descriptor that is then read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::Error;

/// The longest name of a file, in bytes.
const MAX_NAME: usize = 255;
/// Flags of everything that is opened here.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens a folder itself, not what a link leads to.
///
/// # Errors
///
/// What the system refuses.
pub fn folder(path: &Path) -> Result<OwnedFd, Error> {
    Ok(rustix::fs::open(path, CAREFUL | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)
}

/// Whether a text is the name of a file, and nothing else: no separator, no way up, no NUL, at most 255 bytes.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !matches!(name, "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// What was seen of a file, by its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its length in bytes.
    pub size: u64,
    /// Its links.
    pub links: u64,
    /// Its owner.
    pub owner: u32,
}

/// Opens a plain file below a folder, by its parts.
///
/// # Errors
///
/// [`Error::BadName`], [`Error::Hostile`] when it is no plain file of this user with one link, or what the system refuses.
pub fn open(folder: impl AsFd, parts: &[&str]) -> Result<(File, Seen), Error> {
    let file = open_as(folder.as_fd(), parts, OFlags::RDONLY)?;
    let seen = plain(&file)?;
    Ok((File::from(file), seen))
}

/// Reads a plain file below a folder, of at most `limit` bytes.
///
/// # Errors
///
/// As [`open`]; [`Error::Hostile`] when it is longer.
pub fn read(folder: impl AsFd, parts: &[&str], limit: u64) -> Result<Vec<u8>, Error> {
    let (file, seen) = open(folder, parts)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if seen.size > limit || bytes.len() as u64 > limit {
        return Err(Error::Hostile("a file is too long"));
    }
    Ok(bytes)
}

/// Whether something of this name is there, of whatever kind.
///
/// # Errors
///
/// What the system refuses.
pub fn exists(folder: impl AsFd, name: &str) -> Result<bool, Error> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// When a file was last changed, in nanoseconds since 1970, without opening it. Nothing when it is no plain file.
pub fn changed_at(folder: impl AsFd, name: &str) -> Option<i128> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    file.then(|| i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec))
}

/// Makes a folder in a folder, or takes the one that is there.
///
/// # Errors
///
/// [`Error::BadName`], [`Error::Hostile`] when something else is there.
pub fn make_folder(folder: impl AsFd, name: &str) -> Result<OwnedFd, Error> {
    if !is_name(name) {
        return Err(Error::BadName);
    }
    match rustix::fs::mkdirat(&folder, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let made = rustix::fs::openat(&folder, name, CAREFUL | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    made.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => Error::Hostile("something else stands where a folder should be"),
        other => other.into(),
    })
}

/// Writes a new file into a folder: whatever is there already is left alone.
///
/// # Errors
///
/// [`Error::BadName`], [`Error::Hostile`] when something is there, or what the system refuses.
pub fn create(folder: impl AsFd, name: &str, content: &[u8]) -> Result<(), Error> {
    if !is_name(name) {
        return Err(Error::BadName);
    }
    let flags = CAREFUL | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let made = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
        Errno::EXIST | Errno::LOOP => Error::Hostile("something else stands where a file should be"),
        other => other.into(),
    })?;
    let mut file = File::from(made);
    file.write_all(content)?;
    Ok(file.sync_all()?)
}

/// Writes a file so that readers see the old content or the new one: aside, to the disk, and then to its place.
///
/// # Errors
///
/// [`Error::BadName`], or what the system refuses.
pub fn replace(folder: impl AsFd, name: &str, content: &[u8]) -> Result<(), Error> {
    let aside = format!(".{name}.tmp");
    if !is_name(name) || !is_name(&aside) {
        return Err(Error::BadName);
    }
    match rustix::fs::unlinkat(&folder, aside.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    if let Err(error) = create(&folder, &aside, content) {
        // Half a file takes room that may be what is missing.
        let _ = rustix::fs::unlinkat(&folder, aside.as_str(), AtFlags::empty());
        return Err(error);
    }
    rustix::fs::renameat(&folder, aside.as_str(), &folder, name)?;
    Ok(rustix::fs::fsync(&folder)?)
}

/// Removes a file, or whatever entry has its name and is no folder. One that is absent is no error.
///
/// # Errors
///
/// [`Error::BadName`], or what the system refuses.
pub fn remove(folder: impl AsFd, name: &str) -> Result<(), Error> {
    if !is_name(name) {
        return Err(Error::BadName);
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a folder of plain files; nothing outside of it is touched, whatever its entries lead to. One that is absent is no
/// error.
///
/// # Errors
///
/// [`Error::BadName`], [`Error::Hostile`] when it is no folder, or what the system refuses.
pub fn remove_folder(folder: impl AsFd, name: &str) -> Result<(), Error> {
    if !is_name(name) {
        return Err(Error::BadName);
    }
    let flags = CAREFUL | OFlags::RDONLY | OFlags::DIRECTORY;
    let inner = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
        Ok(inner) => inner,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(Error::Hostile("something else stands where a folder should be"));
        }
        Err(error) => return Err(error.into()),
    };
    // Bounded by the entries of the folder; an entry that is a folder itself stays, and the removal fails.
    for entry in rustix::fs::Dir::read_from(&inner)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            rustix::fs::unlinkat(&inner, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Opens by parts: at once where the system can keep to the folder, else one after the other.
fn open_as(folder: impl AsFd, parts: &[&str], flags: OFlags) -> Result<OwnedFd, Error> {
    if parts.is_empty() || !parts.iter().all(|part| is_name(part)) {
        return Err(Error::BadName);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(&folder, parts.join("/"), CAREFUL | flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other.map_err(trap),
    }
    let (last, way) = parts.split_last().ok_or(Error::BadName)?;
    let mut at = rustix::io::fcntl_dupfd_cloexec(&folder, 0)?;
    // Bounded by the parts, which the caller names.
    for part in way {
        at = rustix::fs::openat(&at, *part, CAREFUL | OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map_err(trap)?;
    }
    rustix::fs::openat(&at, *last, CAREFUL | flags, Mode::empty()).map_err(trap)
}

fn trap(error: Errno) -> Error {
    match error {
        Errno::LOOP | Errno::XDEV | Errno::NXIO => Error::Hostile("a link or a pipe stands where a file should be"),
        Errno::NOTDIR => Error::Hostile("something else stands where a folder should be"),
        other => other.into(),
    }
}

fn plain(file: &OwnedFd) -> Result<Seen, Error> {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Hostile("no plain file"));
    }
    let seen = Seen { size: u64::try_from(stat.st_size).unwrap_or_default(), links: stat.st_nlink, owner: stat.st_uid };
    match seen.links {
        1 => Ok(seen),
        // Removed between its opening and this look: a writer removes its journal with each commit.
        0 => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        _ => Err(Error::Hostile("a file has several names")),
    }
}

/// What the first bytes of a database say about its journal, from docs of SQLite: 1 and 1 for a rollback journal.
const VERSIONS: std::ops::Range<usize> = 18..20;

/// Looks at a database of the other side before SQLite opens it, and at its journal. Nothing when it is not there yet.
///
/// # Errors
///
/// [`Error::Hostile`] when it is not what SQLite may open for reading.
pub fn examine(folder: impl AsFd, name: &str, owner: u32, limit: u64) -> Result<Option<Seen>, Error> {
    let folder = folder.as_fd();
    let (mut file, seen) = match open(folder, &[name]) {
        Ok(opened) => opened,
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(closed(error)),
    };
    if seen.owner != owner {
        return Err(Error::Hostile("a file belongs to somebody else"));
    }
    if seen.size > limit {
        return Err(Error::Hostile("a file is too long"));
    }
    let mut head = [0; 20];
    // An empty file is a database without tables: its writer has just made it.
    match file.read_exact(&mut head) {
        Ok(()) if head.get(VERSIONS) == Some(&[1, 1]) => {}
        Ok(()) => return Err(Error::Hostile("no database with a rollback journal")),
        Err(_) if seen.size == 0 => {}
        Err(_) => return Err(Error::Hostile("no database")),
    }
    match open(folder, &[&format!("{name}-journal")]) {
        Ok((_, journal)) if journal.owner != owner => Err(Error::Hostile("a file belongs to somebody else")),
        Ok((_, journal)) if journal.size > limit => Err(Error::Hostile("a file is too long")),
        Ok(_) => Ok(Some(seen)),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Some(seen)),
        Err(error) => Err(closed(error)),
    }
}

/// A file that may not be read was closed by the other side: whoever looks owns it, or it is somebody else's.
fn closed(error: Error) -> Error {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Error::Hostile("a file may not be read"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn place() -> (tempfile::TempDir, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        let opened = folder(place.path()).unwrap();
        (place, opened)
    }

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn fact_30_names_that_lead_elsewhere_are_none() {
        for bad in ["", ".", "..", "a/b", "../a", "/a", "a\0b", "a\\b", "a/", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        for good in ["a", "a.b", "...", "-rf", " ", "ä ö", "CON", &"x".repeat(255)] {
            assert!(is_name(good), "{good:?}");
        }
    }

    #[test]
    fn fact_30_links_on_the_way_are_not_followed() {
        let (place, top) = place();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("f"), "secret").unwrap();
        symlink(outside.path(), place.path().join("way")).unwrap();
        symlink(outside.path().join("f"), place.path().join("last")).unwrap();
        for parts in [&["way", "f"][..], &["last"]] {
            assert!(matches!(read(&top, parts, 100), Err(Error::Hostile(_))), "{parts:?}");
        }
        assert!(matches!(make_folder(&top, "way"), Err(Error::Hostile(_))));
        assert!(matches!(create(&top, "last", b"x"), Err(Error::Hostile(_))));
        assert!(matches!(remove_folder(&top, "way"), Err(Error::Hostile(_))));
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"secret");
    }

    #[test]
    fn a_file_that_is_removed_while_it_is_looked_at_is_absent_and_not_hostile() {
        let (place, top) = place();
        create(&top, "journal", b"x").unwrap();
        let opened = open_as(&top, &["journal"], OFlags::RDONLY).unwrap();
        plain(&opened).unwrap();
        std::fs::hard_link(place.path().join("journal"), place.path().join("second")).unwrap();
        assert!(matches!(plain(&opened), Err(Error::Hostile(_))));
        for name in ["journal", "second"] {
            remove(&top, name).unwrap();
        }
        assert!(matches!(plain(&opened), Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn fact_30_removing_never_leaves_the_folder() {
        let (place, top) = place();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("f"), "kept").unwrap();
        let inner = make_folder(&top, "m1").unwrap();
        create(&inner, "a", b"1").unwrap();
        symlink(outside.path().join("f"), place.path().join("m1/link")).unwrap();
        remove_folder(&top, "m1").unwrap();
        assert!(!place.path().join("m1").exists());
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"kept");
        remove_folder(&top, "m1").unwrap();
        assert!(matches!(remove_folder(&top, ".."), Err(Error::BadName)));
    }

    #[test]
    fn ordinary_files_are_written_once_and_read() {
        let (_place, top) = place();
        let inner = make_folder(&top, "m1").unwrap();
        create(&inner, "a.txt", b"text").unwrap();
        assert_eq!(read(&top, &["m1", "a.txt"], 4).unwrap(), b"text");
        assert!(matches!(read(&top, &["m1", "a.txt"], 3), Err(Error::Hostile(_))));
        assert!(matches!(create(&inner, "a.txt", b"other"), Err(Error::Hostile(_))));
        replace(&inner, "a.txt", b"new").unwrap();
        assert_eq!(read(&inner, &["a.txt"], 10).unwrap(), b"new");
    }

    #[test]
    fn pipes_devices_and_second_names_are_refused_without_blocking() {
        let (place, top) = place();
        pipe(&place.path().join("pipe"));
        assert!(matches!(read(&top, &["pipe"], 10), Err(Error::Hostile(_))));
        create(&top, "file", b"x").unwrap();
        std::fs::hard_link(place.path().join("file"), place.path().join("second")).unwrap();
        assert!(matches!(read(&top, &["second"], 10), Err(Error::Hostile(_))));
        assert_eq!(changed_at(&top, "pipe"), None);
        assert!(changed_at(&top, "file").is_some());
    }

    /// A folder that is swapped for a link while its files are written: nothing lands behind the link.
    #[test]
    fn a_folder_that_is_swapped_meanwhile_keeps_what_was_opened() {
        let (place, top) = place();
        let outside = tempfile::tempdir().unwrap();
        let inner = make_folder(&top, "m1").unwrap();
        std::fs::rename(place.path().join("m1"), place.path().join("was")).unwrap();
        symlink(outside.path(), place.path().join("m1")).unwrap();
        create(&inner, "a", b"1").unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(place.path().join("was/a").exists());
    }

    /// As root every file may be read, whatever its mode is: what the system says then is put in the place of the file.
    #[test]
    fn a_file_that_may_not_be_read_is_hostile() {
        for refused in [Errno::ACCESS, Errno::PERM] {
            assert!(matches!(closed(refused.into()), Error::Hostile(_)), "{refused:?}");
        }
        assert!(matches!(closed(Errno::IO.into()), Error::Io(_)));
    }

    #[test]
    fn a_file_that_is_written_in_vain_takes_no_room() {
        let (place, top) = place();
        assert!(replace(&top, "a", b"old").is_ok());
        std::fs::create_dir(place.path().join(".b.tmp")).unwrap();
        assert!(replace(&top, "b", b"new").is_err());
        assert!(!place.path().join("b").exists());
    }

    /// Row of docs/spec/session-mailbox.md 5: "Host opens what the container wrote: symlink, FIFO, WAL header, journal naming
    /// another file".
    #[test]
    fn what_sqlite_must_not_open_is_not_opened() {
        let own = rustix::process::geteuid().as_raw();
        let look = |top: &OwnedFd| examine(top, "outbound.db", own, 1 << 20);
        let (place, top) = place();
        let file = place.path().join("outbound.db");
        let journal = place.path().join("outbound.db-journal");
        assert_eq!(look(&top).unwrap(), None);
        pipe(&file);
        assert!(matches!(look(&top), Err(Error::Hostile(_))), "a pipe");
        std::fs::remove_file(&file).unwrap();
        symlink("/etc/hostname", &file).unwrap();
        assert!(matches!(look(&top), Err(Error::Hostile(_))), "a link");
        std::fs::remove_file(&file).unwrap();
        let mut head = [0; 100];
        head[..16].copy_from_slice(b"SQLite format 3\0");
        (head[18], head[19]) = (2, 2);
        std::fs::write(&file, head).unwrap();
        assert!(matches!(look(&top), Err(Error::Hostile(_))), "a write-ahead log");
        (head[18], head[19]) = (1, 1);
        std::fs::write(&file, head).unwrap();
        assert_eq!(look(&top).unwrap().map(|seen| seen.size), Some(100));
        assert!(matches!(examine(&top, "outbound.db", own + 1, 1 << 20), Err(Error::Hostile(_))), "another owner");
        pipe(&journal);
        assert!(matches!(look(&top), Err(Error::Hostile(_))), "a pipe for a journal");
        std::fs::remove_file(&journal).unwrap();
        File::create(&file).unwrap().set_len(10 << 30).unwrap();
        assert!(matches!(look(&top), Err(Error::Hostile(_))), "ten sparse gigabytes");
        File::create(&file).unwrap();
        assert_eq!(look(&top).unwrap().map(|seen| seen.size), Some(0));
    }
}
