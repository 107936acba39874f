//! The half of the agent's side over files. `inbound.db` is opened freshly for each look, because on some mounts a reader that
//! stays open does not see what is written, unless it lies on a file system of this machine and that is asked for ([`Reopen::Auto`]);
//! `outbound.db` stays open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::{AgentMailbox, Asked, Backlog, Inbound, Request, Step, UNREADABLE, kept};
use crate::config::Reopen;
use crate::host::rows;
use crate::message::{Ack, Control, Lane, MAX_OUTPUT_BYTES, Message, Millis};
use crate::places::{DOORBELL, HEARTBEAT, INBOUND, OUTBOUND};
use crate::sqlite::{self, Side};
use crate::{Error, doorbell, due, fsafe, space};

/// After such a pause it is looked, before anything is stored, whether another process has taken over.
const PAUSE: Duration = Duration::from_secs(5);
/// How long is remembered what was said about messages that are over, in milliseconds.
const REMEMBERED_MS: i64 = 86_400_000;
/// How many messages one look gives out of each lane.
const MAX_FRESH: usize = 50;

/// The mailbox of a process beside an agent.
#[derive(Debug)]
pub struct FileAgent {
    inbound: PathBuf,
    outside: OwnedFd,
    connection: Connection,
    mailbox_id: String,
    generation: i64,
    acks: BTreeMap<String, Ack>,
    last_seq: i64,
    last_chained: i64,
    host_seq: i64,
    looked: Option<Instant>,
    /// Since when the host's file cannot be read, and when that was last tried.
    unreadable: Option<(Instant, Instant)>,
    backlog: Backlog,
    /// Whether a connection to the host's file stays open, and the one that does.
    keeps_open: bool,
    kept: RefCell<Option<Kept>>,
}

/// A connection to the host's file that stays open.
#[derive(Debug)]
struct Kept {
    connection: Connection,
    /// The file that it was opened with.
    file: FileId,
}

/// A device, and a file of it.
type FileId = (u64, u64);

impl FileAgent {
    /// Opens the folders `in/` and `out/`, by paths without links, for a process of this generation. Whoever calls holds the
    /// [`super::Lock`].
    ///
    /// # Errors
    ///
    /// [`Error::Mixed`] when the files belong to another mailbox than the configuration says, [`Error::Newer`], or what the
    /// system refuses.
    pub fn open(inside: &Path, outside: &Path, mailbox_id: &str, generation: i64) -> Result<Self, Error> {
        let folder = fsafe::folder(outside)?;
        let connection = sqlite::writer(&outside.join(OUTBOUND), Side::Out, Some(mailbox_id))?;
        if sqlite::mailbox_id(&connection)? != mailbox_id {
            return Err(Error::Mixed);
        }
        space::keep(&folder)?;
        // The file of the host's side counts from the first look on.
        let mut agent = Self {
            inbound: inside.join(INBOUND),
            outside: folder,
            mailbox_id: mailbox_id.to_owned(),
            generation,
            acks: BTreeMap::new(),
            last_seq: 0,
            last_chained: 0,
            host_seq: 0,
            looked: None,
            unreadable: None,
            backlog: Backlog::default(),
            keeps_open: false,
            kept: RefCell::new(None),
            connection,
        };
        agent.load()?;
        Ok(agent)
    }

