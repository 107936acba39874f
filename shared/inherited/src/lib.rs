//! Descriptors that a parent left open for this process and named by number in a variable: `LOGSEQ_READY_FD`
//! (docs/spec/daemon.md 4.5), and those of a service manager (docs/spec/self-host.md 3.4).
//!
//! This is the one crate of the project's programs with unsafe code: the standard library has no safe way from a number to an owned
//! descriptor, nor one to remove a variable from the environment. Both are sound where the process has one thread and has
//! taken nothing over yet, which is checked here, not believed.

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::FdFlags;

/// Why a descriptor was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable holds no number of a descriptor that may be taken: 3 or more.
    #[error("{variable} is no number of a descriptor")]
    NoNumber {
        /// The variable's name.
        variable: String,
    },
    /// No descriptor of this number is open, or it was opened by this process.
    #[error("descriptor {number} of {variable} was not inherited")]
    NotInherited {
        /// The variable's name.
        variable: String,
        /// The number in it.
        number: i32,
    },
    /// Another thread runs already.
    #[error("descriptors are taken over before a second thread starts")]
    Threads,
}

/// Takes over the descriptor whose number is the value of `variable`, sets close-on-exec on it and removes the variable,
/// so that no process started from here takes either for its own. `None` when the variable is not set.
///
/// To be called first thing in `main`, before any thread is started and before anything is opened without close-on-exec.
///
/// # Errors
///
/// [`Error`]. The variable stays as it is then.
pub fn take(variable: &str) -> Result<Option<OwnedFd>, Error> {
    let Some(value) = std::env::var_os(variable) else {
        return Ok(None);
    };
    if !one_thread() {
        return Err(Error::Threads);
    }
    let number = value.to_str().and_then(|text| text.parse::<i32>().ok()).filter(|number| *number >= 3);
    let number = number.ok_or_else(|| Error::NoNumber { variable: variable.to_owned() })?;
    let descriptor = own(variable, number)?;
    // SAFETY: no other thread can read or write the environment meanwhile, for there is none: checked above, and nothing
    // since then started one.
    #[expect(unsafe_code, reason = "see SAFETY")]
    unsafe {
        std::env::remove_var(variable);
    }
    Ok(Some(descriptor))
}

/// The inherited descriptor of a number, 3 or more, which nobody in this process owns yet. To be called while there is one thread.
fn own(variable: &str, number: i32) -> Result<OwnedFd, Error> {
    let not_inherited = || Error::NotInherited { variable: variable.to_owned(), number };
    // SAFETY: `BorrowedFd` must not be -1, which callers exclude: the number is 3 or more. That the number may be no open descriptor is what
    // is found out: the only use of the value is `fcntl(F_GETFD)`, which then answers EBADF and touches nothing. No other
    // thread could open or close it in between, for there is none.
    #[expect(unsafe_code, reason = "see SAFETY")]
    let flags = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).map_err(|_| not_inherited())?;
    // An inherited descriptor cannot have the flag: it would have been closed. Whatever Rust's library opened has it. So a
    // number with the flag belongs to somebody in this process, and one without to nobody.
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(not_inherited());
    }
    // SAFETY: the descriptor is open (`F_GETFD` succeeded) and has no owner in this process (see above: it was inherited, and
    // a second call finds the variable gone and the flag set).
    #[expect(unsafe_code, reason = "see SAFETY")]
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC).map_err(|_| not_inherited())?;
    Ok(descriptor)
}

/// A descriptor that a service manager has opened for this process.
#[derive(Debug)]
pub struct Activated {
    /// The descriptor.
    pub descriptor: OwnedFd,
    /// What it is for; `http` where nothing is said.
    pub name: String,
}

/// The variables by which a service manager hands over descriptors (`sd_listen_fds`).
const ACTIVATION: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Descriptors that a service manager may hand over.
const MOST: i32 = 64;

/// Takes over the descriptors that `LISTEN_FDS` counts, sets close-on-exec on them and removes the variables. None where
/// `LISTEN_PID` names another process: they were meant for a parent of this one.
///
/// To be called like [`take`], and before [`keep_from_children`].
///
/// # Errors
///
/// [`Error`]. What was taken until then is closed.
pub fn activated() -> Result<Vec<Activated>, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    if variable("LISTEN_PID").as_deref() != Some(&*std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    if !one_thread() {
        return Err(Error::Threads);
    }
    let no_number = || Error::NoNumber { variable: "LISTEN_FDS".to_owned() };
    let count = variable("LISTEN_FDS").unwrap_or_default().parse::<i32>().map_err(|_| no_number())?;
    if !(0..=MOST).contains(&count) {
        return Err(no_number());
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut taken = Vec::new();
    // At most as many as may be handed over.
    for number in 3..3 + count {
        let name = names.next().filter(|name| !name.is_empty() && *name != "unknown").unwrap_or("http").to_owned();
        taken.push(Activated { descriptor: own("LISTEN_FDS", number)?, name });
    }
    for name in ACTIVATION {
        // SAFETY: no other thread can read or write the environment meanwhile, for there is none: checked above, and nothing
        // since then started one.
        #[expect(unsafe_code, reason = "see SAFETY")]
        unsafe {
            std::env::remove_var(name);
        }
    }
    Ok(taken)
}

/// Sets close-on-exec on every descriptor from 3 on, so that no process started from here inherits what happened to be open
/// where this one was started.
///
/// # Errors
///
/// [`Error::Threads`] when another thread runs already, which could have just opened a descriptor for a child of its own.
pub fn keep_from_children() -> Result<(), Error> {
    if !one_thread() {
        return Err(Error::Threads);
    }
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number >= 3) {
        // SAFETY: not -1, as it is 3 or more. The flag is all that is changed, whoever owns the descriptor: its owner's reads
        // and writes go on as before, and the number stays open. One that was closed since (that of the listing itself) is
        // answered with EBADF.
        #[expect(unsafe_code, reason = "see SAFETY")]
        let _ = rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Whether this process has one thread. Where the system does not say, the answer is no.
fn one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
