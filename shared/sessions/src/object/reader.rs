//! What the agent says: its event stream is read, taken in, and opened again (agents.md 3.10).

use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::{AbortHandle, Abortable, select};
use serde_json::Value;
use web::Incoming;

use super::core::Core;
use super::{Platform, Session};
use crate::acp::{Step, read_frame, translate, usage};
use crate::event::Draft;
use crate::legacy::{self, Dialect};
use crate::runtime::{Provider, Runtime, RuntimeError};
use crate::session::decide::{self, Decide, Policy};
use crate::session::{Effect, Job};
use crate::sse;

/// Bytes of a stream after which others have their turn: an isolate has many sessions and one thread, and a runtime may talk without end.
const TURN_BYTES: usize = 64 << 10;
/// How long a prompt waits for the stream to be opened, in milliseconds.
const OPENING_MS: u32 = 1_000;

/// The reader of a stream. One at a time; giving it up closes the connection (B18).
pub(super) struct Reader {
    id: u64,
    abort: AbortHandle,
    is_open: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl<P: Platform> Session<P> {
    /// Closes the stream.
    pub(super) fn detach(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.abort.abort();
        }
    }

    /// Makes sure that the stream is being read.
    pub(super) fn attach(self: &Rc<Self>) {
        self.attach_after(0, 0);
    }

    /// Makes sure that the stream is being read, and waits a little for it to be open.
    pub(super) async fn attach_and_wait(self: &Rc<Self>) {
        self.attach();
        let opened = {
            let mut reader = self.reader.borrow_mut();
            let Some(reader) = reader.as_mut().filter(|reader| !reader.is_open) else { return };
            let (sender, receiver) = oneshot::channel();
            reader.waiting.push(sender);
            receiver
        };
        // Whether it is open, has failed or takes long: the prompt is sent.
        select(opened, Box::pin(self.platform.sleep_ms(OPENING_MS))).await;
    }

    /// Begins to read after a pause, unless somebody reads.
    fn attach_after(self: &Rc<Self>, pause_ms: i64, failures: u32) {
        if self.reader.borrow().is_some() {
            return;
        }
        let bound = self.look(|core| {
            let runtime = core.state.runtime.clone().filter(|_| !core.state.status.is_terminal());
            runtime.filter(|runtime| !runtime.server_ended && runtime.dialect == Dialect::Acp && !runtime.is_mailbox())
        });
        let Ok(Some(runtime)) = bound else { return };
        let id = self.next_reader();
        let (abort, registration) = AbortHandle::new_pair();
        *self.reader.borrow_mut() = Some(Reader { id, abort, is_open: false, waiting: Vec::new() });
        let me = Rc::clone(self);
        self.platform.spawn(async move {
            let reading = async {
                if pause_ms > 0 {
                    me.platform.sleep_ms(u32::try_from(pause_ms).unwrap_or(u32::MAX)).await;
                }
                me.read(id, &runtime).await
            };
            let Ok(end) = Abortable::new(reading, registration).await else { return };
            me.has_ended(id, &runtime, &end, failures);
        });
    }

    async fn read(self: &Rc<Self>, id: u64, runtime: &Runtime) -> Result<bool, RuntimeError> {
        let last = self.look(|core| core.last_event_id.clone()).ok().flatten();
        let provider = self.platform.runtimes(runtime.provider);
        let stream = provider.open_stream(runtime, last.as_deref()).await?;
        if let Some(reader) = self.reader.borrow_mut().as_mut().filter(|reader| reader.id == id) {
            reader.is_open = true;
            for waiting in reader.waiting.drain(..) {
                // Whoever waited may have gone on.
                let _ = waiting.send(());
            }
        }
        self.take_in(stream, Dialect::Acp).await
    }

    /// Takes in a stream to its end. Whether anything came.
    pub(super) async fn take_in(
        self: &Rc<Self>,
        mut stream: impl Incoming,
        dialect: Dialect,
    ) -> Result<bool, RuntimeError> {
        let mut parser = sse::Parser::new(sse::MAX_FRAME_BYTES);
        let mut came = false;
        let mut bytes = 0_usize;
        // Each round takes in one chunk; a frame is bounded by the parser, and what is kept of it by the log.
        while let Some(chunk) = stream.chunk().await.map_err(|failure| RuntimeError::Failed(failure.0))? {
            came = true;
            let mut input = chunk.as_slice();
            let mut frames = Vec::new();
            while let Some(frame) = parser.read(&mut input) {
                frames.push(frame);
            }
            if !frames.is_empty() {
                let taken = self.change(|core, decide| {
                    take_frames(core, decide, frames, dialect, &|| self.platform.random_uuid().to_string());
                });
                taken.map_err(|error| RuntimeError::Failed(error.to_string()))?;
            }
            self.grows(chunk.len());
            bytes = bytes.saturating_add(chunk.len());
            if bytes >= TURN_BYTES {
                bytes = 0;
                self.platform.sleep_ms(0).await;
            }
        }
        Ok(came)
    }