    fn load(&mut self) -> Result<(), Error> {
        self.last_seq =
            self.connection.query_row("SELECT coalesce(max(seq), 0) FROM messages_out", [], |row| row.get(0))?;
        let chained = "SELECT coalesce(max(seq), 0) FROM messages_out WHERE prev IS NOT NULL";
        self.last_chained = self.connection.query_row(chained, [], |row| row.get(0))?;
        let waiting = "SELECT count(*), coalesce(sum(length(CAST(content AS BLOB))), 0) FROM messages_out";
        let (rows, bytes): (i64, i64) = self.connection.query_row(waiting, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.backlog = Backlog { rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() };
        let mut statement = self.connection.prepare(&format!("SELECT {} FROM processing_ack", rows::ACK))?;
        let mut found = statement.query([])?;
        // Bounded by what `prune` leaves.
        while let Some(row) = found.next()? {
            let ack = rows::ack(row).map_err(|_| Error::Corrupt("an unknown word".into()))?;
            self.acks.insert(ack.message_id.clone(), ack);
        }
        Ok(())
    }

    /// Removes what processes before this one said that they took and had not begun. The number of those.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn forget_claims(&mut self) -> Result<usize, Error> {
        let sql = "DELETE FROM processing_ack WHERE status = 'processing' AND generation < ?1";
        let count = self.connection.execute(sql, [self.generation])?;
        let generation = self.generation;
        self.acks.retain(|_, ack| ack.status != crate::message::AckStatus::Processing || ack.generation >= generation);
        Ok(count)
    }

