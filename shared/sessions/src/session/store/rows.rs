//! The session itself: its state, its task, its secrets, orders and approvals.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

use super::{EventLog, complete, create, exists, signed, text, unreadable, unsigned};
use crate::acp::Turns;
use crate::mailbox::store::MailboxRows;
use crate::publish::CommitId;
use crate::session::{Approval, State};
use crate::task::Task;

/// A message that waits for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it says.
    pub message: String,
    /// Who wrote it.
    pub by: String,
    /// What kind of message the client called it.
    pub kind: Option<String>,
}

/// A piece of what an agent has said in a running turn, as it is stored: sealed, since it is redacted only as a whole, when its turn ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPiece {
    /// Which text it belongs to.
    pub slot: u64,
    /// The sealed text.
    pub text: String,
}

/// Everything that is read when an object wakes.
#[derive(Debug)]
pub struct Loaded {
    /// The state, with orders and approvals.
    pub state: State,
    /// The task.
    pub task: Task,
    /// Credentials, sealed.
    pub secrets: Option<String>,
    /// What agents have said in running turns, without its text.
    pub turns: Turns,
    /// Its text, as it was stored.
    pub texts: Vec<StoredPiece>,
    /// The last frame of the event stream that was taken in.
    pub last_event_id: Option<String>,
    /// How far a stream of the older dialect was taken in.
    pub progress: crate::legacy::Progress,
    /// The snapshot that is known.
    pub checkpoint: Option<serde_json::Value>,
    /// The log.
    pub log: EventLog,
}

/// The rows of a session.
#[derive(Clone, Debug)]
pub struct Rows<S>(pub S);

impl<S: Sql> Rows<S> {
    /// The session, if there is one.
    pub fn load(&self) -> Result<Option<Loaded>, SqlError> {
        let sql = &self.0;
        if !exists(sql)? {
            return Ok(None);
        }
        let Some(state) = self.value("state")? else { return Ok(None) };
        complete(sql)?;
        let mut state: State = serde_json::from_str(&state).map_err(unreadable)?;
        let task = self.value("task")?.ok_or_else(|| unreadable("no task"))?;
        sql.query("SELECT seq FROM orders ORDER BY seq", &[], &mut |row| {
            state.orders.push_back(unsigned(row.int(0)?));
            Ok(ControlFlow::Continue(()))
        })?;
        sql.query("SELECT data FROM approvals WHERE closed = 0", &[], &mut |row| {
            let data = row.text(0)?.unwrap_or_default();
            state.approvals.push(serde_json::from_str(&data).map_err(unreadable)?);
            Ok(ControlFlow::Continue(()))
        })?;
        state.desk = MailboxRows(sql).desk()?;
        Ok(Some(Loaded {
            state,
            task: serde_json::from_str(&task).map_err(unreadable)?,
            secrets: self.value("secrets")?,
            turns: self.json("turns")?.unwrap_or_default(),
            texts: self.texts()?,
            last_event_id: self.value("last-event-id")?,
            progress: self.json("progress")?.unwrap_or_default(),
            checkpoint: self.json("checkpoint")?,
            log: EventLog::open(sql)?,
        }))
    }

    /// Makes the tables of a session that is being created.
    pub fn create(&self) -> Result<(), SqlError> {
        create(&self.0)
    }

    /// Removes everything. Looked at again, there is no session.
    pub fn drop_all(&self) -> Result<(), SqlError> {
        self.0.delete_all()
    }