    /// The stream has ended. It is opened again while a turn goes on.
    fn has_ended(self: &Rc<Self>, id: u64, runtime: &Runtime, end: &Result<bool, RuntimeError>, failures: u32) {
        let was_current = {
            let mut reader = self.reader.borrow_mut();
            let is_current = reader.as_ref().is_some_and(|reader| reader.id == id);
            if is_current {
                *reader = None;
            }
            is_current
        };
        if !was_current {
            return;
        }
        let failures = if matches!(end, Ok(true)) { 0 } else { failures.saturating_add(1) };
        let told = self.change(|core, decide| {
            let same = core.state.runtime.as_ref().is_some_and(|now| now.session_id == runtime.session_id);
            if !same || core.state.status.is_terminal() {
                return false;
            }
            let is_being_killed = core.state.turn.as_ref().is_some_and(crate::session::Turn::is_being_killed);
            match end {
                Err(RuntimeError::SandboxMissing(text)) => decide::on_runtime_lost(&mut core.state, decide, text),
                // A turn that goes on is told once; the next attempts are silent.
                Err(error) if failures <= 1 && !is_being_killed => {
                    let id = core.state.id.clone();
                    let draft = Draft::runtime_error(&id, &error.to_string(), error.reason());
                    decide.append(&mut core.state, draft);
                }
                _ => {}
            }
            core.state.turn.as_ref().is_some_and(crate::session::Turn::is_with_agent)
        });
        if told.unwrap_or(false) {
            self.attach_after(self.times.reattach(failures.saturating_sub(1)), failures);
        }
    }
}

/// Takes in frames in their order, as one change.
fn take_frames(
    core: &mut Core,
    decide: &mut Decide<'_>,
    frames: Vec<Result<sse::Event, sse::Error>>,
    dialect: Dialect,
    new_id: &dyn Fn() -> String,
) {
    for frame in frames {
        let (id, data) = match frame {
            Ok(event) => (event.id, Some(event.data)),
            Err(sse::Error::FrameTooLarge { id, .. }) => (id, None),
        };
        let envelope = data.as_deref().map(read_frame);
        let is_old = dialect == Dialect::Acp
            && (is_old(core, id.as_deref(), envelope.as_ref())
                || is_stale(core, id.as_deref(), envelope.as_ref())
                || is_told_again(core, envelope.as_ref()));
        if let Some(id) = id {
            core.last_event_id = Some(id);
        }
        if is_old {
            continue;
        }
        match envelope {
            Some(Ok(Some(envelope))) => take_envelope(core, decide, envelope, dialect, new_id),
            Some(Ok(None)) => {}
            Some(Err(_)) | None => {
                let id = core.state.id.clone();
                let text = "a frame of the runtime is too large";
                decide.append(&mut core.state, Draft::runtime_error(&id, text, Some("frame-too-large")));
            }
        }
    }
}

/// Whether a frame was taken in before: its number is not beyond the last one (B21). An answer to the prompt that goes on is always
/// new, because its number is: then the agent's server has begun to count anew.
fn is_old(core: &Core, id: Option<&str>, envelope: Option<&Result<Option<Value>, crate::acp::FrameTooLarge>>) -> bool {
    let number = |id: &str| id.parse::<u64>().ok();
    let (Some(id), Some(last)) = (id.and_then(number), core.last_event_id.as_deref().and_then(number)) else {
        return false;
    };
    let answers = match envelope {
        Some(Ok(Some(envelope))) => envelope.get("id").and_then(Value::as_u64),
        _ => None,
    };
    let current = core.state.turn.as_ref().and_then(|turn| turn.rpc_id);
    id <= last && (answers.is_none() || answers != current)
}

