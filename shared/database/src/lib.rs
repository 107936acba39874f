//! SQL databases as the rest of the code sees them.
//!
//! [`Database`] is the asynchronous port that Cloudflare's D1 and SQLite implement. What a database holds is the
//! business of the crate that uses it: that crate has the texts of the statements, and gives its schema as a list of
//! [`Migration`]s. The synchronous port of a graph's own database is `graph::sql`; both bind the same [`Param`]s.

pub mod migrations;
mod port;
#[cfg(feature = "rusqlite")]
pub mod sqlite;
mod value;

pub use migrations::Migration;
pub use port::{Database, DbError, ReadFrom, Statement};
pub use value::{Cell, Param, Row, exact_double};
