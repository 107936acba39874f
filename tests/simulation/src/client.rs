//! A client: a copy of the graph, edits that are not acknowledged yet, and a connection that comes and goes.

use datascript::Db;
use serde_json::{Value as Json, json};

use crate::base::Base;
use crate::edit::Edit;
use crate::rng::Rng;
use crate::server::{self, Answer, Server};
use crate::{Result, ensure, fail};

/// An edit on its way.
#[derive(Debug)]
struct Pending {
    id: String,
    edit: Edit,
    /// The transaction as it was last made.
    tx: String,
    /// Sent even if it makes no sense any more.
    stubborn: bool,
}

pub(crate) struct Client {
    name: usize,
    kind: Base,
    /// The counter up to which the copy follows the server.
    pub(crate) t: i64,
    /// The copy, from acknowledged transactions alone.
    pub(crate) copy: Db,
    /// The copy with pending edits on top.
    local: Db,
    pending: Vec<Pending>,
    pub(crate) online: bool,
    /// The server said that its counter is higher.
    pub(crate) behind: bool,
    /// Batches refused: as stale, for an entry.
    pub(crate) refused: (u32, u32),
}

impl Client {
    pub(crate) fn new(name: usize, kind: Base, copy: Db, t: i64) -> Self {
        let local = copy.clone();
        Self { name, kind, t, copy, local, pending: Vec::new(), online: true, behind: false, refused: (0, 0) }
    }

    pub(crate) const fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The user does something.
    pub(crate) fn edit(&mut self, rng: &mut Rng) -> Result<()> {
        let edit = Edit::random(rng, &self.local)?;
        let Some(tx) = edit.transit(&self.local)? else { return Ok(()) };
        if !edit.is_bad() && !apply(&mut self.local, &edit)? {
            return Ok(());
        }
        self.pending.push(Pending { id: rng.uuid().to_string(), edit, tx, stubborn: rng.percent(10) });
        Ok(())
    }

    /// Comes online: says hello and follows what was missed.
    pub(crate) fn connect(&mut self, server: &mut Server) -> Result<()> {
        self.online = true;
        match server.send(&json!({ "type": "hello", "client": format!("client {}", self.name) }))? {
            Answer::Reply { reply, .. } => {
                let t = number(&reply, "t")?;
                ensure!(t >= self.t, "the server forgot: it is at {t}, {} was seen", self.t);
                if t > self.t { self.pull(server) } else { Ok(()) }
            }
            Answer::Died => {
                self.online = false;
                Ok(())
            }
        }
    }

    /// Follows the server and puts pending edits on top again.
    pub(crate) fn pull(&mut self, server: &mut Server) -> Result<()> {
        self.behind = false;
        let Answer::Reply { reply, .. } = server.send(&json!({ "type": "pull", "since": self.t }))? else {
            self.online = false;
            return Ok(());
        };
        for row in reply.get("txs").and_then(Json::as_array).ok_or("a pull without transactions")? {
            let t = number(row, "t")?;
            ensure!(t == self.t + 1, "pulled {t} after {}", self.t);
            let tx = row.get("tx").and_then(Json::as_str).ok_or("a row without transaction")?;
            server::apply(&mut self.copy, tx).map_err(|error| format!("client {} at {t}: {error}", self.name))?;
            self.t = t;
        }
        ensure!(self.t == number(&reply, "t")?, "pulled to {} of {reply}", self.t);
        self.rebase()
    }