    /// A value by its name.
    pub fn value(&self, key: &str) -> Result<Option<String>, SqlError> {
        text(&self.0, "SELECT v FROM session WHERE k = ?", &[Param::Text(key)])
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SqlError> {
        self.value(key)?.map(|value| serde_json::from_str(&value)).transpose().map_err(unreadable)
    }

    /// The pieces of what agents have said in running turns, each text in its order. They are at most
    /// [`MAX_TURN_BYTES`](crate::acp::MAX_TURN_BYTES) for each of two texts of [`MAX_SPEAKERS`](crate::acp::MAX_SPEAKERS) before they were sealed.
    fn texts(&self) -> Result<Vec<StoredPiece>, SqlError> {
        let mut texts = Vec::new();
        self.0.query("SELECT slot, text FROM texts ORDER BY slot, at", &[], &mut |row| {
            let text = row.text(1)?.unwrap_or_default().into_owned();
            texts.push(StoredPiece { slot: unsigned(row.int(0)?), text });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(texts)
    }

    /// Stores what agents have said in running turns, as far as it is not stored yet; `seal` gives the form in which a piece lies there.
    pub fn put_turns(&self, turns: &Turns, seal: &dyn Fn(&str) -> String) -> Result<(), SqlError> {
        self.put_json("turns", turns)?;
        if turns.has_dropped() {
            let live: Vec<Param<'_>> = turns.slots().map(|slot| Param::Int(signed(slot))).collect();
            let places = vec!["?"; live.len()].join(",");
            self.0.execute(&format!("DELETE FROM texts WHERE slot NOT IN ({places})"), &live)?;
        }
        for piece in turns.unstored() {
            let text = seal(piece.text);
            let row = [Param::Int(signed(piece.slot)), Param::count(piece.at), Param::Text(&text)];
            self.0.execute("INSERT OR REPLACE INTO texts (slot, at, text) VALUES (?, ?, ?)", &row)?;
        }
        Ok(())
    }

    /// Stores a value under its name.
    pub fn put(&self, key: &str, value: &str) -> Result<(), SqlError> {
        let row = [Param::Text(key), Param::Text(value)];
        self.0.execute("INSERT OR REPLACE INTO session (k, v) VALUES (?, ?)", &row)
    }

    /// Stores a value under its name, as JSON.
    pub fn put_json(&self, key: &str, value: &impl serde::Serialize) -> Result<(), SqlError> {
        self.put(key, &serde_json::to_string(value).map_err(unreadable)?)
    }

    /// Removes a value.
    pub fn remove(&self, key: &str) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM session WHERE k = ?", &[Param::Text(key)])
    }

    /// Stores an order under its number.
    pub fn put_order(&self, seq: u64, order: &Order, now: i64) -> Result<(), SqlError> {
        let row = [
            Param::Int(signed(seq)),
            Param::Text(&order.message),
            Param::opt(order.kind.as_deref()),
            Param::Text(&order.by),
            Param::Int(now),
        ];
        self.0.execute("INSERT INTO orders (seq, message, kind, by_user, ts) VALUES (?, ?, ?, ?, ?)", &row)
    }

    /// Stores another text for an order that waits.
    pub fn put_message(&self, seq: u64, message: &str) -> Result<(), SqlError> {
        let params = [Param::Text(message), Param::Int(signed(seq))];
        self.0.execute("UPDATE orders SET message = ? WHERE seq = ?", &params)
    }

    /// An order.
    pub fn order(&self, seq: u64) -> Result<Option<Order>, SqlError> {
        let mut found = None;
        let params = [Param::Int(signed(seq))];
        self.0.query("SELECT message, kind, by_user FROM orders WHERE seq = ?", &params, &mut |row| {
            found = Some(Order {
                message: row.text(0)?.unwrap_or_default().into_owned(),
                kind: row.text(1)?.map(std::borrow::Cow::into_owned),
                by: row.text(2)?.unwrap_or_default().into_owned(),
            });
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Removes an order.
    pub fn drop_order(&self, seq: u64) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM orders WHERE seq = ?", &[Param::Int(signed(seq))])
    }

    /// Removes all orders.
    pub fn drop_orders(&self) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM orders", &[])
    }

    /// Stores an approval. Closed ones stay, so that a late decision is told from an unknown one.
    pub fn put_approval(&self, approval: &Approval) -> Result<(), SqlError> {
        let data = serde_json::to_string(approval).map_err(unreadable)?;
        let closed = approval.state == crate::session::ApprovalState::Closed;
        let row = [Param::Text(&approval.request_id), Param::flag(closed), Param::Text(&data)];
        self.0.execute("INSERT OR REPLACE INTO approvals (request_id, closed, data) VALUES (?, ?, ?)", &row)
    }

    /// Whether there ever was such an approval.
    pub fn knows_approval(&self, request_id: &str) -> Result<bool, SqlError> {
        let found = text(&self.0, "SELECT 'x' FROM approvals WHERE request_id = ?", &[Param::Text(request_id)])?;
        Ok(found.is_some())
    }

    /// Where this session's last push left a branch that it made.
    pub fn branch(&self, name: &str) -> Result<Option<CommitId>, SqlError> {
        let sha = text(&self.0, "SELECT sha FROM branches WHERE name = ?", &[Param::Text(name)])?;
        Ok(sha.as_deref().and_then(CommitId::parse))
    }

    /// Where this session's pushes left the branches that it made; the last few.
    pub fn pushed(&self) -> Result<Vec<CommitId>, SqlError> {
        let mut pushed = Vec::new();
        self.0.query("SELECT sha FROM branches ORDER BY created_at DESC LIMIT 20", &[], &mut |row| {
            pushed.extend(row.text(0)?.as_deref().and_then(CommitId::parse));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(pushed)
    }

    /// Notes where a push left a branch that this session made.
    pub fn put_branch(&self, name: &str, commit: &CommitId, now: i64) -> Result<(), SqlError> {
        let row = [Param::Text(name), Param::Text(commit.as_str()), Param::Int(now)];
        self.0.execute("INSERT OR REPLACE INTO branches (name, sha, created_at) VALUES (?, ?, ?)", &row)
    }
}
