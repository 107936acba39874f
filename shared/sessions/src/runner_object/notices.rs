//! What the runner reports of its own (session-mailbox.md 7.6).

use serde_json::{Value, json};

use super::answers::{Answered, ok};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::limits;
use crate::mailbox::store::MailboxRows;
use crate::request::mailbox::Report;

impl<P: Platform> RunnerObject<P> {
    /// A report about the runner, or about one of its sessions, which is told of it. The same one again within a day is dropped.
    pub(super) async fn report(&self, session_id: Option<&str>, body: Vec<u8>) -> Answered {
        let report = Report::read(&body)?;
        if let Some(session_id) = session_id {
            let (status, said) = self.call(session_id, "notice", body).await?;
            if status != http::StatusCode::OK {
                return Ok((status, said));
            }
        }
        self.keep(&report, session_id)?;
        ok(json!({"ok": true}))
    }

    fn keep(&self, report: &Report, session_id: Option<&str>) -> Result<(), Error> {
        let rows = MailboxRows(self.platform.sql());
        let now = self.platform.now_ms();
        if report.notice.lease.is_some() || !rows.note_notice(&report.id, now)? {
            return Ok(());
        }
        let mut notices = rows.notices()?;
        notices.push(json!({
            "code": report.notice.code, "message": report.notice.message, "at": now, "session-id": session_id,
        }));
        let excess = notices.len().saturating_sub(limits::SHOWN_NOTICES);
        notices.drain(..excess);
        Ok(rows.put_notices(&notices)?)
    }

    /// What its user is shown of the runner beside its row.
    pub(super) fn about(&self) -> Answered {
        let presence = self.presence()?;
        let notices = match presence {
            Some(_) => MailboxRows(self.platform.sql()).notices().map_err(Error::from)?,
            None => Vec::<Value>::new(),
        };
        ok(json!({"presence": presence, "notices": notices}))
    }
}
