//! The attacks, one file for each class.

use conformance::Server;

mod closing;
mod deletion;
mod keys;
mod names;
mod paths;
mod removal;
mod sockets;

/// A case: its name and what it does.
pub(crate) type Case = (&'static str, fn(&Server));

/// Names each function of a list after its module.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn cases() -> Vec<crate::suite::Case> {
            vec![$((concat!(module_path!(), "::", stringify!($name)), $name as fn(&conformance::Server))),+]
        }
    };
}
pub(crate) use cases;

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
