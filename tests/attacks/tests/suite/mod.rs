//! The attacks, one file for each class.

mod closing;
mod deletion;
mod keys;
mod names;
mod paths;
mod removal;
mod sockets;

pub(crate) use conformance::cases;
use conformance::cases::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        paths::cases(),
        removal::cases(),
        deletion::cases(),
        names::cases(),
        sockets::cases(),
        keys::cases(),
        closing::cases(),
    ]
    .concat()
}
