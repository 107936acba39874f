//! What every HTTP service of ours needs, without a word of what the service is about.
//!
//! A service is written over ports: a [`Host`] gives the time, random ids and a place for reports; a [`RequestBody`] is read,
//! a [`ResponseBody`] is made; a [`Forward`] goes to another object or service; an [`ObjectStore`] keeps files. An adapter
//! implements them for its platform. A typed error becomes an answer in [`refuse`] alone.

pub mod address;
mod blobs;
mod body;
mod cors;
mod event;
mod failure;
mod fetch;
mod forward;
mod gate;
mod host;
mod live;
mod respond;
mod sentry;
mod store;
pub mod url;

pub use blobs::Blobs;
pub use body::{
    HEARD_OUT_BYTES, HEARD_OUT_REQUESTS, ReadError, RequestBody, ResponseBody, Source, declared_length, hear_out, read,
};
pub use cors::Cors;
pub use event::{Event, Fact, Level, Subject, Trace};
pub use failure::{CORRELATION_ID, Failure, Refusal, Undone, refuse};
pub use fetch::{Call, CallError, Fetch, Incoming, Reply, ReplyError};
pub use forward::{Forward, Objects, Payload, Peers, Upstream};
pub use gate::{Gate, Place};
pub use host::{Host, Hosted, random_uuid, retried};
pub use live::{LiveBody, LiveSource};
pub use respond::{NO_STORE, json, json_stream, no_content};
pub use sentry::{Envelope, Sentry};
pub use store::{ByteRange, ObjectHead, ObjectMeta, ObjectStore, PutError, Size, StoredObject};