    fn rebase(&mut self) -> Result<()> {
        self.local = self.copy.clone();
        let mut kept = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            if let Some(tx) = pending.edit.transit(&self.local)?
                && (pending.edit.is_bad() || apply(&mut self.local, &pending.edit)?)
            {
                pending.tx = tx;
                pending.stubborn &= !pending.edit.is_bad();
                kept.push(pending);
            } else if pending.stubborn {
                kept.push(pending);
            }
        }
        self.pending = kept;
        Ok(())
    }

    /// Sends some pending edits. `lost`: the answer does not arrive.
    pub(crate) fn flush(&mut self, server: &mut Server, rng: &mut Rng, lost: bool) -> Result<Option<i64>> {
        let count = (1 + rng.below(10)).min(self.pending.len());
        let Some(sent) = self.pending.get(..count).filter(|sent| !sent.is_empty()) else { return Ok(None) };
        let entries: Vec<Json> = sent
            .iter()
            .map(|pending| json!({ "tx": pending.tx, "tx-id": pending.id, "outliner-op": pending.edit.op() }))
            .collect();
        let message = json!({ "type": "tx/batch", "t-before": self.t, "txs": entries });
        let (reply, changed) = match server.send(&message)? {
            Answer::Reply { reply, changed } => (reply, changed),
            Answer::Died => {
                self.online = false;
                return Ok(None);
            }
        };
        if lost {
            self.online = false;
            return Ok(changed);
        }
        let t = number(&reply, "t")?;
        match reply.get("type").and_then(Json::as_str) {
            Some("tx/batch/ok") => {
                self.pending.drain(..count);
                ensure!(t >= self.t, "acknowledged {t} below {}", self.t);
            }
            Some("tx/reject") if reply.get("reason").and_then(Json::as_str) == Some("stale") => {
                ensure!(t > self.t, "stale at {t}, this client is at {}", self.t);
                self.refused.0 += 1;
            }
            Some("tx/reject") => self.rejected(&reply, count)?,
            _ => return Err(format!("answer {reply}")),
        }
        self.pull(server)?;
        Ok(changed)
    }

    /// Entries that succeeded are done; the one that failed is rolled back.
    fn rejected(&mut self, reply: &Json, count: usize) -> Result<()> {
        ensure!(reply.get("reason").and_then(Json::as_str) == Some("db transact failed"), "rejected: {reply}");
        let ids = |key: &str| reply.get(key).and_then(Json::as_array).map_or(&[] as &[Json], Vec::as_slice);
        let succeeded = ids("success-tx-ids");
        for (id, pending) in succeeded.iter().zip(&self.pending) {
            ensure!(*id == json!(pending.id), "{id} succeeded out of order");
        }
        ensure!(succeeded.len() < count, "all succeeded, and yet {reply}");
        let failed = self.pending.get(succeeded.len()).ok_or("nothing failed")?;
        ensure!(reply.get("failed-tx-id") == Some(&json!(failed.id)), "another one failed: {reply}");
        // Over the same state and without validation, the server accepts what the client's own database accepts.
        let excused = failed.edit.is_bad() || failed.stubborn || self.kind == Base::Logseq;
        ensure!(excused, "{:?} was refused: {reply}", failed.edit);
        self.pending.drain(..=succeeded.len());
        self.refused.1 += 1;
        Ok(())
    }

    /// Sends a batch as a client that has a wrong counter would.
    pub(crate) fn send_stale(&mut self, server: &mut Server, rng: &mut Rng) -> Result<()> {
        let t = [-1, self.t + 1 + rng.number(3), self.t - 1].get(rng.below(3)).copied().unwrap_or(-1);
        let message = json!({ "type": "tx/batch", "t-before": t, "txs": [{ "tx": "[[\"~:db/add\",1,\"~:x\",1]]" }] });
        if server.graph.position().map_err(fail)?.t == t {
            return Ok(());
        }
        match server.send(&message)? {
            Answer::Reply { reply, changed } => {
                let reason = reply.get("reason").and_then(Json::as_str);
                let expected = if t < 0 { "invalid t-before" } else { "stale" };
                ensure!(reason == Some(expected) && changed.is_none(), "t-before {t}: {reply}");
            }
            Answer::Died => self.online = false,
        }
        Ok(())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pending: Vec<_> = self.pending.iter().take(3).map(|pending| &pending.edit).collect();
        write!(f, "client {} at {}, {} pending: {pending:?}", self.name, self.t, self.pending.len())
    }
}

/// Applies an edit locally; false where the database refuses it.
fn apply(local: &mut Db, edit: &Edit) -> Result<bool> {
    let Some(items) = edit.items(local)? else { return Ok(false) };
    match datascript::with(local, &items) {
        Ok(report) => {
            *local = report.db_after;
            Ok(true)
        }
        Err(datascript::Error::Transact(_)) => Ok(false),
        Err(error) => Err(fail(error)),
    }
}

fn number(message: &Json, key: &str) -> Result<i64> {
    message.get(key).and_then(Json::as_i64).ok_or_else(|| format!("no {key} in {message}"))
}
