//! Snapshots in a database and a store of objects (transcripts.md 4.3).
//!
//! An object is expected before it is stored, and its row and the end of the expectation are written together: whatever breaks
//! off in between leaves an object that the next sweep deletes, never a row without its object. Each upload has a key of its own,
//! so that what a sweep deletes is never what somebody stores. Whoever calls serialises the writes of one session; a reset
//! wins over a late write even where nobody does.

mod statements;
mod sweep;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use web::{Blobs, Failure};

use crate::bundle::{Bundle, Manifest};
use crate::codec::{Codec, Vault, most_stored};
use crate::limits::{GARBAGE_MS, INLINE_BYTES, KEPT_COMPLETED};
use crate::refused::Refused;
use crate::rules::{self, Known, Outcome, Status};

/// Where a snapshot belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The session.
    pub session: &'a str,
    /// The user.
    pub user: &'a str,
    /// The epoch of the conversation.
    pub epoch: u64,
    /// The run.
    pub run: &'a str,
    /// Its number.
    pub seq: u64,
}

/// A stored snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The run.
    pub run: String,
    /// Its number.
    pub seq: u64,
    /// How it has ended; none for an unfinished turn.
    pub status: Option<Status>,
    /// The epoch of the conversation.
    pub epoch: u64,
    /// What was kept.
    pub bundle: Bundle,
}

/// The newest that is known of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The user.
    pub user: String,
    /// The epoch of its conversation.
    pub epoch: u64,
    /// The number of the last completed run, if there is one.
    pub seq: Option<u64>,
}

/// Why nothing was stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A store failed; for logs.
    #[error("{0}")]
    Failed(String),
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.0)
    }
}

/// A body on its way into the store.
struct Coded {
    codec: Codec,
    inline: Option<String>,
    key: Option<String>,
}

/// The snapshots of all sessions.
#[derive(Clone, Copy, Debug)]
pub struct Store<'a, D, B> {
    /// The index.
    pub db: &'a D,
    /// Bodies that are too long for it.
    pub blobs: &'a B,
    /// How bodies lie there.
    pub vault: &'a Vault,
    /// Bytes of a bundle at most.
    pub limit: usize,
    /// Bytes of everything that is kept of one user, at most; none without a limit.
    pub quota: Option<u64>,
}

