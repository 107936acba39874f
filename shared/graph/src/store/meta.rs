//! `sync_meta`, and what the journal adds to it: the counter, the checksum, the upload flag (sync.md 9.2).

use std::ops::ControlFlow;

use super::journal::{self, Journaled};
use super::upload_mark::UploadMark;
use database::Param;
use database::local::{Sql, SqlError};

/// The values of `sync_meta`, or later ones of the journal's last row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Transactions so far.
    pub(crate) t: i64,
    /// Checksum of the graph; absent until the first transaction or finished upload.
    pub(crate) checksum: Option<String>,
    /// Whether an upload is under way that will replace the rows.
    pub(crate) uploading: bool,
    /// That upload, or the one that ended last. Absent where an earlier version wrote the rows.
    pub(crate) upload: Option<UploadMark>,
    /// Whether the rows were looked at as a whole (datascript.md 7.1): those of earlier versions may have damaged indexes.
    pub(crate) verified: bool,
    /// How far the journal and the nodes have come.
    pub(crate) journaled: Journaled,
}

pub(crate) fn load(sql: &impl Sql) -> Result<Meta, SqlError> {
    let mut meta = Meta::default();
    sql.query("SELECT key, value FROM sync_meta", &[], &mut |row| {
        let value = row.text(1)?.unwrap_or_default();
        match row.text(0)?.as_deref() {
            Some("t") => meta.t = value.parse().unwrap_or(0),
            Some("checksum") => meta.checksum = Some(value.into_owned()),
            Some("snapshot-uploading?") => meta.uploading = value == "true",
            Some("snapshot-upload") => meta.upload = UploadMark::from_text(&value),
            Some("indexes-verified?") => meta.verified = value == "true",
            Some("journal-seq") => meta.journaled.checkpoint = value.parse().unwrap_or(0),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    meta.journaled.last = meta.journaled.checkpoint;
    if let Some(last) = journal::last(sql, meta.journaled.checkpoint)? {
        (meta.t, meta.checksum, meta.journaled.last) = (last.t, last.checksum, last.seq);
    }
    Ok(meta)
}

/// Stores the counter and, where there is one, the checksum.
pub(crate) fn advance(sql: &impl Sql, t: i64, checksum: Option<&str>) -> Result<(), SqlError> {
    let t = t.to_string();
    match checksum {
        Some(checksum) => sql.execute(
            "INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('t', ?), ('checksum', ?)",
            &[Param::Text(&t), Param::Text(checksum)],
        ),
        None => sql.execute("INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('t', ?)", &[Param::Text(&t)]),
    }
}

/// Stores what is known of the upload.
pub(crate) fn set_upload(sql: &impl Sql, mark: &UploadMark) -> Result<(), SqlError> {
    sql.execute(
        "INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('snapshot-upload', ?)",
        &[Param::Text(&mark.to_text())],
    )
}

/// Forgets the upload that closed the graph.
pub(crate) fn drop_upload(sql: &impl Sql) -> Result<(), SqlError> {
    sql.execute("DELETE FROM sync_meta WHERE key IN ('snapshot-upload', 'snapshot-uploading?')", &[])
}

/// Notes that the rows were looked at as a whole.
pub(crate) fn set_verified(sql: &impl Sql) -> Result<(), SqlError> {
    sql.execute("INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('indexes-verified?', 'true')", &[])
}

/// Stores the upload flag.
pub(crate) fn set_uploading(sql: &impl Sql, uploading: bool) -> Result<(), SqlError> {
    let value = if uploading { "true" } else { "false" };
    sql.execute(
        "INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('snapshot-uploading?', ?)",
        &[Param::Text(value)],
    )
}