    /// The folder that this side writes.
    pub fn outside(&self) -> BorrowedFd<'_> {
        self.outside.as_fd()
    }

    /// The greatest attempt about which something was said, and what.
    pub fn ack(&self, message: &str) -> Option<&Ack> {
        self.acks.get(message)
    }

    /// How the host's file is read from now on.
    pub fn reopen(&mut self, reopen: Reopen) {
        self.keeps_open = reopen == Reopen::Auto && is_local(&self.inbound);
    }

    /// Looks into the host's file.
    fn reading<T>(&self, look: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let file = self.file();
        let known = self.kept.take().filter(|kept| Some(kept.file) == file);
        let connection = match known {
            Some(mut kept) => {
                sqlite::begin_look(&mut kept.connection)?;
                kept.connection
            }
            None => self.open_inbound()?,
        };
        let looked = look(&connection);
        // After a failure nothing is presumed of the file.
        if let (true, true, Some(file)) = (self.keeps_open, looked.is_ok(), file) {
            self.kept.replace(Some(Kept { connection, file }));
        }
        looked
    }

    fn open_inbound(&self) -> Result<Connection, Error> {
        let connection = sqlite::reader(&self.inbound, Side::In)?;
        if sqlite::mailbox_id(&connection)? != self.mailbox_id {
            return Err(Error::Mixed);
        }
        Ok(connection)
    }

    /// Which file lies there, where that matters: another one may have been put in its place.
    fn file(&self) -> Option<FileId> {
        let found = std::fs::symlink_metadata(&self.inbound).ok().filter(|_| self.keeps_open)?;
        Some((found.dev(), found.ino()))
    }

    /// What the host tells this process, unless that is another one's by now.
    fn heed(&mut self, control: Control) -> Result<Control, Error> {
        if control.generation > self.generation {
            return Err(Error::Fenced(control.generation));
        }
        self.looked = Some(Instant::now());
        self.unreadable = None;
        Ok(control)
    }

    /// Looks, after a pause, whether another process has taken over. While the host's file cannot be read it is not known; whoever has taken
    /// over then says so in `outbound.db`, where each commit looks too.
    fn heed_after_pause(&mut self) -> Result<(), Error> {
        let is_recent = |at: Instant| at.elapsed() <= PAUSE;
        if self.looked.is_some_and(is_recent) || self.unreadable.is_some_and(|(_, tried)| is_recent(tried)) {
            return Ok(());
        }
        match self.reading(crate::host::read_control) {
            Ok(control) => self.heed(control).map(drop),
            Err(error) => self.bear(error, Instant::now()),
        }
    }

    /// A failure that passes is borne for as long as the host's file may be unreadable.
    fn bear(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        if !error.is_passing() {
            return Err(error);
        }
        let since = self.note_unreadable(now);
        if now.saturating_duration_since(since) < UNREADABLE { Ok(()) } else { Err(error) }
    }

    /// The host's file could not be read. Since when it cannot.
    fn note_unreadable(&mut self, now: Instant) -> Instant {
        let since = self.unreadable.map_or(now, |(since, _)| since);
        self.unreadable = Some((since, now));
        since
    }

    /// What the host wants: what it tells this process, the greatest number of a message, and the messages about whose attempt nothing was said.
    fn read_inbound(&self, connection: &Connection, now: Millis) -> Result<(Control, i64, Vec<Message>), Error> {
        let control = crate::host::read_control(connection)?;
        let host_seq = connection.query_row("SELECT coalesce(max(seq), 0) FROM messages_in", [], |row| row.get(0))?;
        // All that is pending, and then without what something was said about: a limit before that would hide later ones.
        let sql = format!("SELECT {} FROM messages_in WHERE status = 'pending' ORDER BY seq", rows::MESSAGE);
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query([])?;
        let mut lanes: BTreeMap<Lane, Vec<Message>> = BTreeMap::new();
        // Bounded by what the host keeps.
        while let Some(row) = found.next()? {
            let message = rows::message(row)?;
            let lane = lanes.entry(message.lane).or_default();
            if lane.len() < MAX_FRESH
                && due::is_fresh(&message, self.acks.get(&message.id))
                && due::is_due(&message, now)
            {
                lane.push(message);
            }
        }
        let mut content = connection.prepare("SELECT content FROM messages_in WHERE id = ?1")?;
        let mut fresh = Vec::new();
        for mut message in lanes.into_values().flatten() {
            message.content = content.query_row([&message.id], |row| row.get(0)).optional()?.flatten();
            fresh.push(message);
        }
        Ok((control, host_seq, fresh))
    }

    fn write(&mut self, step: &Step, now: Millis) -> Result<Written, Error> {
        let (generation, mailbox_seq) = (self.generation, self.host_seq);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Whoever comes after this process says so here before anything else: no pause is too short to be noticed.
        let newest: Option<i64> = transaction
            .query_row("SELECT generation FROM runtime_state WHERE id = 1", [], |row| row.get(0))
            .optional()?;
        if let Some(newest) = newest.filter(|newest| *newest > generation) {
            return Err(Error::Fenced(newest));
        }
        let mut written = Written {
            seqs: Vec::new(),
            last_seq: self.last_seq,
            last_chained: self.last_chained,
            backlog: self.backlog,
        };
        for output in &step.outputs {
            if output.content.len() > MAX_OUTPUT_BYTES {
                return Err(Error::Config("an output is too long".into()));
            }
            // The next odd number.
            let seq = (written.last_seq.max(mailbox_seq) + 1) / 2 * 2 + 1;
            let prev = (!output.for_runner).then_some(written.last_chained);
            transaction.execute(
                "INSERT INTO messages_out(id, seq, prev, generation, attempt, in_reply_to, created_at, kind, target, content) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                rusqlite::params![
                    uuid()?,
                    seq,
                    prev,
                    generation,
                    output.attempt,
                    output.in_reply_to,
                    now,
                    output.kind,
                    output.target,
                    output.content
                ],
            )?;
            written.seqs.push(seq);
            written.backlog = written.backlog.with(output.content.len());
            written.last_seq = seq;
            if prev.is_some() {
                written.last_chained = seq;
            }
        }
        for ack in &step.acks {
            let result = if ack.told { written.seqs.last() } else { None };
            transaction.execute(
                // Where locks do not hold, an older process may still write: what a newer one said stays.
                "INSERT INTO processing_ack(message_id, generation, attempt, status, error, until, result_seq, changed_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(message_id) DO UPDATE SET \
                 generation = excluded.generation, attempt = excluded.attempt, status = excluded.status, \
                 error = excluded.error, until = excluded.until, result_seq = excluded.result_seq, \
                 changed_at = excluded.changed_at WHERE excluded.generation >= processing_ack.generation",
                rusqlite::params![
                    ack.message_id,
                    generation,
                    ack.attempt,
                    ack.status.as_str(),
                    ack.error,
                    ack.until,
                    result,
                    now
                ],
            )?;
        }
        for (id, rpc_id) in &step.asked {
            let sql = "INSERT INTO requests(id, generation, rpc_id, asked_at, state) VALUES (?1, ?2, ?3, ?4, 'open')";
            transaction.execute(sql, (id, generation, rpc_id, now))?;
        }
        for (id, asked) in &step.closed {
            let word = if *asked == Asked::Answered { "answered" } else { "void" };
            transaction.execute("UPDATE requests SET state = ?2 WHERE id = ?1 AND state = 'open'", (id, word))?;
        }
        for (key, value) in &step.values {
            match value {
                Some(value) => transaction.execute(
                    "INSERT OR REPLACE INTO session_state(key, value, updated_at) VALUES (?1, ?2, ?3)",
                    (key, value, now),
                )?,
                None => transaction.execute("DELETE FROM session_state WHERE key = ?1", [key])?,
            };
        }
        if let Some(state) = &step.state {
            transaction.execute(
                "INSERT OR REPLACE INTO runtime_state(id, generation, phase, current_tool, tool_declared_timeout_ms, \
                 tool_started_at, progress_at, until, interrupted_through, stopped, updated_at) \
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                rusqlite::params![
                    state.generation,
                    state.phase.as_str(),
                    state.current_tool,
                    state.tool_declared_timeout_ms,
                    state.tool_started_at,
                    state.progress_at,
                    state.until,
                    state.interrupted_through,
                    state.stopped,
                    now
                ],
            )?;
        }
        transaction.commit()?;
        Ok(written)
    }
}

