//! The cases, one file for each part of the platform or of the protocol.

mod assets;
mod batch;
mod download;
mod index;
mod kill;
mod members;
mod trap;
mod upload;

pub(crate) use conformance::cases;
use conformance::cases::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        batch::cases(),
        upload::cases(),
        download::cases(),
        kill::cases(),
        index::cases(),
        members::cases(),
        assets::cases(),
        trap::cases(),
    ]
    .concat()
}
