//! The host's half over files. Each call opens `inbound.db`, writes and closes it, which forces the content out to wherever
//! the folder is mounted (docs/spec/session-mailbox.md 1).

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rows::read_control;
use super::{HostMailbox, Inserted, Notice, Outcome, Reading, Seen, Spawn, TakeBack, rows};
use crate::message::{Control, Message, Millis, NewMessage};
use crate::places::{DOORBELL, HEARTBEAT, IDENTITY};
use crate::sqlite::{self, Side};
use crate::sweep::Change;
use crate::{Error, Places, doorbell, fsafe, space};

/// How long final messages are remembered, in milliseconds, and how many of them at most.
const REMEMBERED_MS: i64 = 30 * 86_400_000;
const REMEMBERED: i64 = 10_000;
/// How long reports are remembered that were sent.
const NOTICES_MS: i64 = 86_400_000;

/// How a host looks at the other side's folder.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `MAILBOX_MAX_BYTES`: the longest database that is opened.
    pub max_bytes: u64,
    /// The user whose files lie there.
    pub owner: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_bytes: 512 << 20, owner: rustix::process::geteuid().as_raw() }
    }
}

/// `in/mailbox.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    v: u64,
    mailbox_id: String,
    session_id: String,
    created_at: Millis,
}

/// The host's half of a mailbox in a folder.
#[derive(Debug)]
pub struct FileHost {
    places: Places,
    settings: Settings,
    mailbox_id: String,
    inside: OwnedFd,
    outside: OwnedFd,
}

impl FileHost {
    /// Makes the mailbox of a session in a state directory, or opens the one that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Unsafe`] when others may write the state directory; else as [`FileHost::open`].
    pub fn create(state: &Path, session: &str, settings: Settings, now: Millis) -> Result<Self, Error> {
        let found = std::fs::metadata(state)?;
        if found.mode() & 0o022 != 0 || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::Unsafe(state.display().to_string()));
        }
        // SQLite refuses a link in any part of a path.
        let places = Places::of(&state.canonicalize()?, session);
        if !places.inside().join(IDENTITY).exists() {
            for folder in [places.inside(), places.outside(), places.work(), places.home()] {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let inside = fsafe::folder(&places.inside())?;
            let identity = Identity { v: 1, mailbox_id: random_id()?, session_id: session.to_owned(), created_at: now };
            // The file that names it comes last: without it everything is made again.
            let inbound = places.inbound();
            for leftover in [inbound.clone(), inbound.with_extension("db-journal")] {
                match std::fs::remove_file(leftover) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
            drop(sqlite::writer(&inbound, Side::In, Some(&identity.mailbox_id))?);
            space::keep(&inside)?;
            doorbell::touch(&inside, DOORBELL)?;
            let text = serde_json::to_vec(&identity).map_err(|error| Error::Config(error.to_string()))?;
            fsafe::replace(&inside, IDENTITY, &text)?;
        }
        Self::open(places, settings, now)
    }

    /// Opens a mailbox. Its file is opened for writing once, which rolls back what a host before has left half done.
    ///
    /// # Errors
    ///
    /// [`Error::Mixed`] when its parts are of different mailboxes, [`Error::Newer`], or what the system refuses.
    pub fn open(places: Places, settings: Settings, now: Millis) -> Result<Self, Error> {
        let host = Self::look_at(places, settings)?;
        host.finish_taking_back(now)?;
        Ok(host)
    }

    /// Opens a mailbox to look at it, beside the host that works with it.
    ///
    /// # Errors
    ///
    /// As [`FileHost::open`].
    pub fn look_at(places: Places, settings: Settings) -> Result<Self, Error> {
        let (inside, outside) = (fsafe::folder(&places.inside())?, fsafe::folder(&places.outside())?);
        let text = fsafe::read(&inside, &[IDENTITY], 64 << 10)?;
        let identity: Identity = serde_json::from_slice(&text).map_err(|_| Error::Mixed)?;
        let inbound = sqlite::writer(&places.inbound(), Side::In, None)?;
        if identity.v != 1 || sqlite::mailbox_id(&inbound)? != identity.mailbox_id {
            return Err(Error::Mixed);
        }
        drop(inbound);
        Ok(Self { places, settings, mailbox_id: identity.mailbox_id, inside, outside })
    }

    /// Moves a mailbox aside, to `<state>/stale/<name>.<ms>`, where nothing of it runs again.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn set_aside(places: &Places, now: Millis) -> Result<(), Error> {
        let folder = places.folder();
        let (Some(name), Some(state)) = (folder.file_name(), folder.parent().and_then(Path::parent)) else {
            return Err(Error::BadName);
        };
        let stale = state.join("stale");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&stale)?;
        Ok(std::fs::rename(folder, stale.join(format!("{}.{now}", name.to_string_lossy())))?)
    }

    /// Where it lies.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Its id, which stands in both files.
    pub fn mailbox_id(&self) -> &str {
        &self.mailbox_id
    }

    /// The folder that the host writes.
    pub fn inside(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// The folder that the agent's side writes.
    pub fn outside(&self) -> BorrowedFd<'_> {
        self.outside.as_fd()
    }

    /// How it looks there.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Tells the agent's side that the host lives.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn ring(&self) -> Result<(), Error> {
        Ok(doorbell::touch(&self.inside, DOORBELL)?)
    }

    pub(super) fn reading(&self) -> Result<Connection, Error> {
        sqlite::writer(&self.places.inbound(), Side::In, None)
    }

    /// A change of state, which finds room even on a full disk.
    pub(super) fn write<T>(&self, mut work: impl FnMut(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        space::with_reserve(&self.inside, || self.write_more(&mut work))
    }

    /// One transaction, and then the bell. On a full disk it is refused: the reserve is for what is there already.
    fn write_more<T>(&self, mut work: impl FnMut(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let mut connection = self.reading()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        // It only hastens: whoever does not hear it polls.
        let _ = self.ring();
        Ok(done)
    }
}

fn random_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Config(error.to_string()))?;
    Ok(base16ct::lower::encode_string(&bytes))
}

