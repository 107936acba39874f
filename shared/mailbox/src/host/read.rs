//! What the host reads of the other side's file (docs/spec/session-mailbox.md 4.4). It is never opened for writing: a forged
//! journal would have another file deleted.

use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::files::FileHost;
use super::{Reading, Seen, rows};
use crate::message::Ack;
use crate::places::OUTBOUND;
use crate::sqlite::{self, Side};
use crate::{Error, fsafe};

/// So long an open may take: the file may have been made a pipe since it was looked at.
const MAX_OPEN: Duration = Duration::from_secs(10);

impl FileHost {
    /// Looks at the file, opens it, and does something with it on a thread that may be given up. Nothing when the file is not
    /// there yet.
    fn outbound<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let settings = self.settings();
        match fsafe::examine(self.outside(), OUTBOUND, settings.owner, settings.max_bytes)? {
            None => return Ok(None),
            // Its writer has made it, and no table yet.
            Some(seen) if seen.size == 0 => return Ok(None),
            Some(_) => {}
        }
        let (path, mailbox) = (self.places().outbound(), self.mailbox_id().to_owned());
        let (told, hear) = mpsc::sync_channel(1);
        // The thread ends with its query, which is bounded. Only an open of a pipe lasts: then the session is given up, so that
        // there is at most one such thread a session.
        std::thread::Builder::new().name("outbound".into()).spawn(move || {
            let result = sqlite::reader(&path, Side::Out).and_then(|connection| {
                if sqlite::mailbox_id(&connection)? != mailbox {
                    return Err(Error::Mixed);
                }
                work(&connection)
            });
            // Nobody hears it when it came too late.
            let _ = told.send(result);
        })?;
        match hear.recv_timeout(MAX_OPEN + MAX_OPEN) {
            Ok(result) => result.map(Some),
            Err(_) => Err(Error::Hostile("an open takes too long")),
        }
    }

    /// How many outputs are there that nothing is noted about: at most so many.
    ///
    /// # Errors
    ///
    /// As [`super::HostMailbox::outputs`].
    pub fn unsent(&self, limit: usize) -> Result<usize, Error> {
        let outputs = self.read_outputs(0, limit, usize::MAX)?;
        let connection = self.reading()?;
        let mut noted =
            connection.prepare("SELECT 1 FROM delivered WHERE message_out_id = ?1 AND status IS NOT NULL")?;
        let mut unsent = 0;
        for reading in outputs {
            if let Reading::Good(output) = reading
                && output.prev.is_some()
                && !noted.exists([&output.id])?
            {
                unsent += 1;
            }
        }
        Ok(unsent)
    }

    pub(super) fn read_seen(&self, messages: &[&str]) -> Result<Option<Seen>, Error> {
        let ids: Vec<String> = messages.iter().map(|id| (*id).to_owned()).collect();
        self.outbound(move |connection| {
            let mut seen = Seen::default();
            let state = format!("SELECT {} FROM runtime_state WHERE id = 1", rows::STATE);
            seen.state = connection.query_row(&state, [], |row| Ok(rows::state(row).ok())).optional()?.flatten();
            let mut acks =
                connection.prepare(&format!("SELECT {} FROM processing_ack WHERE message_id = ?1", rows::ACK))?;
            // Bounded by the host's own messages.
            for id in ids {
                let ack: Option<Ack> = acks.query_row([&id], |row| Ok(rows::ack(row).ok())).optional()?.flatten();
                seen.acks.extend(ack.map(|ack| (id, ack)));
            }
            let last = "SELECT coalesce(max(seq), 0), coalesce(max(generation), 0) FROM messages_out \
                        WHERE typeof(seq) = 'integer' AND typeof(generation) = 'integer'";
            (seen.last_seq, seen.last_generation) =
                connection.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(seen)
        })
    }

    pub(super) fn read_outputs(&self, after: i64, limit: usize, bytes: usize) -> Result<Vec<Reading>, Error> {
        let read = self.outbound(move |connection| {
            let sql = format!("SELECT {} FROM messages_out WHERE seq > ?1 ORDER BY seq LIMIT ?2", rows::OUTPUT);
            let mut statement = connection.prepare(&sql)?;
            let mut found = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
            let (mut readings, mut room) = (Vec::new(), bytes);
            // Bounded by the limit.
            while let Some(row) = found.next()? {
                let reading = rows::output(row);
                let size = match &reading {
                    Reading::Good(output) => output.content.len(),
                    Reading::Bad { .. } => 0,
                };
                if size > room && !readings.is_empty() {
                    break;
                }
                room = room.saturating_sub(size);
                readings.push(reading);
            }
            Ok(readings)
        })?;
        Ok(read.unwrap_or_default())
    }

    /// Ids of outputs that are there, of those asked for.
    pub(super) fn read_present(&self, ids: Vec<String>) -> Result<Vec<String>, Error> {
        let present = self.outbound(move |connection| {
            let mut statement = connection.prepare("SELECT 1 FROM messages_out WHERE id = ?1")?;
            let mut present = Vec::new();
            // Bounded by what the host has noted.
            for id in ids {
                if statement.exists([&id])? {
                    present.push(id);
                }
            }
            Ok(present)
        })?;
        Ok(present.unwrap_or_default())
    }
}
