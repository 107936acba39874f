//! What a worker of ours needs of Cloudflare's platform.
//!
//! Nothing is decided here. Each module implements a port of [`web`], `auth` or `database` with what the runtime offers;
//! bodies that nobody reads stay JavaScript streams. What the runtime throws is a result: methods of the `worker` crate that
//! unwrap it are bound anew in `bindings`.

mod bindings;
mod counters;
mod d1;
mod entry;
mod failure;
mod fetch;
mod forward;
mod host;
mod key_set;
mod r2;
mod reporter;
mod request;
mod response;
mod sign;
mod sleep;
mod socket;
mod sql;

pub use bindings::text;
pub use counters::Counters;
pub use d1::D1;
pub use entry::enter;
pub use failure::{failure, thrown_text, worker_failure};
pub use fetch::{FetchedBody, Outside};
pub use forward::{ObjectNamespace, Service};
pub use host::{Host, KeepAlive, now_ms, setting};
pub use key_set::HttpKeys;
pub use r2::R2;
pub use request::{JsRequest, incoming};
pub use response::{JsResponse, passed, respond, respond_from_object, switching};
pub use sign::Rs256;
pub use sleep::Sleep;
pub use socket::{Heard, HeldSocket};
pub use sql::DurableSql;
