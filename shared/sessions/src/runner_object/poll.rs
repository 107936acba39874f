//! Work for the runner (session-mailbox.md 7.4, 7.5): acknowledgements are passed on, items fetched, the rest waited for.

use std::collections::BTreeMap;

use futures_channel::oneshot;
use futures_util::future::select;
use serde_json::{Value, json};

use super::answers::{Answered, Refused, ok};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::desk::AckResult;
use crate::mailbox::runner::{Poll as Next, Runner, Woken, on_answered, on_fetched, unbind};
use crate::mailbox::{answer, limits};
use crate::request::mailbox::{Leases, Poll, SessionAck};

impl<P: Platform> RunnerObject<P> {
    pub(super) async fn poll(&self, poll: Poll) -> Answered {
        let began_at = self.platform.now_ms();
        if poll.active_sessions.is_some() {
            self.active.set(poll.active_sessions);
        }
        let number = self.waiting.borrow_mut().begin();
        // Whoever waits for an earlier request is woken, and finds that it is not the last any more.
        self.wake();
        self.pass_on(poll.acks).await?;
        let answered = self.wait(number, began_at, poll.wait_ms, poll.max_items).await?;
        self.change(|runner, decide| {
            if let Some(runner) = runner {
                on_answered(runner, decide);
            }
        })?;
        Ok(answered)
    }

    /// Each round either answers, fetches what sessions said they have, or waits until something changes.
    async fn wait(&self, number: u64, began_at: i64, asked_ms: i64, most: usize) -> Result<answer::Answer, Refused> {
        loop {
            let now = self.platform.now_ms();
            let next = self.look(|runner| {
                let waiting = self.waiting.borrow();
                runner.map(|runner| waiting.next(runner, &self.times, number, began_at, asked_ms, now))
            })?;
            match next.unwrap_or(Next::Answer(Woken::Revoked)) {
                Next::Answer(woken) => return Ok(woken.answer(now)),
                Next::Fetch => {
                    let items = self.fetch(most).await?;
                    if !items.is_empty() {
                        return Ok((http::StatusCode::OK, answer::items(&items, self.platform.now_ms())));
                    }
                }
                Next::Wait(until) => self.sleep(until.saturating_sub(now)).await,
            }
        }
    }

    /// Waits until something changes, or so many milliseconds.
    async fn sleep(&self, ms: i64) {
        let (sender, receiver) = oneshot::channel();
        self.sleepers.borrow_mut().push(sender);
        let pause = self.platform.sleep_ms(u32::try_from(ms.max(0)).unwrap_or(u32::MAX));
        select(receiver, Box::pin(pause)).await;
    }

    /// Items of the sessions that said they have work, each in its turn.
    async fn fetch(&self, most: usize) -> Result<Vec<Value>, Error> {
        let known = self.look(|runner| {
            let with_work = runner.into_iter().flat_map(Runner::with_work);
            with_work.map(|(id, bound)| (id.to_owned(), bound.rings)).collect::<Vec<_>>()
        })?;
        let mut sessions = known;
        let from = self.turn.get().checked_rem(sessions.len()).unwrap_or_default();
        self.turn.set(from.saturating_add(1));
        sessions.rotate_left(from);
        let (mut items, mut bytes) = (Vec::new(), limits::MAX_ANSWER_BYTES);
        // The sessions that are bound.
        for (session_id, rings) in sessions {
            let left = most.saturating_sub(items.len());
            if left == 0 || bytes == 0 {
                break;
            }
            let asked = json!({"max-items": left, "max-bytes": bytes});
            let said = match self.ask(&session_id, "fetch", &asked).await {
                Ok(said) => said,
                Err(error) => {
                    // It says again that it has work.
                    self.warn("agents/work-not-fetched", &error);
                    self.fetched(&session_id, rings)?;
                    continue;
                }
            };
            let Some(said) = said.filter(|said| said.get("held") == Some(&Value::Bool(true))) else {
                self.change(|runner, _| runner.as_mut().map(|runner| unbind(runner, &session_id)))?;
                continue;
            };
            let given = said.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            bytes = bytes.saturating_sub(given.iter().map(|item| item.to_string().len()).sum());
            items.extend(given);
            if said.get("more") != Some(&Value::Bool(true)) {
                self.fetched(&session_id, rings)?;
            }
        }
        Ok(items)
    }

    fn fetched(&self, session_id: &str, rings: u64) -> Result<(), Error> {
        self.change(|runner, _| {
            if let Some(runner) = runner {
                on_fetched(runner, session_id, rings);
            }
        })
    }

    /// Passes acknowledgements on to their sessions. Those of sessions that have gone are ignored.
    pub(super) async fn pass_on(&self, acks: Vec<SessionAck>) -> Result<(), Error> {
        let mut by_session: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for SessionAck { session_id, ack } in acks {
            let (result, error) = match ack.result {
                AckResult::Stored => ("stored", None),
                AckResult::Refused(why) => ("refused", Some(why)),
            };
            let mut ack =
                json!({"session-id": session_id, "item-id": ack.item_id, "work-seq": ack.work_seq, "result": result});
            if let (Some(members), Some(error)) = (ack.as_object_mut(), error) {
                members.insert("error".to_owned(), error.into());
            }
            by_session.entry(session_id).or_default().push(ack);
        }
        // Bounded by the acknowledgements of one request.
        for (session_id, acks) in by_session {
            self.ask(&session_id, "acks", &json!({"acks": acks})).await?;
        }
        Ok(())
    }

    pub(super) async fn renew(&self, leases: Leases) -> Answered {
        if leases.active_sessions.is_some() {
            self.active.set(leases.active_sessions);
        }
        let mut sessions = Vec::new();
        // Bounded by what one request may list.
        for asked in leases.sessions {
            let (run, attempt) = asked.token_for.unzip();
            let body = json!({"lease": asked.lease, "run": run, "attempt": attempt});
            let said = self.ask(&asked.session_id, "lease", &body).await?;
            let lost = || json!({"session-id": asked.session_id, "state": "lost"});
            sessions.push(said.unwrap_or_else(lost));
        }
        ok(json!({"sessions": sessions, "server-time": self.platform.now_ms()}))
    }
}
