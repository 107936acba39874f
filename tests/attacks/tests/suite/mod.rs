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
use conformance::people::{LeftOut, People, Presumes};

/// What cases presume of the way in which the server finds out who asks.
const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        presumes: Presumes::IssuedTokens,
        reason: "the case makes tokens with keys or claims of its own",
        cases: &["keys::", "names::"],
    },
    LeftOut {
        presumes: Presumes::Newcomers,
        reason: "somebody attacks whom somebody else has let in",
        cases: &["closing::", "paths::", "removal::", "sockets::"],
    },
];

/// All cases that the server under test can have.
pub(crate) fn all() -> Vec<Case> {
    let all = [
        paths::cases(),
        removal::cases(),
        deletion::cases(),
        names::cases(),
        sockets::cases(),
        keys::cases(),
        closing::cases(),
    ]
    .concat();
    People::from_environment().cases(all, LEFT_OUT)
}
