//! All rows of a shape at one moment, as the service tells them (pg-sync.md 2.8), and which transactions that moment shows.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::change::Received;
use crate::decode::{self, DecodeError};

/// Most transactions that were under way at one moment: a database has at most some thousand connections.
const MAX_UNDER_WAY: usize = 10_000;

/// Which transactions a snapshot shows. Numbers of transactions are taken modulo 2^32, as the log of the database has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// All before this one are shown.
    xmin: u32,
    /// This one and all that follow are not.
    xmax: u32,
    /// Others that are not: they were under way.
    under_way: Vec<u32>,
}

/// An answer with all rows.
#[derive(Debug)]
pub struct Snapshot<'b> {
    /// What it shows.
    pub shown: Shown,
    rows: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    data: Vec<&'b RawValue>,
    metadata: Json,
}

impl<'b> Snapshot<'b> {
    /// Reads a body. Its length bounds the work.
    ///
    /// # Errors
    /// When it is none, or does not say which transactions it shows.
    pub fn read(body: &'b [u8]) -> Result<Self, DecodeError> {
        let Body { data, metadata } = serde_json::from_slice(body).map_err(|_| DecodeError::NotMessages)?;
        let shown = Shown::read(&metadata).ok_or(DecodeError::NotMessages)?;
        Ok(Self { shown, rows: data })
    }

    /// How many rows.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, one after the other: together they would take many times the body's size.
    pub fn rows(&self) -> impl Iterator<Item = Result<Received, DecodeError>> {
        self.rows.iter().map(|row| decode::one(row)?.ok_or(DecodeError::NotMessages))
    }
}

impl Shown {
    fn read(metadata: &Json) -> Option<Self> {
        let list = metadata.get("xip_list")?.as_array().filter(|list| list.len() <= MAX_UNDER_WAY)?;
        Some(Self {
            xmin: transaction(metadata.get("xmin")?)?,
            xmax: transaction(metadata.get("xmax")?)?,
            under_way: list.iter().map(transaction).collect::<Option<_>>()?,
        })
    }

    /// Whether all of these are shown. Nothing is said of none.
    pub fn holds(&self, transactions: &[u32]) -> bool {
        let is_shown =
            |one: &u32| is_before(*one, self.xmin) || (is_before(*one, self.xmax) && !self.under_way.contains(one));
        !transactions.is_empty() && transactions.iter().all(is_shown)
    }

    /// Whether everything that follows one of these in the log is not shown: it began after the moment of the snapshot.
    pub fn is_passed_by(&self, transactions: &[u32]) -> bool {
        transactions.iter().any(|one| !is_before(*one, self.xmax))
    }
}

/// The order of transactions goes round: each has 2^31 before it and as many behind it.
const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > u32::MAX / 2
}

/// A transaction's number without its epoch, which logs do not tell.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) fn transaction(number: &Json) -> Option<u32> {
    let number = match number {
        Json::String(text) => text.parse().ok()?,
        number => number.as_u64()?,
    };
    Some(number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(xmin: impl Into<Json>, xmax: impl Into<Json>, xip_list: impl Into<Json>) -> Option<Shown> {
        let (xmin, xmax, xip_list) = (xmin.into(), xmax.into(), xip_list.into());
        Shown::read(&json!({"xmin": xmin, "xmax": xmax, "xip_list": xip_list}))
    }

    #[test]
    fn what_a_snapshot_shows() {
        let shown = read("10", 20, json!(["12", 15])).unwrap();
        for (transactions, is_shown) in [
            (&[9][..], true),
            (&[10], true),
            (&[12], false),
            (&[15], false),
            (&[19], true),
            (&[20], false),
            (&[9, 19], true),
            (&[9, 12], false),
            (&[], false),
        ] {
            assert_eq!(shown.holds(transactions), is_shown, "{transactions:?}");
        }
        assert!(
            !shown.is_passed_by(&[19])
                && !shown.is_passed_by(&[])
                && shown.is_passed_by(&[20])
                && shown.is_passed_by(&[12, 21])
        );
    }

    /// Logs tell 32 bits, snapshots 64; and the numbers begin anew.
    #[test]
    fn numbers_go_round() {
        let epoch = 7_u64 << 32;
        let text = |number: u64| (epoch + number).to_string();
        let shown = read(text(10), text(20), vec![text(12)]).unwrap();
        assert!(shown.holds(&[u32::MAX]) && shown.holds(&[9]) && shown.holds(&[11]));
        assert!(!shown.holds(&[12]) && !shown.holds(&[20]) && !shown.holds(&[1 << 31]));
    }

    #[test]
    fn bodies() {
        let row = r#"{"key":"k","value":{"id":"1"},"headers":{"operation":"insert","snapshot_mark":5}}"#;
        let metadata = r#"{"xmin":"1","xmax":"2","xip_list":[],"snapshot_mark":5,"database_lsn":"77"}"#;
        let of = |data: &str, metadata: &str| format!(r#"{{"metadata":{metadata},"data":{data}}}"#);
        let body = of(&format!("[{row}]"), metadata);
        let snapshot = Snapshot::read(body.as_bytes()).unwrap();
        assert_eq!((snapshot.len(), snapshot.is_empty()), (1, false));
        assert_eq!(snapshot.rows().next().unwrap().unwrap().key, "k");
        let empty = of("[]", metadata);
        assert!(Snapshot::read(empty.as_bytes()).unwrap().is_empty());
        let odd = of(r#"[{"headers":{"operation":"insert"},"value":{"x":"1"}}]"#, metadata);
        assert!(Snapshot::read(odd.as_bytes()).unwrap().rows().all(|row| row.is_err()), "a row without a key");
        assert_eq!(read("1", "2", vec!["1"; MAX_UNDER_WAY + 1]), None);
        for body in
            ["", "[]", "{}", &of("[]", "{}"), &of("[]", r#"{"xmin":"a","xmax":"2","xip_list":[]}"#), &of("7", metadata)]
        {
            assert!(Snapshot::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
