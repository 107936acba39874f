//! The tests of docs/spec/session-mailbox.md 6 that need processes or mounts. `LIFE_LONG=1` runs full numbers. Docker does not
//! run everywhere: `unshare` makes the read-only mounts and the small disks; where it may not, those cases are told as not run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets something unexpected is to stop")]

mod kills;
mod mounts;
mod place;
mod power;
mod visible;
