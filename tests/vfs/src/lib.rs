//! Files of SQLite whose writes fail as the test wishes: short, so that a part of what was to be written is there and SQLite is
//! told of a failure, or for good, as for a process that has died in the middle of a write.
//!
//! The usual files of the platform do the work. Two of their functions are exchanged: the one that writes, and the one that syncs.
//! What is armed holds for the thread that has armed it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rusqlite::ffi;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many hundredths of what was to be written are written, and SQLite is told that the disk is full or that it failed.
    Short {
        /// Hundredths.
        part: u8,
        /// The disk is full; else it failed.
        full: bool,
    },
    /// So many hundredths are written, and nothing ever after: the process is dead, though it does not know.
    Death {
        /// Hundredths.
        part: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// So many writes go well before one fails.
    Armed(u32, Fault),
    Dead,
    Fired,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Well) };
}

/// A write fails after `passes` that go well. The next ones go well again, unless it is a death.
pub fn arm(passes: u32, fault: Fault) {
    STATE.set(State::Armed(passes, fault));
}

/// Everything goes well again. True: something has failed.
#[must_use]
pub fn disarm() -> bool {
    matches!(STATE.replace(State::Well), State::Dead | State::Fired)
}

/// What becomes of a write.
enum Verdict {
    Well,
    /// So many hundredths of it, and then this is told.
    Short(u8, c_int),
}

fn judge() -> Verdict {
    match STATE.get() {
        State::Well | State::Fired => Verdict::Well,
        State::Dead => Verdict::Short(0, ffi::SQLITE_IOERR_WRITE),
        State::Armed(0, Fault::Short { part, full }) => {
            STATE.set(State::Fired);
            Verdict::Short(part, if full { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR_WRITE })
        }
        State::Armed(0, Fault::Death { part }) => {
            STATE.set(State::Dead);
            Verdict::Short(part, ffi::SQLITE_IOERR_WRITE)
        }
        State::Armed(passes, fault) => {
            STATE.set(State::Armed(passes.saturating_sub(1), fault));
            Verdict::Well
        }
    }
}

type Write = unsafe extern "C" fn(*mut ffi::sqlite3_file, *const c_void, c_int, ffi::sqlite3_int64) -> c_int;
type Sync = unsafe extern "C" fn(*mut ffi::sqlite3_file, c_int) -> c_int;

/// Functions of files, by the table that the platform has them in: it has one for databases and one for logs.
static TABLES: Mutex<Vec<(usize, &'static ffi::sqlite3_io_methods)>> = Mutex::new(Vec::new());

/// The functions that were exchanged, which are the same in all tables.
static EXCHANGED: OnceLock<(Write, Sync)> = OnceLock::new();

/// The platform's own files.
static PLATFORM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

/// Makes these files the default of the process. A second time changes nothing.
///
/// # Panics
/// SQLite has no files, or does not take these.
#[expect(unsafe_code, reason = "SQLite's interface is C")]
pub fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: null asks for the default, which SQLite initialises first and never frees.
        let platform = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        assert!(!platform.is_null(), "SQLite has no files");
        PLATFORM.store(platform, Ordering::SeqCst);
        // SAFETY: it is not null, and what it points to lives as long as the process and is not written by anybody else now: SQLite
        // writes `pNext` alone, when files are registered, which nothing but this does in a process of tests.
        let mut own = unsafe { *platform };
        own.zName = c"written-short".as_ptr();
        own.pNext = std::ptr::null_mut();
        own.xOpen = Some(open);
        // SAFETY: the structure is never freed, as SQLite demands of what is registered. All functions but `xOpen` are the platform's
        // and find their data in the copied `pAppData`.
        let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(own)), 1) };
        assert!(registered == ffi::SQLITE_OK, "SQLite says {registered}");
    });
}

/// Opens a file as the platform does, and exchanges its functions.
#[expect(unsafe_code, reason = "SQLite's interface is C")]
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let platform = PLATFORM.load(Ordering::SeqCst);
    // SAFETY: set before this function was registered, and never freed.
    let Some(opens) = (unsafe { (*platform).xOpen }) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: SQLite's own arguments, for the function they were meant for: `file` has room for the platform's file, as `szOsFile` was
    // copied, and the platform gets its own structure.
    let opened = unsafe { opens(platform, name, file, flags, out) };
    // SAFETY: after the call above `file` is initialised, if only with null functions where it failed.
    let methods = unsafe { (*file).pMethods };
    if methods.is_null() {
        return opened;
    }
    // SAFETY: functions of an open file are a static table of the platform.
    let Some(table) = exchanged(methods as usize, unsafe { *methods }) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: `file` is as above. The new table lives as long as the process and differs from the file's own in two functions, which
    // call those of the file's own.
    unsafe { (*file).pMethods = table };
    opened
}

/// The table with two functions exchanged. None where they are not those of the tables before.
fn exchanged(place: usize, mut table: ffi::sqlite3_io_methods) -> Option<&'static ffi::sqlite3_io_methods> {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = tables.iter().find(|(other, _)| *other == place) {
        return Some(known);
    }
    let (write, sync) = (table.xWrite?, table.xSync?);
    let (first_write, first_sync) = *EXCHANGED.get_or_init(|| (write, sync));
    if write as usize != first_write as usize || sync as usize != first_sync as usize {
        return None;
    }
    table.xWrite = Some(short_write);
    table.xSync = Some(dead_sync);
    let table: &'static _ = Box::leak(Box::new(table));
    tables.push((place, table));
    Some(table)
}

#[expect(unsafe_code, reason = "SQLite's interface is C")]
unsafe extern "C" fn short_write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let Some((write, _)) = EXCHANGED.get() else { return ffi::SQLITE_IOERR_WRITE };
    let (part, told) = match judge() {
        Verdict::Well => (count, ffi::SQLITE_OK),
        Verdict::Short(hundredths, told) => (count.saturating_mul(hundredths.min(99).into()) / 100, told),
    };
    // SAFETY: SQLite's own arguments for the platform's function, with no more bytes than SQLite has given.
    let written = if part == 0 && count > 0 { ffi::SQLITE_OK } else { unsafe { write(file, bytes, part, at) } };
    if told == ffi::SQLITE_OK { written } else { told }
}

#[expect(unsafe_code, reason = "SQLite's interface is C")]
unsafe extern "C" fn dead_sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let Some((_, sync)) = EXCHANGED.get() else { return ffi::SQLITE_IOERR_FSYNC };
    if STATE.get() == State::Dead {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    // SAFETY: SQLite's own arguments for the platform's function.
    unsafe { sync(file, flags) }
}
