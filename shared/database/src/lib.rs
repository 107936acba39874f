//! SQL databases as the rest of the code sees them.
//!
//! [`Database`] is the asynchronous port that Cloudflare's D1 and SQLite implement. What a database holds is the
//! business of the crate that uses it: that crate has the texts of the statements, and gives its schema as a list of
//! [`Migration`]s. [`local`] is the synchronous port of an object's own database: Durable Object SQL and SQLite implement it.
//! Both bind the same [`Param`]s.

pub mod local;
#[cfg(feature = "rusqlite")]
pub mod local_sqlite;
pub mod migrations;
mod port;
#[cfg(feature = "rusqlite")]
pub mod sqlite;
mod trouble;
mod value;

pub use migrations::Migration;
pub use port::{Database, DbError, ReadFrom, Statement};
pub use trouble::Trouble;
pub use value::{Cell, Param, Row, exact_double};
