//! What a server has promised about a graph, and what clients were shown of it: after whatever happens to the server, its log
//! must hold all of it.

use std::collections::BTreeMap;

use serde_json::Value;
use simulation::Replica;

use crate::{Result, ensure};

/// The promises about one graph.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Texts of transactions by their `t`, as anybody was shown them.
    shown: BTreeMap<i64, String>,
    /// Marks of transactions that were acknowledged, by their `t`.
    acknowledged: BTreeMap<i64, String>,
}

/// A copy of a graph, made of its log up to the last check.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) replica: Replica,
    applied: i64,
}

impl Copied {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { replica: Replica::empty()?, applied: 0 })
    }
}

impl Ledger {
    /// A batch of transactions with these marks was acknowledged; the last one is `t`.
    pub(crate) fn acknowledge<'a>(&mut self, t: i64, marks: impl DoubleEndedIterator<Item = &'a str>) -> Result<()> {
        for (t, mark) in (0..=t).rev().zip(marks.rev()) {
            if let Some(other) = self.acknowledged.insert(t, mark.to_owned()) {
                return Err(format!("t {t} was acknowledged to two clients, for {other} and for {mark}"));
            }
        }
        Ok(())
    }

    /// Somebody was shown a transaction.
    pub(crate) fn show(&mut self, t: i64, tx: &str) -> Result<()> {
        let known = self.shown.entry(t).or_insert_with(|| tx.to_owned());
        ensure!(known == tx, "t {t} was {known} and is {tx}");
        Ok(())
    }

    /// How many transactions were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Checks a whole `pull` and the checksum that the server finds when it computes it anew: nothing that was acknowledged or
    /// shown is missing, `t` is contiguous, and the checksum is that of the log.
    pub(crate) fn check(&mut self, copied: &mut Copied, pull: &Value, recomputed: &Value) -> Result<()> {
        let t = pull["t"].as_i64().ok_or_else(|| format!("no t in {pull}"))?;
        let rows = pull["txs"].as_array().ok_or("a pull without transactions")?;
        for (row, expected) in rows.iter().zip(1..) {
            ensure!(row["t"] == expected, "{} follows {}", row["t"], expected - 1);
            let tx = row["tx"].as_str().ok_or("a row without transaction")?;
            self.show(expected, tx)?;
            if let Some(mark) = self.acknowledged.get(&expected) {
                ensure!(tx.contains(mark.as_str()), "t {expected} was acknowledged for {mark} and is {tx}");
            }
            if expected > copied.applied {
                copied.replica.apply(tx).map_err(|error| format!("t {expected} does not replay: {error}"))?;
                copied.applied = expected;
            }
        }
        ensure!(i64::try_from(rows.len()) == Ok(t), "t is {t}, and there are {} transactions", rows.len());
        let last = |map: &BTreeMap<i64, String>| map.keys().next_back().copied().unwrap_or(0);
        let promised = last(&self.acknowledged).max(last(&self.shown));
        ensure!(t >= promised, "the server forgot: it is at {t}, and {promised} was acknowledged or shown");
        let checksum = &pull["checksum"];
        ensure!(t == 0 || checksum == recomputed, "checksum {checksum} stored, {recomputed} recomputed at t {t}");
        let logged = copied.replica.checksum()?;
        ensure!(t == 0 || *checksum == logged.as_str(), "checksum {checksum} stored, {logged} by the log at t {t}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PAGE: &str = r#"[["~:db/add",1,"~:block/uuid","~u66b8d8f0-0000-4000-8000-000000000001"],["~:db/add",1,"~:block/title","mark 1"]]"#;

    fn ledger() -> (Ledger, String) {
        let mut ledger = Ledger::default();
        ledger.acknowledge(1, ["mark 1"].into_iter()).unwrap();
        let mut replica = Replica::empty().unwrap();
        replica.apply(PAGE).unwrap();
        (ledger, replica.checksum().unwrap())
    }

    fn pull(txs: &[&str], checksum: &str) -> Value {
        let rows: Vec<Value> = (1..).zip(txs).map(|(t, tx)| json!({ "t": t, "tx": tx })).collect();
        json!({ "t": rows.len(), "txs": rows, "checksum": checksum })
    }

    #[test]
    fn what_is_as_it_was_promised_passes() {
        let (mut ledger, sum) = ledger();
        let mut copied = Copied::new().unwrap();
        ledger.check(&mut copied, &pull(&[PAGE], &sum), &json!(sum)).unwrap();
        ledger.check(&mut copied, &pull(&[PAGE], &sum), &json!(sum)).unwrap();
    }

    #[test]
    fn whatever_is_missing_or_different_is_found() {
        let look = |mut ledger: Ledger, pull: Value, recomputed: &str| {
            ledger.check(&mut Copied::new().unwrap(), &pull, &json!(recomputed)).unwrap_err()
        };
        let check = |pull: Value, recomputed: &str| look(ledger().0, pull, recomputed);
        let (_, sum) = ledger();
        assert!(check(pull(&[], &sum), &sum).contains("forgot"));
        assert!(check(pull(&[&PAGE.replace("mark 1", "mark 2")], &sum), &sum).contains("was acknowledged for mark 1"));
        assert!(check(pull(&[PAGE], "00"), &sum).contains("recomputed"));
        assert!(check(pull(&[PAGE], &sum), "00").contains("recomputed"));
        assert!(check(pull(&[PAGE], "00"), "00").contains("by the log"));
        let mut gap = pull(&[PAGE], &sum);
        gap["txs"][0]["t"] = json!(2);
        assert!(check(gap, &sum).contains("follows"));
        let mut ahead = pull(&[PAGE], &sum);
        ahead["t"] = json!(2);
        assert!(check(ahead, &sum).contains("there are 1"));
        let (mut shown, sum) = ledger();
        shown.show(1, "another").unwrap();
        assert!(look(shown, pull(&[PAGE], &sum), &sum).contains("was another"));
        let (mut twice, _) = ledger();
        assert!(twice.acknowledge(2, ["mark 0", "mark 2"].into_iter()).unwrap_err().contains("two clients"));
    }
}