fn content_hash(message: &NewMessage) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(message.kind.as_bytes());
    hash.update([0]);
    hash.update(message.content.as_bytes());
    hash.finalize().to_vec()
}

/// A report about the end of a message that no output tells of.
pub(super) fn tell(connection: &Connection, id: &str, kind: &str, reason: &str, now: Millis) -> Result<(), Error> {
    let (code, data) = match kind {
        "session.open" => ("open.failed", serde_json::json!({"reason": reason, "message": reason})),
        _ => ("message.failed", serde_json::json!({"message-id": id, "reason": reason})),
    };
    let notice = Notice { id: format!("ended-{id}"), code: code.into(), data: data.to_string() };
    insert_notice(connection, &notice, now)
}

fn insert_notice(connection: &Connection, notice: &Notice, now: Millis) -> Result<(), Error> {
    let sql = "INSERT INTO notices(id, code, data, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT(id) DO NOTHING";
    connection.execute(sql, (&notice.id, &notice.code, &notice.data, now))?;
    Ok(())
}

impl HostMailbox for FileHost {
    fn insert(&mut self, message: &NewMessage, now: Millis) -> Result<Inserted, Error> {
        // One that cannot be read now was read before, or holds nothing yet.
        let other = self.read_seen(&[]).ok().flatten().map_or(0, |seen| seen.last_seq);
        let hash = content_hash(message);
        self.write_more(|connection| {
            let known: Option<Vec<u8>> = connection
                .query_row("SELECT content_hash FROM messages_in WHERE id = ?1", [&message.id], |row| row.get(0))
                .optional()?;
            if let Some(known) = known {
                return if known == hash { Ok(Inserted::Known) } else { Err(Error::Conflict) };
            }
            let own: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM messages_in", [], |row| row.get(0))?;
            // The next even number.
            let seq = own.max(other) / 2 * 2 + 2;
            let interrupted = read_control(connection)?.interrupt_seq;
            let late = !message.control && message.kind == "prompt" && message.work_seq.is_some_and(|it| it <= interrupted);
            let (status, ended, content) =
                if late { ("cancelled", Some(now), None) } else { ("pending", None, Some(&message.content)) };
            connection.execute(
                "INSERT INTO messages_in(id, seq, kind, created_at, status, process_after, expires_at, trigger, on_wake, \
                 reply_to, origin, content, content_hash, source_session_id, lane, work_seq, ended_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
                rusqlite::params![
                    message.id,
                    seq,
                    message.kind,
                    now,
                    status,
                    message.process_after,
                    message.expires_at,
                    !message.context,
                    message.on_wake,
                    message.reply_to,
                    message.origin,
                    content,
                    hash,
                    message.source_session_id,
                    if message.control { "control" } else { "prompt" },
                    message.work_seq,
                    ended,
                ],
            )?;
            if late {
                tell(connection, &message.id, &message.kind, crate::sweep::reasons::CANCELLED, now)?;
                return Ok(Inserted::Cancelled(seq));
            }
            Ok(Inserted::New(seq))
        })
    }

