//! The cases, one file per part of the protocol.

use conformance::Server;

mod agents;
mod assets;
mod door;
mod download;
mod e2ee;
mod graphs;
mod health;
mod members;
mod pipeline;
mod sync_http;
mod tokens;
mod upload;
mod ws;

/// A test case: its name and what it does.
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
        health::cases(),
        tokens::cases(),
        graphs::cases(),
        members::cases(),
        e2ee::cases(),
        sync_http::cases(),
        pipeline::cases(),
        ws::cases(),
        upload::cases(),
        download::cases(),
        assets::cases(),
        agents::cases(),
        door::cases(),
    ]
    .concat()
}
