//! Taking messages back. Both sides may act at once, each in its own file: the host stores that a message is taken back and
//! then looks whether the other side has it; that side stores that it has it and then looks whether it is still wanted. So at
//! least one of them sees the other.

use rusqlite::Connection;

use super::files::{self, FileHost};
use super::{HostMailbox as _, TakeBack};
use crate::Error;
use crate::message::{Lane, Message, Millis};
use crate::sweep::{self, Process, reasons};

impl FileHost {
    pub(super) fn do_take_back(&mut self, what: TakeBack<'_>, now: Millis) -> Result<Vec<String>, Error> {
        let unfinished = self.unfinished()?;
        let meant: Vec<&Message> = unfinished.iter().filter(|message| is_meant(message, what)).collect();
        let reason = if matches!(what, TakeBack::One(_)) { reasons::WITHDRAWN } else { reasons::CANCELLED };
        // With the process proven gone, what it had is taken back too.
        let gone = matches!(what, TakeBack::Below { process: Process::Gone, .. });
        let had = if gone { Vec::new() } else { self.had(&meant)? };
        let free: Vec<&Message> = meant.into_iter().filter(|one| !had.contains(&one.id)).collect();
        self.write(|connection| {
            if let TakeBack::Below { work_seq, .. } = what {
                // Those that are still on their way are taken back as they come. The number itself is the request's own.
                let sql = "UPDATE control SET interrupt_seq = max(interrupt_seq, ?1) WHERE id = 1";
                connection.execute(sql, [work_seq])?;
            }
            let mut mark = connection.prepare(
                "UPDATE messages_in SET status = 'cancelled' WHERE id = ?1 AND status IN ('pending','paused')",
            )?;
            for message in &free {
                mark.execute([&message.id])?;
            }
            Ok(())
        })?;
        let late = if gone { Vec::new() } else { self.had(&free)? };
        let taken: Vec<String> = free.iter().filter(|one| !late.contains(&one.id)).map(|one| one.id.clone()).collect();
        self.write(|connection| {
            for id in &late {
                let sql = "UPDATE messages_in SET status = 'pending' WHERE id = ?1 AND status = 'cancelled' AND ended_at IS NULL";
                connection.execute(sql, [id])?;
            }
            finish(connection, &taken, reason, now)
        })?;
        Ok(taken)
    }

    /// Ends what a host before has begun to take back.
    pub(super) fn finish_taking_back(&self, now: Millis) -> Result<(), Error> {
        self.write(|connection| {
            let mut statement =
                connection.prepare("SELECT id FROM messages_in WHERE status = 'cancelled' AND ended_at IS NULL")?;
            let begun = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            finish(connection, &begun, reasons::CANCELLED, now)
        })
    }

    /// Ids of messages that the other side has.
    fn had(&self, messages: &[&Message]) -> Result<Vec<String>, Error> {
        let generation = self.control()?.generation;
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        let seen = self.read_seen(&ids)?.unwrap_or_default();
        let taken = messages.iter().filter(|one| sweep::is_taken(one, seen.acks.get(&one.id), generation));
        Ok(taken.map(|one| one.id.clone()).collect())
    }
}

fn finish(connection: &Connection, ids: &[String], reason: &str, now: Millis) -> Result<(), Error> {
    let sql = "UPDATE messages_in SET content = NULL, ended_at = ?2, error = ?3 \
               WHERE id = ?1 AND status = 'cancelled' AND ended_at IS NULL RETURNING kind";
    for id in ids {
        let kind: String = connection.query_row(sql, (id, now, reason), |row| row.get(0))?;
        files::tell(connection, id, &kind, reason, now)?;
    }
    Ok(())
}

fn is_meant(message: &Message, what: TakeBack<'_>) -> bool {
    message.lane == Lane::Prompt
        && match what {
            TakeBack::One(id) => message.id == id,
            TakeBack::Below { work_seq, .. } => message.work_seq.is_some_and(|own| own < work_seq),
        }
}