    fn unfinished(&self) -> Result<Vec<Message>, Error> {
        let connection = self.reading()?;
        let sql =
            format!("SELECT {} FROM messages_in WHERE status IN ('pending','paused') ORDER BY seq", rows::MESSAGE);
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query([])?;
        let mut messages = Vec::new();
        // Bounded by what the worker gives out: at most 50 orders of a session wait.
        while let Some(row) = found.next()? {
            messages.push(rows::message(row)?);
        }
        Ok(messages)
    }

    fn control(&self) -> Result<Control, Error> {
        read_control(&self.reading()?)
    }

    fn seen(&self, messages: &[&str]) -> Result<Option<Seen>, Error> {
        self.read_seen(messages)
    }

    fn heartbeat(&self) -> Option<i128> {
        fsafe::changed_at(&self.outside, HEARTBEAT)
    }

    fn apply(&mut self, changes: &[(String, Change)], settled: bool, now: Millis) -> Result<(), Error> {
        self.write(|connection| {
            for (id, change) in changes {
                apply(connection, id, change, now)?;
            }
            if settled {
                connection
                    .execute("UPDATE control SET spawned_at = NULL, stop_requested_at = NULL WHERE id = 1", [])?;
            }
            Ok(())
        })
    }

    fn begin(&mut self, spawn: &Spawn, now: Millis) -> Result<i64, Error> {
        let seen = self
            .read_seen(&[])?
            .map_or(0, |seen| seen.last_generation.max(seen.state.map_or(0, |state| state.generation)));
        let generation = self.write(|connection| {
            let control = read_control(connection)?;
            if control.spawned_at.is_some() {
                return Err(Error::Unsettled);
            }
            let generation = control.generation.max(seen).max(spawn.above).saturating_add(1);
            connection.execute(
                "UPDATE control SET lease = ?1, generation = ?2, spawned_at = ?3, stop_requested_at = NULL, config_hash = ?4 \
                 WHERE id = 1",
                (spawn.lease, generation, now, &spawn.config_hash),
            )?;
            Ok(generation)
        })?;
        // The sign of life of the process before this one says nothing about it.
        match rustix::fs::unlinkat(&self.outside, HEARTBEAT, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(generation),
            Err(error) => Err(error.into()),
        }
    }

