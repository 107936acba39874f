//! Rows of both files as values. Those of the other side's are checked like what a client sends: a column's type promises
//! nothing.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::Reading;
use crate::Error;
use crate::message::{Ack, Control, MAX_OUTPUT_BYTES, Message, Output, RuntimeState};

/// The longest id or word, in bytes.
const MAX_WORD: usize = 512;
/// The longest text about an error or a target, in bytes.
const MAX_TEXT: usize = 8 << 10;

/// What the agent's side is told.
pub(crate) fn read_control(connection: &Connection) -> Result<Control, Error> {
    let sql = "SELECT lease, generation, spawned_at, stop_requested_at, interrupt_seq FROM control WHERE id = 1";
    Ok(connection.query_row(sql, [], |row| {
        Ok(Control {
            lease: row.get(0)?,
            generation: row.get(1)?,
            spawned_at: row.get(2)?,
            stop_requested_at: row.get(3)?,
            interrupt_seq: row.get(4)?,
        })
    })?)
}

/// Columns of [`message`].
pub(crate) const MESSAGE: &str = "id, seq, kind, created_at, status, process_after, expires_at, tries, sent_tries, deferrals, \
     trigger, on_wake, lane, work_seq, reply_to, origin";

/// A message, without its content.
pub(crate) fn message(row: &Row<'_>) -> Result<Message, Error> {
    let word = |column: usize| row.get_ref(column)?.as_str().map_err(|_| corrupt());
    Ok(Message {
        id: row.get(0)?,
        seq: row.get(1)?,
        kind: row.get(2)?,
        created_at: row.get(3)?,
        status: word(4)?.parse().map_err(|_| corrupt())?,
        process_after: row.get(5)?,
        expires_at: row.get(6)?,
        tries: row.get(7)?,
        sent_tries: row.get(8)?,
        deferrals: row.get(9)?,
        trigger: row.get(10)?,
        on_wake: row.get(11)?,
        lane: word(12)?.parse().map_err(|_| corrupt())?,
        work_seq: row.get(13)?,
        reply_to: row.get(14)?,
        origin: row.get(15)?,
        content: None,
    })
}

fn corrupt() -> Error {
    Error::Corrupt("an unknown word".into())
}

/// Columns of [`ack`].
pub(crate) const ACK: &str = "message_id, generation, attempt, status, error, until, result_seq";

/// What was said about a message.
pub(crate) fn ack(row: &Row<'_>) -> Result<Ack, Odd> {
    Ok(Ack {
        message_id: need(text(row, 0, MAX_WORD)?)?,
        generation: need(number(row, 1)?)?,
        attempt: need(number(row, 2)?)?,
        status: need(text(row, 3, MAX_WORD)?)?.parse().map_err(|_| Odd)?,
        error: text(row, 4, MAX_TEXT)?,
        until: number(row, 5)?,
        result_seq: number(row, 6)?,
    })
}

/// Columns of [`state`].
pub(crate) const STATE: &str = "generation, phase, current_tool, tool_declared_timeout_ms, tool_started_at, progress_at, until, \
     interrupted_through, stopped";

/// What a process says of itself.
pub(crate) fn state(row: &Row<'_>) -> Result<RuntimeState, Odd> {
    Ok(RuntimeState {
        generation: need(number(row, 0)?)?,
        phase: need(text(row, 1, MAX_WORD)?)?.parse().map_err(|_| Odd)?,
        current_tool: text(row, 2, MAX_WORD)?,
        tool_declared_timeout_ms: number(row, 3)?,
        tool_started_at: number(row, 4)?,
        progress_at: number(row, 5)?,
        until: number(row, 6)?,
        interrupted_through: need(number(row, 7)?)?,
        stopped: text(row, 8, MAX_WORD)?,
    })
}

/// Columns of [`output`].
pub(super) const OUTPUT: &str =
    "seq, prev, id, generation, attempt, in_reply_to, created_at, deliver_after, kind, target, content";

/// An output, or something else.
pub(super) fn output(row: &Row<'_>) -> Reading {
    let seq = number(row, 0).ok().flatten().filter(|seq| seq % 2 == 1);
    let id = text(row, 2, MAX_WORD).ok().flatten();
    match good(row, seq, id.clone()) {
        Ok(output) => Reading::Good(Box::new(output)),
        Err(Odd) => Reading::Bad { seq, id },
    }
}

fn good(row: &Row<'_>, seq: Option<i64>, id: Option<String>) -> Result<Output, Odd> {
    let content = need(text(row, 10, MAX_OUTPUT_BYTES)?)?;
    // Of bounded length and depth; what it holds is the worker's to judge.
    serde_json::from_str::<serde::de::IgnoredAny>(&content).map_err(|_| Odd)?;
    Ok(Output {
        seq: need(seq)?,
        prev: number(row, 1)?,
        id: need(id)?,
        generation: need(number(row, 3)?)?,
        attempt: need(number(row, 4)?)?,
        in_reply_to: text(row, 5, MAX_WORD)?,
        created_at: need(number(row, 6)?)?,
        deliver_after: number(row, 7)?,
        kind: need(text(row, 8, MAX_WORD)?)?,
        target: text(row, 9, MAX_TEXT)?,
        content,
    })
}

/// A row that is not what its table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Odd;

fn need<T>(value: Option<T>) -> Result<T, Odd> {
    value.ok_or(Odd)
}

fn number(row: &Row<'_>, column: usize) -> Result<Option<i64>, Odd> {
    match row.get_ref(column).map_err(|_| Odd)? {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number)),
        _ => Err(Odd),
    }
}

/// A text of bounded length.
fn text(row: &Row<'_>, column: usize, limit: usize) -> Result<Option<String>, Odd> {
    match row.get_ref(column).map_err(|_| Odd)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) if bytes.len() <= limit => {
            Ok(Some(std::str::from_utf8(bytes).map_err(|_| Odd)?.to_owned()))
        }
        _ => Err(Odd),
    }
}
