//! The attacks, one file for each class.

mod bodies;
mod floods;
mod forgery;
mod others;
mod slow_readers;

pub(crate) use conformance::cases;
use conformance::cases::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [forgery::cases(), others::cases(), bodies::cases(), floods::cases(), slow_readers::cases()].concat()
}
