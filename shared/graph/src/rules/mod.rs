//! What the server decides about transaction data: pure functions over database values (sync.md 11, 12).
//!
//! One entry of a batch passes [`sanitise`], [`prepare`] and [`deletion`], then the transactor, then [`schema_guard`] and
//! [`validate`]; what was done is written to the log as [`normalise`] puts it, and [`checksum`] follows it. [`chunk`]
//! splits large entries. [`Facts`] remembers, from one transaction to the next, what the graph says about its own tags
//! and properties.

mod assets;
pub mod attrs;
pub mod checksum;
pub mod chunk;
pub mod deletion;
mod entity;
mod error;
mod facts;
mod initial_data;
mod item;
mod names;
pub mod normalise;
pub mod numbers;
mod op;
pub mod order_key;
pub mod prepare;
pub mod sanitise;
pub mod schema_guard;
mod static_schema;
pub mod validate;
pub(crate) mod value_set;

pub use assets::named_assets;
pub use error::{Error, Invalid, Result};
pub use facts::{Facts, Scope, schema_version};
pub use initial_data::initial_data;
pub(crate) use initial_data::local_uuid;
pub use op::Op;
pub use static_schema::static_schema;
