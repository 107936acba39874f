//! The row store behind a graph: the table `kvs` (datascript.md 4) as one small synchronous trait.

/// Address of a row: 0 is the root row, 1 the tail, nodes follow from 1,000,001 on.
pub type Addr = u32;

/// Address of the root row.
pub const ROOT_ADDR: Addr = 0;
/// Address of the tail row.
pub const TAIL_ADDR: Addr = 1;
/// The address counter of a new graph: the first node gets the next one.
pub const ADDR_BASE: Addr = 1_000_000;
/// The greatest address that is handed out; the reference reads addresses as JavaScript numbers.
pub(crate) const ADDR_MAX: Addr = u32::MAX - 1;

/// Bytes of a row's content at most (datascript.md 13.4).
pub(crate) const MAX_ROW_TEXT: usize = 2_000_000;

/// Reads rows. Writing is the caller's business, who stores [`Writes`] together with its own rows in one transaction.
pub trait Storage {
    /// The row at that address, as it was last stored.
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError>;

    /// The rows at some addresses, at most 32, in any order; none for an address without a row.
    fn load_all(&self, addrs: &[Addr]) -> Result<Vec<Row>, StorageError> {
        addrs.iter().filter_map(|addr| self.load(*addr).transpose()).collect()
    }
}

/// One row of `kvs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Primary key.
    pub addr: Addr,
    /// Transit text.
    pub content: String,
    /// JSON array of the children's addresses; only inner nodes have it.
    pub addresses: Option<String>,
}

/// What has to be written, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Rows to insert or replace, in this order: children before parents, then the root row, then the tail.
    pub rows: Vec<Row>,
    /// Addresses whose rows are to be deleted; none of them is among `rows`.
    pub deleted: Vec<Addr>,
}

impl Writes {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.deleted.is_empty()
    }
}

/// The row store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct StorageError(pub String);
