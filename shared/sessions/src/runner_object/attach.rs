//! A process attaches, and each session says what of its copy counts (session-mailbox.md 7.3).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answers::{Answered, ok};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::answer;
use crate::mailbox::desk::Claim;
use crate::mailbox::runner::{Attachment, AuthError, attach, bind, unbind};
use crate::request::mailbox::Attach;

impl<P: Platform> RunnerObject<P> {
    pub(super) async fn attach(&self, asked: Attach) -> Answered {
        let id = self.platform.random_uuid().to_string();
        let attachment = Attachment { id: id.clone(), process_id: asked.process_id };
        let attached = self.change(|runner, decide| {
            let runner = runner.as_mut().ok_or(AuthError::Unknown);
            runner.map(|runner| attach(runner, decide, &asked.instance_id, asked.protocol, attachment))
        })???;
        self.write_seen(Some(asked.max_sessions));
        let mut claims: BTreeMap<String, Option<Claim>> =
            asked.sessions.into_iter().map(|session| (session.session_id, Some(session.claim))).collect();
        for session in attached.sessions {
            claims.entry(session).or_default();
        }
        let mut sessions = Vec::new();
        // At most so many as one attach may list, and those that are bound.
        for (session_id, claim) in claims {
            let verdict = self.claim(&session_id, claim.as_ref()).await?;
            sessions.extend(verdict.filter(|_| claim.is_some()));
        }
        ok(json!({
            "attach-id": id,
            "runner-epoch": attached.epoch,
            "server-time": self.platform.now_ms(),
            "limits": answer::limits(),
            "sessions": sessions,
        }))
    }

    /// What the session says of a copy, as the runner is told. A session that has gone holds nothing.
    async fn claim(&self, session_id: &str, claim: Option<&Claim>) -> Result<Option<Value>, Error> {
        let body = json!({"claim": claim.map(|claim| json!({
            "mailbox-id": claim.mailbox_id,
            "lease": claim.lease,
            "work-seq": claim.work_seq,
            "out-seq": claim.out_seq,
            "generation": claim.generation,
        }))});
        let said = self.ask(session_id, "attach", &body).await?;
        let holds = said.as_ref().is_some_and(|said| said.get("held") == Some(&Value::Bool(true)));
        self.change(|runner, _| {
            if let Some(runner) = runner {
                if holds { bind(runner, session_id) } else { unbind(runner, session_id) }
            }
        })?;
        let gone = || {
            let claim = claim.map_or(0, |claim| claim.lease);
            json!({
                "session-id": session_id, "verdict": "gone", "lease": claim, "accepted-seq": 0, "work-seq": 0,
                "generation": 0,
            })
        };
        Ok(Some(said.and_then(|mut said| said.get_mut("session").map(Value::take)).unwrap_or_else(gone)))
    }
}