/// Whether a frame was told before a new session of the agent was opened. A server that goes on tells all of its frames again; one that
/// was started anew counts from the beginning, and what it tells belongs to the new session.
fn is_stale(
    core: &mut Core,
    id: Option<&str>,
    envelope: Option<&Result<Option<Value>, crate::acp::FrameTooLarge>>,
) -> bool {
    let (Some(until), Some(id)) = (core.state.stale_until, id.and_then(|id| id.parse::<u64>().ok())) else {
        return false;
    };
    if id > until {
        core.state.stale_until = None;
        return false;
    }
    let Some(Ok(Some(envelope))) = envelope else { return true };
    let speaker = envelope.get("params").and_then(|params| params.get("sessionId")).and_then(Value::as_str);
    let answers = envelope.get("id").and_then(Value::as_u64).filter(|_| envelope.get("method").is_none());
    let present = core.state.runtime.as_ref().map(|runtime| runtime.session_id.as_str());
    let is_ours = (speaker.is_some() && speaker == present) || answers.is_some_and(|id| id >= core.state.first_rpc_id);
    !is_ours
}

/// Whether a frame belongs to a conversation that the agent has loaded and tells again: everything before its answer to the loading,
/// and that answer. An answer to a later request means that it was missed.
fn is_told_again(core: &mut Core, envelope: Option<&Result<Option<Value>, crate::acp::FrameTooLarge>>) -> bool {
    let Some(loading) = core.state.transcript.replay_until else { return false };
    let answers = match envelope {
        Some(Ok(Some(envelope))) if envelope.get("method").is_none() => envelope.get("id").and_then(Value::as_u64),
        _ => None,
    };
    if answers.is_some_and(|id| id >= loading) {
        core.state.transcript.replay_until = None;
    }
    answers.is_none_or(|id| id <= loading)
}

pub(super) fn take_envelope(
    core: &mut Core,
    decide: &mut Decide<'_>,
    envelope: Value,
    dialect: Dialect,
    new_id: &dyn Fn() -> String,
) {
    let session = core.state.id.clone();
    let speaker = envelope.get("params").and_then(|params| params.get("sessionId")).and_then(Value::as_str);
    let speaker = speaker.map(str::to_owned);
    let usage = usage(&envelope);
    let steps = match dialect {
        Dialect::Acp => translate(&mut core.turns, &session, envelope, decide.now),
        Dialect::Legacy => {
            let is_codex = core.task.launch().agent.as_deref() == Some("codex");
            legacy::translate(&mut core.progress, &mut core.turns, envelope, is_codex)
        }
    };
    decide::on_heard(&mut core.state, decide, speaker.as_deref());
    if let Some(report) = usage {
        decide::on_usage(&mut core.state, decide, speaker.as_deref(), &report);
    }
    for step in steps {
        take_step(core, decide, step, new_id);
    }
}

fn take_step(core: &mut Core, decide: &mut Decide<'_>, step: Step, new_id: &dyn Fn() -> String) {
    let state = &mut core.state;
    match step {
        Step::Store(draft) => decide.append(state, draft),
        Step::Stream(draft) => decide.effects.extend(core.pieces.pass(draft, &core.redactor).map(Effect::Show)),
        Step::TurnEnded { rpc_id, runtime_session_id, stop_reason, turn } => {
            core.pieces.clear();
            let rpc_id = rpc_id.as_ref().and_then(Value::as_u64);
            decide::on_turn_ended(state, decide, rpc_id, &stop_reason, turn, runtime_session_id.as_deref());
        }
        Step::Answered { rpc_id, failure: Some(failure) } => {
            let rpc_id = rpc_id.as_ref().and_then(Value::as_u64);
            let turn = state.turn.as_ref().filter(|turn| rpc_id.is_some() && turn.rpc_id == rpc_id);
            if let Some(number) = turn.map(|turn| turn.number) {
                let error = RuntimeError::Failed(format!("ACP request failed: {failure}"));
                decide::on_prompt_failed(state, decide, number, &error);
            }
        }
        Step::Answered { failure: None, .. } => {}
        Step::Permission { reply_to, request } => {
            let policy = request.as_ref().map_or(Policy::Deny, |request| Policy::of(&core.task, request));
            decide::on_permission(state, decide, &new_id(), reply_to, request, policy);
        }
        Step::Withdrawn { reply_to } => decide::on_withdrawn(state, decide, &reply_to),
        Step::Unsupported { reply_to } => {
            decide.effects.push(Effect::Start(Job::Tell(crate::acp::request::method_not_found(&reply_to))));
        }
        Step::AgentExited { .. } => decide::on_agent_gone(state, decide),
        Step::Completed => decide::on_task_completed(state, decide),
        Step::Canceled => decide::on_task_canceled(state, decide),
    }
}