/// File systems that are this machine's own: what one process writes there another one sees.
const LOCAL: [u64; 8] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
];

/// Whether a file lies on such a file system; one that is not known is none.
fn is_local(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| LOCAL.contains(&kind)))
}

/// What a step has changed.
struct Written {
    seqs: Vec<i64>,
    last_seq: i64,
    last_chained: i64,
    backlog: Backlog,
}

/// A random id of the form that the worker asks for.
fn uuid() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Config(error.to_string()))?;
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let hex = base16ct::lower::encode_string(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)))
}

impl AgentMailbox for FileAgent {
    fn look(&mut self, now: Millis) -> Result<Inbound, Error> {
        let looked = self.reading(|connection| self.read_inbound(connection, now));
        let (control, host_seq, fresh) = looked.inspect_err(|error| {
            if error.is_passing() {
                self.note_unreadable(Instant::now());
            }
        })?;
        let control = self.heed(control)?;
        self.host_seq = host_seq;
        Ok(Inbound { control, fresh })
    }

    fn is_wanted(&self, message: &str) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM messages_in WHERE id = ?1 AND status = 'pending'";
        self.reading(|connection| Ok(connection.prepare(sql)?.exists([message])?))
    }

    fn commit(&mut self, step: &Step, now: Millis) -> Result<Vec<i64>, Error> {
        self.heed_after_pause()?;
        let written = match self.write(step, now) {
            // What is said needs room of its own; what is said about messages finds that of the reserve.
            Err(Error::Full) if step.outputs.is_empty() => {
                space::give_up(&self.outside)?;
                self.write(step, now)
            }
            other => other,
        }?;
        (self.last_seq, self.last_chained) = (written.last_seq, written.last_chained);
        self.backlog = written.backlog;
        for ack in &step.acks {
            let stored = Ack {
                message_id: ack.message_id.clone(),
                generation: self.generation,
                attempt: ack.attempt,
                status: ack.status,
                error: ack.error.clone(),
                until: ack.until,
                result_seq: if ack.told { written.seqs.last().copied() } else { None },
            };
            self.acks.insert(ack.message_id.clone(), stored);
        }
        // It only hastens: a host that does not hear it polls.
        let _ = doorbell::touch(&self.outside, DOORBELL);
        Ok(written.seqs)
    }

    fn value(&self, key: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT value FROM session_state WHERE key = ?1";
        Ok(self.connection.query_row(sql, [key], |row| row.get(0)).optional()?)
    }

    fn open_requests(&self) -> Result<Vec<Request>, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT id, generation, rpc_id FROM requests WHERE state = 'open' ORDER BY rowid")?;
        let found = statement
            .query_map([], |row| Ok(Request { id: row.get(0)?, generation: row.get(1)?, rpc_id: row.get(2)? }))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn backlog(&self) -> Backlog {
        self.backlog
    }

    fn prune(&mut self, now: Millis) -> Result<(), Error> {
        let (delivered, open) = self.reading(|connection| {
            let ids = |sql: &str| -> Result<BTreeSet<String>, Error> {
                Ok(connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
            };
            let delivered = ids("SELECT message_out_id FROM delivered WHERE status IS NOT NULL")?;
            Ok((delivered, ids("SELECT id FROM messages_in WHERE status IN ('pending','paused')")?))
        })?;
        // The newest rows stay: the numbers of the next ones are made of theirs.
        let (last, chained) = (self.last_seq, self.last_chained);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut taken, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        {
            let mut files = transaction.prepare("SELECT id, content FROM messages_out WHERE kind = ?1")?;
            let mut found = files.query([kept::KIND])?;
            // Bounded by the backlog.
            while let Some(row) = found.next()? {
                let (id, content): (String, String) = (row.get(0)?, row.get(1)?);
                let place = if delivered.contains(&id) { &mut taken } else { &mut waiting };
                place.extend(kept::named(&content));
            }
        }
        let mut backlog = self.backlog;
        let mut delete = transaction.prepare(
            "DELETE FROM messages_out WHERE id = ?1 AND seq NOT IN (?2, ?3) RETURNING length(CAST(content AS BLOB))",
        )?;
        for id in &delivered {
            let freed: Option<i64> = delete.query_row((id, last, chained), |row| row.get(0)).optional()?;
            if let Some(freed) = freed {
                backlog = backlog.without(freed.unsigned_abs());
            }
        }
        drop(delete);
        let old = now.saturating_sub(REMEMBERED_MS);
        let mut statement = transaction.prepare("SELECT message_id FROM processing_ack WHERE changed_at <= ?1")?;
        let old_ones: Vec<String> = statement.query_map([old], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(statement);
        let over: Vec<String> = old_ones.into_iter().filter(|id| !open.contains(id)).collect();
        for id in &over {
            transaction.execute("DELETE FROM processing_ack WHERE message_id = ?1", [id])?;
        }
        transaction.execute("DELETE FROM requests WHERE state <> 'open' AND asked_at <= ?1", [old])?;
        transaction.commit()?;
        self.backlog = backlog;
        for id in &over {
            self.acks.remove(id);
        }
        kept::remove(&self.outside, &taken, &waiting, now);
        space::renew(&self.outside)?;
        Ok(())
    }

    fn beat(&self) {
        // The next one may not fail; the host waits for several.
        let _ = doorbell::touch(&self.outside, HEARTBEAT);
    }
}

/// Rolls back what a dead process has left half done in `out/`, and looks at the whole file: what the host must not do itself,
/// because it would open a file of the agent's for writing (docs/spec/session-mailbox.md 4.4). The caller holds the
/// [`super::Lock`].
///
/// # Errors
///
/// [`Error::Corrupt`] when it is not whole.
pub fn recover(outside: &Path) -> Result<(), Error> {
    let connection = sqlite::writer(&outside.join(OUTBOUND), Side::Out, None)?;
    let told: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if told == "ok" { Ok(()) } else { Err(Error::Corrupt(told)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FileHost, HostMailbox as _, Settings, Spawn};
    use crate::message::NewMessage;

    fn prompt(host: &mut FileHost, id: &str) {
        let message =
            NewMessage { id: id.into(), kind: "prompt".into(), content: "{}".into(), ..NewMessage::default() };
        host.insert(&message, 1).unwrap();
    }

    fn seen(agent: &mut FileAgent) -> Vec<String> {
        agent.look(2).unwrap().fresh.into_iter().map(|message| message.id).collect()
    }

    #[test]
    fn a_connection_that_stays_sees_what_is_written_and_another_file_in_its_place() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().canonicalize().unwrap();
        let mut host = FileHost::create(&root, "s", Settings::default(), 0).unwrap();
        let generation = host.begin(&Spawn::default(), 0).unwrap();
        let places = host.places().clone();
        let mut agent = FileAgent::open(&places.inside(), &places.outside(), host.mailbox_id(), generation).unwrap();
        agent.reopen(Reopen::Always);
        prompt(&mut host, "a");
        assert_eq!(seen(&mut agent), ["a"]);
        assert!(agent.kept.borrow().is_none(), "by itself each look opens the file");
        agent.reopen(Reopen::Auto);
        assert!(agent.keeps_open, "a folder for temporary files is on a file system of this machine");
        for (id, known) in [("b", 2), ("c", 3)] {
            prompt(&mut host, id);
            assert_eq!(seen(&mut agent).len(), known);
            assert!(agent.is_wanted(id).unwrap() && agent.kept.borrow().is_some());
        }
        let copy = places.inside().join("copy.db");
        std::fs::copy(places.inbound(), &copy).unwrap();
        prompt(&mut host, "lost");
        assert_eq!(seen(&mut agent).len(), 4);
        std::fs::rename(copy, places.inbound()).unwrap();
        assert_eq!(seen(&mut agent), ["a", "b", "c"]);
    }

    /// docs/spec/session-mailbox.md 4.4: what is said while the host's file cannot be read is not lost, and a minute of that is the end.
    #[test]
    fn what_is_said_is_stored_while_the_hosts_file_cannot_be_read_for_a_minute() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().canonicalize().unwrap();
        let mut host = FileHost::create(&root, "s", Settings::default(), 0).unwrap();
        let generation = host.begin(&Spawn::default(), 0).unwrap();
        let places = host.places().clone();
        let mut agent = FileAgent::open(&places.inside(), &places.outside(), host.mailbox_id(), generation).unwrap();
        agent.look(0).unwrap();
        let step = Step { state: Some(crate::message::RuntimeState::starting(generation)), ..Step::default() };
        let aside = places.inside().join("aside");
        std::fs::rename(places.inbound(), &aside).unwrap();
        let ago = |seconds: u64| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        agent.looked = Some(ago(6));
        agent.commit(&step, 1).unwrap();
        for (since, borne) in [(59, true), (61, false)] {
            agent.unreadable = Some((ago(since), ago(6)));
            let stored = agent.commit(&step, 2);
            assert_eq!(stored.is_ok(), borne, "{since} s: {stored:?}");
        }
        // It is not tried with each commit; and whoever has taken over says so here too.
        agent.unreadable = Some((ago(61), ago(1)));
        agent.commit(&step, 3).unwrap();
        let newer = "UPDATE runtime_state SET generation = generation + 1";
        rusqlite::Connection::open(places.outbound()).unwrap().execute(newer, []).unwrap();
        assert!(matches!(agent.commit(&step, 4), Err(Error::Fenced(_))));
        // Once it can be read, nothing of that counts any more.
        std::fs::rename(aside, places.inbound()).unwrap();
        agent.unreadable = Some((ago(50), ago(6)));
        assert!(agent.look(5).is_ok() && agent.unreadable.is_none());
    }

    #[test]
    fn where_it_is_not_known_that_a_reader_sees_everything_none_stays() {
        assert!(!is_local(Path::new("/proc/self/status")) && !is_local(Path::new("/no/such/file")));
    }
}
