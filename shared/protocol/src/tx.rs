//! `tx/batch`: the transactions a client sends (sync.md 5.2).

use crate::errors::{BodyError, INVALID_TX};
use crate::json::{self, Fields, Item, Json, Mismatch, Skipped};
use crate::limits;
use serde::de::MapAccess;
use std::borrow::Cow;
use uuid::Uuid;

/// One request to apply transactions, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxBatch<'a> {
    /// The counter the client believes the server to be at. Negative values are of the right type; they are rejected
    /// when the batch is looked at (sync.md 11.1). Clamped to ±2^53.
    pub t_before: i64,
    /// At most [`limits::BATCH_ENTRIES`].
    pub txs: Vec<TxEntry<'a>>,
    /// The client's build, for diagnostics only.
    pub client_revision: Option<Cow<'a, str>>,
}

/// One transaction of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxEntry<'a> {
    /// Transit text of the transaction data, not decoded yet.
    pub tx: Cow<'a, str>,
    /// Echoed in rejects, never stored (sync.md 11.2).
    pub tx_id: Option<Uuid>,
    /// The operation as sent, namespace included: what it is compared by. Stored is [`TxEntry::op_name`].
    pub outliner_op: Option<Cow<'a, str>>,
}

impl TxEntry<'_> {
    /// The entry without the text that it was read from.
    pub fn into_owned(self) -> TxEntry<'static> {
        TxEntry { tx: owned(self.tx), tx_id: self.tx_id, outliner_op: self.outliner_op.map(owned) }
    }

    /// The operation without its namespace, as it is logged and sent to other clients.
    pub fn op_name(&self) -> Option<&str> {
        self.outliner_op.as_deref().map(keyword_name)
    }
}

impl<'a> TxBatch<'a> {
    /// Reads the body of `POST …/tx/batch`.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: BatchFields<'a> = json::body(body, INVALID_TX)?;
        fields.check().map_err(|Mismatch| BodyError::Schema(INVALID_TX))
    }
}

impl TxBatch<'_> {
    /// The batch without the text that it was read from: that can go before the entries are looked at. Most texts hold
    /// escapes and are copies already.
    pub fn into_owned(self) -> TxBatch<'static> {
        TxBatch {
            t_before: self.t_before,
            txs: self.txs.into_iter().map(TxEntry::into_owned).collect(),
            client_revision: self.client_revision.map(owned),
        }
    }
}

pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The name of a keyword given as text (sync.md 2.6), as ClojureScript's `keyword` reads it: the text is split at every
/// slash. Two parts are a namespace and a name. Of any other number the first part is the name and the rest is dropped, so
/// that the name of `a/b/c` is `a`.
pub fn keyword_name(text: &str) -> &str {
    if text == "/" {
        return text;
    }
    match text.split_once('/') {
        Some((namespace, name)) if name.contains('/') => namespace,
        Some((_, name)) => name,
        None => text,
    }
}

/// The fields of a batch, before they are judged.
#[derive(Debug, Default)]
pub(crate) struct BatchFields<'a> {
    t_before: Json<'a>,
    txs: Json<'a, Skipped, Json<'a, EntryFields<'a>>>,
    client_revision: Json<'a>,
}

impl<'a> Fields<'a> for BatchFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "t-before" => self.t_before = map.next_value()?,
            "txs" => self.txs = map.next_value()?,
            "client-revision" => self.client_revision = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> BatchFields<'a> {
    pub(crate) fn check(self) -> Result<TxBatch<'a>, Mismatch> {
        let txs = match self.txs {
            Json::Text(text) => vec![single_transaction(text)?],
            list => list.array()?.into_iter().map(|entry| entry.object()?.check()).collect::<Result<_, _>>()?,
        };
        Ok(TxBatch { t_before: self.t_before.int()?, txs, client_revision: self.client_revision.optional_text()? })
    }
}

/// The batch of clients from before there were entries: one Transit text of one transaction (sync.md 20). A text that
/// does not begin as a vector of items stays of the wrong type.
fn single_transaction(text: Cow<'_, str>) -> Result<TxEntry<'_>, Mismatch> {
    if text.starts_with("[[") { Ok(TxEntry { tx: text, tx_id: None, outliner_op: None }) } else { Err(Mismatch) }
}

#[derive(Debug, Default)]
struct EntryFields<'a> {
    tx: Json<'a>,
    tx_id: Json<'a>,
    outliner_op: Json<'a>,
}

impl<'a> Fields<'a> for EntryFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "tx" => self.tx = map.next_value()?,
            "tx-id" => self.tx_id = map.next_value()?,
            "outliner-op" => self.outliner_op = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> Item<'a> for Json<'a, EntryFields<'a>> {
    const MAX: usize = limits::BATCH_ENTRIES;
}

impl<'a> EntryFields<'a> {
    fn check(self) -> Result<TxEntry<'a>, Mismatch> {
        Ok(TxEntry {
            tx: self.tx.text()?,
            tx_id: self.tx_id.optional_uuid()?,
            outliner_op: self.outliner_op.nullable_text()?,
        })
    }
}
