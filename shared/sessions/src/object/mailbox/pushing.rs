//! A push that a runner carries out (session-mailbox.md 7.4): laid on the desk, and waited for by whoever publishes.

use serde_json::{Value, json};

use super::at_desk;
use crate::command::{Lease, Push};
use crate::mailbox::desk::{self, NewItem};
use crate::object::core::Core;
use crate::object::{Platform, Session};
use crate::publish::{FailureClass, PushReport, classify};
use crate::runtime::PushError;

/// Between two looks whether the runner has pushed, in milliseconds, and how long that is waited for.
const LOOK_MS: u32 = 100;
const PUSH_MS: i64 = 180_000;
/// What a runner says that cannot push.
const NOT_SUPPORTED: &str = "not supported";

/// A push that somebody waits for.
#[derive(Debug)]
pub(crate) struct AwaitedPush {
    id: String,
    done: Option<Done>,
}

#[derive(Debug)]
struct Done {
    ok: bool,
    reason: String,
    output: String,
}

/// The runner has pushed, or not. One that nobody waits for any more changes nothing.
pub(super) fn on_done(core: &mut Core, push_id: &str, ok: bool, reason: Option<String>, output: Option<String>) {
    if let Some(push) = core.push.as_mut().filter(|push| push.id == push_id) {
        push.done = Some(Done { ok, reason: reason.unwrap_or_default(), output: output.unwrap_or_default() });
    }
}

/// Whatever the runner had begun counts no more.
pub(super) fn on_holder_changed(core: &mut Core) {
    if let Some(push) = core.push.as_mut().filter(|push| push.done.is_none()) {
        push.done = Some(Done { ok: false, reason: "runner-changed".to_owned(), output: String::new() });
    }
}

fn body(id: &str, push: &Push<'_>) -> Value {
    let expected = push.force.map(|lease| match lease {
        Lease::At(commit) => commit.as_str(),
        Lease::Absent => "",
    });
    json!({
        "push-id": id,
        "head-branch": push.head.as_str(),
        "force": push.force.is_some(),
        "expected": expected,
        "commit-message": push.message,
        "remote": push.repository.remote_url(),
    })
}

fn failed(class: FailureClass, text: &dyn std::fmt::Display) -> PushError {
    PushError { class, text: text.to_string() }
}

impl<P: Platform> Session<P> {
    /// Pushes what stands at the runner. Git asks for its credentials there; the token of the push stays here.
    pub(in crate::object) async fn push_at_desk(&self, push: &Push<'_>) -> Result<Option<PushReport>, PushError> {
        let unknown = |error: crate::error::Error| failed(FailureClass::Unknown, &error);
        let id = self.platform.random_uuid().to_string();
        self.lay_push(&id, push).map_err(unknown)??;
        let until = self.platform.now_ms().saturating_add(PUSH_MS);
        while self.platform.now_ms() < until {
            if let Some(done) = self.look_for_push(&id).map_err(unknown)?? {
                return read(&done, push);
            }
            self.platform.sleep_ms(LOOK_MS).await;
        }
        self.take_push_back(&id).map_err(unknown)?;
        Err(failed(FailureClass::Unknown, &"the runner did not push in time"))
    }

    fn lay_push(&self, id: &str, push: &Push<'_>) -> Result<Result<(), PushError>, crate::error::Error> {
        let new_id = || self.platform.random_uuid().to_string();
        let item = NewItem::new(id, body(id, push).to_string());
        self.change(|core, decide| {
            if core.state.holder().is_some_and(|holder| holder.outage.is_some()) {
                return Err(failed(FailureClass::Unknown, &"the runner is not there"));
            }
            let laid = at_desk(core, decide, &new_id, |desk, at| desk::push(desk, at, item));
            laid.unwrap_or(Err(desk::NotTaken::NotHeld)).map_err(|why| failed(FailureClass::Unknown, &why))?;
            core.push = Some(AwaitedPush { id: id.to_owned(), done: None });
            Ok(())
        })
    }

    /// What came of the push, once something did.
    fn look_for_push(&self, id: &str) -> Result<Result<Option<Done>, PushError>, crate::error::Error> {
        self.change(|core, _| match &mut core.push {
            Some(push) if push.id == id => {
                let done = push.done.take();
                if done.is_some() {
                    core.push = None;
                }
                Ok(done)
            }
            // The session was read anew since.
            _ => Err(failed(FailureClass::Unknown, &"the push was interrupted")),
        })
    }

    fn take_push_back(&self, id: &str) -> Result<(), crate::error::Error> {
        let new_id = || self.platform.random_uuid().to_string();
        self.change(|core, decide| {
            core.push.take_if(|push| push.id == id);
            at_desk(core, decide, &new_id, |desk, at| desk::take_push_back(desk, at, id));
        })
    }
}

fn read(done: &Done, push: &Push<'_>) -> Result<Option<PushReport>, PushError> {
    if done.ok {
        return Ok(PushReport::parse(&done.output, push.head));
    }
    if done.reason == NOT_SUPPORTED {
        return Err(failed(FailureClass::Unsupported, &"the runner does not push"));
    }
    let class = classify("", &done.reason, &done.output, push.force.is_some());
    let text = if done.reason.is_empty() { &done.output } else { &done.reason };
    Err(failed(class, text))
}
