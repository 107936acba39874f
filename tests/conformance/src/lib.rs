//! Black-box conformance suite for DB-sync servers.
//!
//! It assumes nothing but the protocol, so it can be pointed at any server:
//!
//! | Variable | Meaning |
//! |---|---|
//! | `BASE_URL` | server under test; absent: the worker is started under workerd |
//! | `JWKS_PORT` | loopback port on which the suite serves its key set (8799); the server is configured with `COGNITO_JWKS_URL=http://127.0.0.1:<port>/jwks.json` |
//! | `ISSUER`, `CLIENT_ID` | what the server expects in tokens (`https://issuer.test/pool`, `client-under-test`) |
//! | `SIGNING_KEY` | file that keeps the signing key between runs, since servers cache key sets |
//! | `ADMIN_TOKEN` | value of the server's `DB_SYNC_ADMIN_TOKEN` (`admin-secret`) |
//! | `AGENTS_PORT` | loopback port on which the suite plays the agents worker; name it only if the server forwards there |
//! | `PROXY` | `wrangler` where `wrangler dev` serves the worker: it puts a proxy of its own before it, which answers some odd requests itself |
//! | `PEOPLE` | file of lines `user token`: users whom the server has stored, and who take the place of those with tokens of the issuer; cases about such tokens are left out |
//! | `ONE_USER` | `user token`, or `user` alone where the server asks nobody: everybody is this user, and cases that need a second one are left out |
//! | `ASSET_LINK_SECRET` | value of the server's variable of that name (`asset-link-secret`) |
#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "a test library: a failed assumption ends the test case"
)]

pub mod agents;
pub mod cases;
pub mod chat;
pub mod client;
pub mod frames;
pub mod graph;
pub mod people;
pub mod raw;
pub mod server;
pub mod socket;
pub mod tokens;
pub mod transit;
pub mod tx;

pub use client::{Answer, Client};
pub use graph::TestGraph;
pub use server::Server;
pub use socket::Socket;
