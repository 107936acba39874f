//! Opening a graph from its rows (datascript.md 7).

use std::rc::Rc;

use transit::Limits;

use super::{Conn, Pending, Policy, journal};
use crate::datom::{Datom, TX_MAX, TxId};
use crate::db::Db;
use crate::error::Result;
use crate::nodes::Nodes;
use crate::replay::replay;
use crate::row::{Root, RootWriter, decode_tail};
use crate::schema::Schema;
use crate::storage::{ADDR_BASE, Addr, ROOT_ADDR, TAIL_ADDR};

impl Conn {
    /// Opens the graph in the row store: reads the root and the tail, nodes only as far as the tail's replay needs them.
    ///
    /// Without a root row the graph is empty with `fallback_schema`, and has pending writes. `greatest_addr` is the
    /// greatest address in `kvs`, 0 if there is none: later nodes get greater ones (6.2).
    pub fn open(nodes: Rc<Nodes>, fallback_schema: Schema, greatest_addr: Addr) -> Result<Self> {
        let floor = ADDR_BASE.max(greatest_addr);
        let Some(row) = nodes.row(ROOT_ADDR)? else {
            return Ok(Self::empty(nodes, fallback_schema, floor));
        };
        let root = Root::decode(&row, nodes.attrs(), Limits::STORED)?;
        let trees = [root.eavt, root.aevt, root.avet];
        let mut db = Db::from_trees(Rc::clone(&nodes), root.schema, trees, root.max_eid, root.max_tx);
        let tail = match nodes.row(TAIL_ADDR)? {
            Some(row) => decode_tail(&row, nodes.attrs(), Limits::STORED)?,
            None => Vec::new(),
        };
        let live_tx = db.max_tx;
        let live_tx = replay_all(&mut db, live_tx, &tail)?;
        let max_addr = floor.max(root.max_addr);
        Ok(Self { tail, live_tx, pending: Pending::Nothing, max_addr, ..Self::create(db) })
    }

    /// A connection to a value that is not in the store, which holds nothing else: all of it is pending.
    pub fn create(db: Db) -> Self {
        let nodes = Rc::clone(db.nodes());
        Self {
            live_tx: db.max_tx,
            nodes,
            db,
            policy: Policy::Tail,
            tail: Vec::new(),
            journal: journal::Size::default(),
            pending: Pending::All,
            max_addr: ADDR_BASE,
            root: RootWriter::default(),
        }
    }

    fn empty(nodes: Rc<Nodes>, schema: Schema, max_addr: Addr) -> Self {
        Self { max_addr, ..Self::create(Db::empty(nodes, schema)) }
    }
}

/// Applies the transactions of the tail to the value that the root row describes, or those of the journal to what came before
/// them. `live` is the id that the transaction before them had when it was made; the result is that of the last one.
///
/// The greatest transaction id becomes what it was before the graph was closed, one more for each transaction, or the id
/// of the last transaction's first datom where that is greater. So it does not fall behind any datom or the live value
/// (DS-3), and is the reference's wherever that does not go back itself. Empty transactions, whose ids no datom carries, do
/// not count. An id that a client gave to an earlier transaction counts no more
/// than it did when the transaction was made: the recorded case `restore-tail-client-tx` asks for that.
pub(super) fn replay_all(db: &mut Db, mut live: TxId, transactions: &[Vec<Datom>]) -> Result<TxId> {
    for transaction in transactions {
        let Some(first) = transaction.first() else { continue };
        replay(db, transaction)?;
        live = live.saturating_add(1);
        db.max_tx = first.tx.max(live).min(TX_MAX);
    }
    Ok(live)
}