impl<D: Database, B: Blobs> Store<'_, D, B> {
    /// Keeps the bundle of a run that has ended. Says whether anything changed.
    pub async fn keep(
        &self,
        at: &Place<'_>,
        status: Status,
        attempt: u64,
        bundle: &Bundle,
        now: i64,
    ) -> Result<Outcome, StoreError> {
        if bundle.body().len() > self.limit {
            return Err(Refused::TooLarge.into());
        }
        let known = self.known(at).await?;
        if rules::decide(known.as_ref(), status, attempt, bundle)? == Outcome::Same {
            return Ok(Outcome::Same);
        }
        self.check_quota(at, bundle).await?;
        let manifest = bundle.manifest().to_json().map_err(|_| Refused::Invalid("invalid manifest"))?;
        let coded = self.store(at, bundle, now).await?;
        let (epoch, seq, attempt) = (count(at.epoch), count(at.seq), count(attempt));
        let (size, sha256) = (Param::count(bundle.body().len()), bundle.sha256());
        let garbage = drops(at, now);
        let is_completed = status == Status::Completed;
        let row = [
            Param::Text(at.session),
            Param::Text(at.user),
            epoch,
            Param::Text(at.run),
            seq,
            attempt,
            Param::Text(status.as_str()),
            size,
            Param::Text(&sha256),
            Param::Text(coded.codec.as_str()),
            Param::opt(coded.inline.as_deref()),
            Param::opt(coded.key.as_deref()),
            Param::Text(&manifest),
            Param::Int(now),
            Param::Int(now),
            Param::Text(at.session),
            epoch,
        ];
        let head = [Param::Text(at.session), Param::Text(at.user), epoch, Param::Text(at.run), seq, Param::Int(now)];
        let run = [Param::Text(at.session), epoch, Param::Text(at.run)];
        let old = [Param::Text(at.session), epoch, Param::Text(at.session), epoch, Param::count(KEPT_COMPLETED)];
        let after = Param::Int(now.saturating_add(GARBAGE_MS));
        let old_objects: Vec<Param<'_>> = [after].into_iter().chain(old).collect();
        let (drop_old_objects, drop_old) = (statements::drop_old_objects(), statements::drop_old());
        let arrived = coded.key.as_deref().map(|key| arrived(at, key));
        // The row comes second: whether it was written says whether the rest may count.
        let mut batch: Vec<Statement<'_>> = vec![(statements::DROP_OBJECT, &garbage), (statements::KEEP, &row)];
        if is_completed {
            batch.push((statements::DROP_PARTIAL, &garbage));
            batch.push((statements::CLEAR_PARTIAL, &run));
            batch.push((statements::MOVE_HEAD, &head));
            batch.push((&drop_old_objects, &old_objects));
            batch.push((&drop_old, &old));
        }
        if let Some(arrived) = &arrived {
            batch.push((statements::ARRIVED, arrived));
        }
        self.written(&batch).await
    }

    /// Keeps the bundle of a run that goes on, in place of an earlier one of it.
    pub async fn keep_partial(
        &self,
        at: &Place<'_>,
        attempt: u64,
        bundle: &Bundle,
        now: i64,
    ) -> Result<Outcome, StoreError> {
        if bundle.body().len() > self.limit {
            return Err(Refused::TooLarge.into());
        }
        rules::decide_partial(self.known(at).await?.as_ref())?;
        self.check_quota(at, bundle).await?;
        let manifest = bundle.manifest().to_json().map_err(|_| Refused::Invalid("invalid manifest"))?;
        let coded = self.store(at, bundle, now).await?;
        let (epoch, garbage) = (count(at.epoch), drops(at, now));
        let row = [
            Param::Text(at.session),
            Param::Text(at.user),
            epoch,
            Param::Text(at.run),
            count(at.seq),
            count(attempt),
            Param::count(bundle.body().len()),
            Param::Text(coded.codec.as_str()),
            Param::opt(coded.inline.as_deref()),
            Param::opt(coded.key.as_deref()),
            Param::Text(&manifest),
            Param::Int(now),
            Param::Int(now),
            Param::Int(now),
            Param::Text(at.session),
            epoch,
        ];
        let arrived = coded.key.as_deref().map(|key| arrived(at, key));
        let mut batch: Vec<Statement<'_>> =
            vec![(statements::DROP_PARTIAL, &garbage), (statements::KEEP_PARTIAL, &row)];
        if let Some(arrived) = &arrived {
            batch.push((statements::ARRIVED, arrived));
        }
        self.written(&batch).await
    }

    /// The snapshot to go on from: the last completed run of that epoch. One whose body is missing is passed over.
    pub async fn latest(&self, session: &str, user: &str, epoch: u64) -> Result<Option<Snapshot>, StoreError> {
        let params = [Param::Text(session), Param::Text(user), count(epoch)];
        let rows = self.db.query(ReadFrom::Primary, &statements::latest(), &params).await?;
        let is_there = !rows.is_empty();
        for row in &rows {
            if let Some(snapshot) = self.snapshot(session, user, row).await? {
                return Ok(Some(snapshot));
            }
        }
        if is_there { Err(Refused::BodyMissing.into()) } else { Ok(None) }
    }

    /// The snapshot of a run: how it has ended, else how far it was.
    pub async fn of_run(
        &self,
        session: &str,
        user: &str,
        epoch: u64,
        run: &str,
    ) -> Result<Option<Snapshot>, StoreError> {
        let params = [Param::Text(session), Param::Text(user), count(epoch), Param::Text(run)];
        for statement in [statements::of_run().as_str(), statements::PARTIAL] {
            let rows = self.db.query(ReadFrom::Primary, statement, &params).await?;
            if let Some(row) = rows.first() {
                let found = self.snapshot(session, user, row).await?;
                return found.map(Some).ok_or_else(|| Refused::BodyMissing.into());
            }
        }
        Ok(None)
    }

    /// The newest that is known of a session.
    pub async fn head(&self, session: &str) -> Result<Option<Head>, StoreError> {
        let rows = self.db.query(ReadFrom::Primary, statements::HEAD, &[Param::Text(session)]).await?;
        Ok(rows.first().map(|row| Head {
            user: row.string(0).unwrap_or_default(),
            epoch: number(row, 1).unwrap_or_default(),
            seq: number(row, 2),
        }))
    }

    /// Begins the conversation anew: everything before `epoch` is gone, and what comes late for it is refused. Gives the
    /// number of runs that were forgotten.
    pub async fn reset(&self, session: &str, user: &str, epoch: u64, now: i64) -> Result<u64, StoreError> {
        let garbage = [Param::Int(now.saturating_add(GARBAGE_MS)), Param::Text(session), count(epoch)];
        let head = [Param::Text(session), Param::Text(user), count(epoch), Param::Int(now)];
        let rows = [Param::Text(session), count(epoch)];
        let batch: [Statement<'_>; 4] = [
            (statements::RESET_OBJECTS, &garbage),
            (statements::RESET_PARTIALS, &garbage),
            (statements::RESET, &rows),
            (statements::RESET_HEAD, &head),
        ];
        let changed = self.db.batch(&batch).await?;
        Ok(changed.get(2).copied().unwrap_or_default())
    }

    /// Whether there is room for a bundle beside what else is kept of its user. Uploads of several sessions at the same time may go
    /// beyond the quota by one bundle each.
    async fn check_quota(&self, at: &Place<'_>, bundle: &Bundle) -> Result<(), StoreError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let params = [Param::Text(at.user), Param::Text(at.session), count(at.epoch), Param::Text(at.run)];
        let rows = self.db.query(ReadFrom::Primary, statements::OF_USER, &params).await?;
        let others = rows.first().and_then(|row| number(row, 0)).unwrap_or_default();
        let whole = others.saturating_add(bundle.body().len() as u64);
        if whole > quota { Err(Refused::Quota.into()) } else { Ok(()) }
    }

    async fn known(&self, at: &Place<'_>) -> Result<Option<Known>, StoreError> {
        let params = [Param::Text(at.session), count(at.epoch), Param::Text(at.run)];
        let rows = self.db.query(ReadFrom::Primary, statements::ROW, &params).await?;
        let known = rows.first().and_then(|row| {
            Some(Known {
                status: Status::parse(row.text(0)?)?,
                attempt: number(row, 1).unwrap_or_default(),
                files: row.text(2).and_then(|text| Manifest::parse(text.as_bytes()).ok()).map(|it| it.files)?,
            })
        });
        Ok(known)
    }

    /// Codes a body, and stores it where it is too long for the index.
    async fn store(&self, at: &Place<'_>, bundle: &Bundle, now: i64) -> Result<Coded, StoreError> {
        let body = bundle.body();
        let closed = self.vault.close(at.user, &bound_to(at.session, at.epoch, at.run), body);
        let (codec, stored) = closed.map_err(|error| StoreError::Failed(error.to_string()))?;
        if body.len() <= INLINE_BYTES {
            return Ok(Coded { codec, inline: Some(STANDARD.encode(stored)), key: None });
        }
        let key = object_key(at, &bundle.sha256(), now);
        let expected = [Param::Text(&key), Param::Int(now.saturating_add(GARBAGE_MS))];
        self.db.execute(statements::EXPECT, &expected).await?;
        self.blobs.put(&key, stored).await?;
        Ok(Coded { codec, inline: None, key: Some(key) })
    }

    async fn written(&self, batch: &[Statement<'_>]) -> Result<Outcome, StoreError> {
        let changed = self.db.batch(batch).await?;
        // The second statement is the row. That it wrote nothing means that a reset came first.
        if changed.get(1).is_some_and(|rows| *rows > 0) { Ok(Outcome::Store) } else { Err(Refused::EpochGone.into()) }
    }

    /// The snapshot of a row; none when its body is missing or damaged.
    async fn snapshot(&self, session: &str, user: &str, row: &Row) -> Result<Option<Snapshot>, StoreError> {
        let (Some(run), Some(seq), Some(epoch)) = (row.string(0), number(row, 1), number(row, 8)) else {
            return Ok(None);
        };
        let size = number(row, 3).and_then(|size| usize::try_from(size).ok());
        let codec = row.text(4).and_then(Codec::parse);
        let manifest = row.text(7).and_then(|text| Manifest::parse(text.as_bytes()).ok());
        let (Some(size), Some(codec), Some(manifest)) = (size, codec, manifest) else { return Ok(None) };
        let stored = match (row.text(5), row.text(6)) {
            (Some(inline), _) => STANDARD.decode(inline).ok(),
            (None, Some(key)) => self.blobs.get(key, most_stored(size)).await?,
            (None, None) => None,
        };
        let Some(stored) = stored else { return Ok(None) };
        let body = self.vault.open(codec, user, &bound_to(session, epoch, &run), &stored, size);
        let bundle = body.ok().and_then(|body| Bundle::of_manifest(manifest, body).ok());
        let status = row.text(2).and_then(Status::parse);
        Ok(bundle.map(|bundle| Snapshot { run, seq, status, epoch, bundle }))
    }
}

/// The place that an encrypted body is bound to. Names of runs have no line breaks.
fn bound_to(session: &str, epoch: u64, run: &str) -> String {
    format!("{epoch}\n{run}\n{session}")
}

/// Ids of sessions are their users' own words: in keys they are escaped.
fn object_key(at: &Place<'_>, sha256: &str, now: i64) -> String {
    let session = web::url::encode(at.session);
    format!("transcripts/{session}/{}/{}/{sha256}-{now}", at.epoch, at.run)
}

fn drops<'a>(at: &Place<'a>, now: i64) -> [Param<'a>; 6] {
    let (session, epoch) = (Param::Text(at.session), count(at.epoch));
    [Param::Int(now.saturating_add(GARBAGE_MS)), session, epoch, Param::Text(at.run), session, epoch]
}

fn arrived<'a>(at: &Place<'a>, key: &'a str) -> [Param<'a>; 5] {
    [Param::Text(key), Param::Text(at.session), count(at.epoch), Param::Text(at.run), Param::Text(key)]
}

fn count(number: u64) -> Param<'static> {
    Param::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn number(row: &Row, column: usize) -> Option<u64> {
    u64::try_from(row.int(column)?).ok()
}
