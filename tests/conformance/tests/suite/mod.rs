//! The cases, one file per part of the protocol.

mod access;
mod access_table;
mod agents;
mod assets;
mod chat;
mod door;
mod download;
mod e2ee;
mod graphs;
mod health;
mod members;
mod pipeline;
mod size;
mod sync_http;
mod tokens;
mod upload;
mod ws;

pub(crate) use conformance::cases;
use conformance::cases::Case;

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
        size::cases(),
        upload::cases(),
        download::cases(),
        assets::cases(),
        agents::cases(),
        access::cases(),
        door::cases(),
        chat::cases(),
    ]
    .concat()
}
