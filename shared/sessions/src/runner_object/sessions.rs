//! What the object asks sessions, and what they tell it (session-mailbox.md 7.1).

use http::{Method, StatusCode};
use serde_json::{Value, json};
use web::{Call, Peers as _, url};

use super::answers::{Answered, ok};
use super::routes::{KEY, PRESENCE, presence_header};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::runner::{bind, on_told, ring, unbind};

/// Where the objects of sessions are. They look at paths only.
const ORIGIN: &str = "https://session/__session__/mailbox/";
/// The largest answer of a session: what a poll takes at most, and what stands around it.
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl<P: Platform> RunnerObject<P> {
    /// Asks a session. None when there is none.
    pub(super) async fn ask(&self, session_id: &str, verb: &str, body: &Value) -> Result<Option<Value>, Error> {
        let (status, said) = self.call(session_id, verb, body.to_string().into_bytes()).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => Ok(Some(said)),
            other => Err(Error::Internal(format!("a session answered {other} to {verb}"))),
        }
    }

    /// The same; whatever it answers.
    pub(super) async fn call(&self, session_id: &str, verb: &str, body: Vec<u8>) -> Result<(StatusCode, Value), Error> {
        let known = self.look(|runner| runner.map(|runner| (runner.key.clone(), runner.presence)))?;
        let (key, presence) = known.ok_or(Error::NotFound)?;
        let asked = async {
            let call = Call { body, ..Call::new(Method::POST, format!("{ORIGIN}{verb}")) }
                .with_header("x-session-id", &url::encode(session_id))?
                .with_header("x-caller", "service")?
                .with_header(KEY, &key)?
                .with_header(PRESENCE, &presence_header(&presence))?;
            self.platform.sessions().ask(session_id, call, MAX_ANSWER_BYTES).await
        };
        let (status, bytes) = asked.await.map_err(|failure| Error::Internal(failure.0))?;
        let said = serde_json::from_slice(&bytes).map_err(|error| Error::Internal(error.to_string()))?;
        Ok((status, said))
    }

    /// A session is bound to the runner, has work, or has gone from it. The answer says whether the runner is there.
    pub(super) fn hear(&self, session_id: &str, verb: &str) -> Answered {
        let presence = self.change(|runner, decide| {
            let runner = runner.as_mut()?;
            match verb {
                "ring" => ring(runner, decide, session_id),
                "unbind" => unbind(runner, session_id),
                _ => bind(runner, session_id),
            }
            Some(runner.presence)
        })?;
        ok(json!({"presence": presence.ok_or(Error::NotFound)?}))
    }

    /// Tells sessions whether the runner is there, until all of them know. Whom it could not tell the alarm tells.
    pub(super) fn tell_sessions(&self) {
        let Some(me) = self.me.upgrade().filter(|_| !self.is_telling.replace(true)) else { return };
        self.platform.spawn(async move {
            let untold = me.look(|runner| runner.map(|runner| runner.untold().map(str::to_owned).collect::<Vec<_>>()));
            // The sessions that are bound.
            for session_id in untold.ok().flatten().unwrap_or_default() {
                if let Err(error) = me.tell(&session_id).await {
                    me.warn("agents/session-not-told", &error);
                }
            }
            me.is_telling.set(false);
        });
    }

    async fn tell(&self, session_id: &str) -> Result<(), Error> {
        let Some(presence) = self.presence()? else { return Ok(()) };
        let said = self.ask(session_id, "presence", &json!({})).await?;
        let holds = said.is_some_and(|said| said.get("held") == Some(&Value::Bool(true)));
        self.change(|runner, _| {
            if let Some(runner) = runner {
                on_told(runner, session_id, presence.number);
                if !holds {
                    unbind(runner, session_id);
                }
            }
        })
    }
}
