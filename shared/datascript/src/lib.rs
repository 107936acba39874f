#![doc = include_str!("../README.md")]

mod conn;
mod datom;
mod db;
mod describe;
mod entid;
mod error;
mod index;
mod lagging;
mod nodes;
mod referrers;
mod replay;
mod row;
pub mod schema;
mod storage;
#[cfg(test)]
mod testing;
mod transact;
mod tree;
pub mod value;
pub mod verify;
mod work;

pub mod attrs;

pub use attrs::{Attr, Attrs, Ranks};
pub use conn::{Conn, MAX_JOURNAL_DATOMS, MAX_JOURNAL_ROWS, Unstored, datom_too_large};
pub use datom::{Datom, E_MAX, Eid, TX_MAX, TX0, TxId};
pub use db::{Db, as_eid, eid_value};
pub use error::{Error, ErrorKind, Result, TransactError};
pub use index::{Index, Pattern};
pub use nodes::Nodes;
pub use replay::replay;
pub use schema::{Flags, Schema};
pub use storage::{ADDR_BASE, Addr, ROOT_ADDR, Row, Storage, StorageError, TAIL_ADDR, Writes};
pub use transact::{Report, with, with_except, with_value};
pub use transit::{Keyword, Value};
pub use tree::{Slice, Tree};
pub use work::Work;