    fn ask_to_stop(&mut self, now: Millis) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("UPDATE control SET stop_requested_at = ?1 WHERE id = 1", [now])?;
            Ok(())
        })
    }

    fn interrupt(&mut self, through: i64) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("UPDATE control SET interrupt_seq = max(interrupt_seq, ?1) WHERE id = 1", [through])?;
            Ok(())
        })
    }

    fn take_back(&mut self, what: TakeBack<'_>, now: Millis) -> Result<Vec<String>, Error> {
        self.do_take_back(what, now)
    }

    fn outputs(&self, after: i64, rows: usize, bytes: usize) -> Result<Vec<Reading>, Error> {
        self.read_outputs(after, rows, bytes)
    }

    fn record(&mut self, outcomes: &[(String, Outcome)], now: Millis) -> Result<(), Error> {
        self.write(|connection| {
            for (id, outcome) in outcomes {
                let (status, error) = match outcome {
                    Outcome::Delivered => (Some("delivered"), None),
                    Outcome::Refused(why) => (Some("failed"), Some(why)),
                    Outcome::Later(why) => (None, Some(why)),
                };
                connection.execute(
                    "INSERT INTO delivered(message_out_id, status, attempts, error, at) VALUES (?1, ?2, 1, ?3, ?4) \
                     ON CONFLICT(message_out_id) DO UPDATE SET attempts = attempts + 1, error = excluded.error, \
                     at = excluded.at, status = excluded.status WHERE status IS NULL",
                    (id, status, error, now),
                )?;
            }
            Ok(())
        })
    }

    fn attempts(&self, output: &str) -> Result<(u32, Millis), Error> {
        let sql = "SELECT attempts, at FROM delivered WHERE message_out_id = ?1 AND status IS NULL";
        let found = self.reading()?.query_row(sql, [output], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(found.unwrap_or_default())
    }

    fn note(&mut self, notice: &Notice, now: Millis) -> Result<(), Error> {
        self.write(|connection| insert_notice(connection, notice, now))
    }

    fn notes(&self) -> Result<Vec<Notice>, Error> {
        let connection = self.reading()?;
        // Bounded: the runner sends them before it makes many more.
        let mut statement =
            connection.prepare("SELECT id, code, data FROM notices WHERE sent_at IS NULL ORDER BY rowid LIMIT 1000")?;
        let found =
            statement.query_map([], |row| Ok(Notice { id: row.get(0)?, code: row.get(1)?, data: row.get(2)? }))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn noted(&mut self, notice: &str, now: Millis) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("UPDATE notices SET sent_at = ?2 WHERE id = ?1", (notice, now))?;
            Ok(())
        })
    }

    fn set_destinations(&mut self, targets: &[(String, String)]) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("DELETE FROM destinations", [])?;
            for (name, target) in targets {
                let sql = "INSERT INTO destinations(name, display_name, type, target) VALUES (?1, ?1, 'channel', ?2)";
                connection.execute(sql, (name, target))?;
            }
            Ok(())
        })
    }

    fn destinations(&self) -> Result<Vec<String>, Error> {
        let connection = self.reading()?;
        let mut statement = connection.prepare("SELECT target FROM destinations ORDER BY name")?;
        let found = statement.query_map([], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn prune(&mut self, now: Millis) -> Result<(), Error> {
        let mut noted: Vec<String> = Vec::new();
        {
            let connection = self.reading()?;
            let mut statement = connection.prepare("SELECT message_out_id FROM delivered WHERE status IS NOT NULL")?;
            let found = statement.query_map([], |row| row.get(0))?;
            for id in found {
                noted.push(id?);
            }
        }
        // An output that cannot be looked for counts as one that is there.
        let present = self.read_present(noted.clone()).unwrap_or_else(|_| noted.clone());
        noted.retain(|id| !present.contains(id));
        self.write(|connection| {
            for id in &noted {
                connection.execute("DELETE FROM delivered WHERE message_out_id = ?1", [id])?;
            }
            connection.execute("DELETE FROM notices WHERE sent_at <= ?1", [now.saturating_sub(NOTICES_MS)])?;
            connection.execute(
                "DELETE FROM messages_in WHERE status NOT IN ('pending','paused') AND seq < (SELECT max(seq) FROM messages_in) \
                 AND (ended_at <= ?1 OR seq <= (SELECT seq FROM messages_in WHERE status NOT IN ('pending','paused') \
                 ORDER BY seq DESC LIMIT 1 OFFSET ?2))",
                (now.saturating_sub(REMEMBERED_MS), REMEMBERED),
            )?;
            Ok(())
        })?;
        space::renew(&self.inside)?;
        Ok(())
    }
}

/// Stores one change. A message that is final meanwhile stays as it is.
fn apply(connection: &Connection, id: &str, change: &Change, now: Millis) -> Result<(), Error> {
    let (status, set) = match change {
        Change::Complete => (Some("completed"), ""),
        Change::Fail(_) => (Some("failed"), ""),
        Change::Die => (Some("dead"), ""),
        Change::Cancel(_) => (Some("cancelled"), ""),
        Change::Defer(_) => (None, "deferrals = deferrals + 1"),
        Change::Retry(_) => (None, "tries = tries + 1"),
        Change::SendAgain => (None, "sent_tries = sent_tries + 1"),
    };
    let Some(status) = status else {
        let at = match change {
            Change::Defer(at) | Change::Retry(at) => Some(*at),
            _ => None,
        };
        let sql = format!("UPDATE messages_in SET {set}, process_after = ?2 WHERE id = ?1 AND status = 'pending'");
        connection.execute(&sql, (id, at))?;
        return Ok(());
    };
    end(connection, id, status, change.told(), now)?;
    Ok(())
}

/// Ends a message, and tells the session where no output does. Whether it was not final yet.
fn end(connection: &Connection, id: &str, status: &str, told: Option<&str>, now: Millis) -> Result<bool, Error> {
    let sql = "UPDATE messages_in SET status = ?2, content = NULL, ended_at = ?3, error = ?4 \
               WHERE id = ?1 AND status IN ('pending','paused') RETURNING kind, lane";
    let ended: Option<(String, String)> =
        connection.query_row(sql, (id, status, now, told), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let (Some((kind, lane)), Some(reason)) = (&ended, told)
        && lane == "prompt"
    {
        tell(connection, id, kind, reason, now)?;
    }
    Ok(ended.is_some())
}
