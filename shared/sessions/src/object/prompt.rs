//! An order goes to the agent: once (agents.md 3.8, B15, B59).

use std::rc::Rc;

use super::jobs::JobError;
use super::provision::Wanted;
use super::transcripts::note_opened;
use super::{Platform, Session};
use crate::acp::request::ResourceLink;
use crate::event::Draft;
use crate::legacy::Dialect;
use crate::runtime::{Prompt, Provider, Runtime, RuntimeError, Sent};
use crate::session::decide::{self, NotReached};
use crate::session::store::Rows;

/// How long the event stream may still bring the answer that came with the request, in milliseconds, and how often it is looked
/// whether it did.
const ANSWER_MS: u32 = 1_000;
const LOOK_MS: u32 = 25;
/// A token for the repository is made anew in a sandbox after so many milliseconds; it lives for an hour.
const TOKEN_MS: i64 = 50 * 60 * 1_000;

impl<P: Platform> Session<P> {
    /// Carries out the order of a turn, unless that is being done.
    pub(super) async fn prompt(self: &Rc<Self>, number: u64) -> Result<(), JobError> {
        if self.prompting.replace(Some(number)) == Some(number) {
            return Ok(());
        }
        let done = self.carry_out(number).await;
        if self.prompting.get() == Some(number) {
            self.prompting.set(None);
        }
        done
    }

    async fn carry_out(self: &Rc<Self>, number: u64) -> Result<(), JobError> {
        let order =
            self.look(|core| core.state.turn.as_ref().filter(|turn| turn.number == number).map(|turn| turn.order))?;
        let Some(order) = order else { return Ok(()) };
        if self.look(|core| core.state.is_at_desk())? {
            return Ok(self.lay_prompt(number).await?);
        }
        let text =
            Rows(self.platform.sql()).order(order).map_err(|error| crate::error::Error::Internal(error.to_string()))?;
        let (Some(text), Some(mut runtime)) = (text, self.bound()?) else {
            let error = RuntimeError::Failed("the message is gone".to_owned());
            self.change(|core, decide| decide::on_prompt_failed(&mut core.state, decide, number, &error))?;
            return Ok(());
        };
        if let Err(error) = self.wake(&mut runtime).await {
            self.change(|core, decide| decide::on_prompt_failed(&mut core.state, decide, number, &error))?;
            return Ok(());
        }
        // A limit of a day may have been used up elsewhere; what cannot be asked keeps nobody from working.
        if let Err(error) = self.ask_user_day().await {
            self.warn("agents/usage-not-asked", &error);
        }
        let Some(first) =
            self.change(|core, decide| decide::on_prepared(&mut core.state, decide, number, runtime.clone()))?
        else {
            return Ok(());
        };
        self.send(number, first, runtime, &text.message).await
    }

    /// Makes the runtime answer, with a session of the agent that is alive.
    async fn wake(self: &Rc<Self>, runtime: &mut Runtime) -> Result<(), RuntimeError> {
        let provider = self.platform.runtimes(runtime.provider);
        let is_old = runtime.github_token_at.is_none_or(|made| self.platform.now_ms().saturating_sub(made) >= TOKEN_MS);
        let mut wanted = self.wanted(runtime.sandbox_id.is_some() && is_old).await.map_err(failed)?;
        // A server that was started anew refuses the prompt, and gets a new session then.
        provider.wake(runtime, &wanted.wish()).await?;
        self.compare_tree(runtime).await.map_err(failed)?;
        if runtime.server_ended {
            if runtime.server_ended && runtime.runner_id.is_some() {
                self.take_runner_place(runtime).await?;
            }
            wanted.resume = self.conversation().await?;
            wanted.tools = self.offer_tools().map_err(failed)?;
            self.refresh(runtime, &wanted).await?;
        }
        self.attach_and_wait().await;
        Ok(())
    }

    /// Opens a new session of the agent; its event stream begins anew.
    async fn refresh(self: &Rc<Self>, runtime: &mut Runtime, wanted: &Wanted) -> Result<(), RuntimeError> {
        self.detach();
        self.platform.runtimes(runtime.provider).refresh(runtime, &wanted.wish()).await?;
        runtime.server_ended = false;
        let (bound, first_rpc_id) = (runtime.clone(), wanted.wish().first_rpc_id);
        self.change(|core, decide| {
            note_opened(core, decide, wanted.wish().resume, &bound, first_rpc_id);
            core.state.runtime = Some(bound);
            core.state.runtime_active = true;
            core.state.stale_until = core.last_event_id.as_deref().and_then(|id| id.parse().ok());
            core.state.first_rpc_id = first_rpc_id;
            core.last_event_id = None;
            core.progress = crate::legacy::Progress::default();
            core.turns.clear();
            core.dirty.texts = true;
        })
        .map_err(failed)
    }

    /// Sends the prompt under its number, and under another one if it demonstrably did not reach the agent.
    async fn send(self: &Rc<Self>, number: u64, first: u64, mut runtime: Runtime, text: &str) -> Result<(), JobError> {
        let mut rpc_id = first;
        // At most one more round: a turn is retried once.
        loop {
            // Which agent gets it decides whether it must be told the conversation.
            let whole = self.with_conversation(text.to_owned())?;
            let error = match self.post(&runtime, rpc_id, &whole).await? {
                Sent::Running => {
                    return Ok(self.change(|core, decide| decide::on_sent(&mut core.state, decide, number))?);
                }
                Sent::Streaming(stream) => {
                    self.change(|core, decide| decide::on_sent(&mut core.state, decide, number))?;
                    return self.listen(number, stream).await;
                }
                Sent::Ended(reason) => return self.answered(number, &reason).await,
                Sent::Failed(error) => {
                    self.change(|core, decide| decide::on_prompt_failed(&mut core.state, decide, number, &error))?;
                    return Ok(());
                }
                Sent::NotReached(error) => error,
            };
            let next = self.change(|core, decide| decide::on_not_reached(&mut core.state, decide, number, &error))?;
            if next != NotReached::Refresh {
                return Ok(());
            }
            let mut wanted = self.wanted(false).await?;
            let refreshed = match self.conversation().await {
                Ok(resume) => {
                    wanted.resume = resume;
                    wanted.tools = self.offer_tools()?;
                    self.refresh(&mut runtime, &wanted).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = refreshed {
                self.change(|core, decide| decide::on_not_reached(&mut core.state, decide, number, &error))?;
                return Ok(());
            }
            self.attach_and_wait().await;
            let again =
                self.change(|core, decide| decide::on_prepared(&mut core.state, decide, number, runtime.clone()))?;
            let Some(again) = again else { return Ok(()) };
            rpc_id = again;
        }
    }

    async fn post(
        &self,
        runtime: &Runtime,
        rpc_id: u64,
        text: &str,
    ) -> Result<Sent<<P::Runtimes as Provider>::Stream>, JobError> {
        let attachments =
            self.look(|core| if core.state.attachments_sent { Vec::new() } else { core.task.attachments() })?;
        let links: Vec<ResourceLink<'_>> = attachments.iter().map(|uri| ResourceLink::of_attachment(uri)).collect();
        let prompt = Prompt { rpc_id, text, links: &links };
        let limit = u32::try_from(self.times.prompt_post).unwrap_or(u32::MAX);
        Ok(self.platform.runtimes(runtime.provider).prompt(runtime, &prompt, limit).await)
    }

    /// The answer came with the request. The stream brings it too, after everything that was said; it ends the turn, unless it has
    /// nothing to say within a moment.
    async fn answered(&self, number: u64, reason: &str) -> Result<(), JobError> {
        self.change(|core, decide| decide::on_sent(&mut core.state, decide, number))?;
        let goes_on = || self.look(|core| core.state.turn.as_ref().is_some_and(|turn| turn.number == number));
        let mut waited = 0;
        while waited < ANSWER_MS && goes_on()? {
            self.platform.sleep_ms(LOOK_MS).await;
            waited = waited.saturating_add(LOOK_MS);
        }
        self.change(|core, decide| {
            let Some(turn) = core.state.turn.as_ref().filter(|turn| turn.number == number) else { return };
            let (rpc_id, session) = (turn.rpc_id, turn.runtime_session_id.clone());
            let message = session.as_deref().and_then(|session| core.turns.finish(session));
            let turn = message.map(|(turn, message)| {
                decide.append(&mut core.state, message);
                turn
            });
            core.dirty.texts = true;
            decide::on_turn_ended(&mut core.state, decide, rpc_id, reason, turn, session.as_deref());
            // The stream's own answer, should it come, ends no other turn.
            core.state.stopped_rpc_ids.extend(rpc_id);
        })?;
        Ok(())
    }

    /// Takes in the stream of a turn of the older dialect. Its end is the end of the turn, unless the agent waits for a decision: then
    /// the rest is asked for.
    async fn listen(self: &Rc<Self>, number: u64, stream: <P::Runtimes as Provider>::Stream) -> Result<(), JobError> {
        self.listening.set(true);
        let taken = self.take_in(stream, Dialect::Legacy).await;
        self.listening.set(false);
        if taken.is_ok() && self.look(|core| core.state.approvals.iter().any(|approval| approval.turn == number))? {
            return self.follow(number).await;
        }
        self.change(|core, decide| {
            let Some(turn) = core.state.turn.as_ref().filter(|turn| turn.number == number) else { return };
            let (rpc_id, session) = (turn.rpc_id, turn.runtime_session_id.clone());
            if let Err(error) = &taken {
                let id = core.state.id.clone();
                let draft = Draft::runtime_error(&id, &error.to_string(), error.reason());
                decide.append(&mut core.state, draft);
            }
            decide::on_turn_ended(&mut core.state, decide, rpc_id, "end_turn", None, session.as_deref());
        })?;
        Ok(())
    }
}

/// Between two questions for what an agent of the older dialect has said since, in milliseconds.
const FOLLOW_MS: u32 = 1_000;

impl<P: Platform> Session<P> {
    /// After a start of the object: what the agent of the older dialect says is asked for, where a turn goes on that nobody listens to.
    pub(super) async fn follow_again(self: Rc<Self>) {
        let turn = self.look(|core| {
            let is_older = core.state.runtime.as_ref().is_some_and(|runtime| runtime.dialect == Dialect::Legacy);
            core.state.turn.as_ref().filter(|turn| is_older && turn.is_with_agent()).map(|turn| turn.number)
        });
        let is_heard = self.listening.get();
        if let (Ok(Some(number)), false) = (turn, is_heard)
            && let Err(error) = self.follow(number).await
        {
            self.warn("agents/work-failed", &error);
        }
    }

    /// Asks an agent of the older dialect again and again what it has said, until its turn is over. The watchdog ends a turn in which
    /// nothing comes.
    pub(super) async fn follow(self: &Rc<Self>, number: u64) -> Result<(), JobError> {
        if self.following.replace(Some(number)) == Some(number) {
            return Ok(());
        }
        let goes_on = || self.look(|core| core.state.turn.as_ref().is_some_and(|turn| turn.number == number));
        while goes_on()? {
            let Some(runtime) = self.bound()? else { break };
            let after = self.look(|core| core.progress.sequence)?.to_string();
            let kept = self.platform.runtimes(runtime.provider).open_stream(&runtime, Some(&after)).await;
            if let Ok(kept) = kept {
                // What broke off is asked for again.
                let _ = self.take_in(kept, Dialect::Legacy).await;
            }
            self.platform.sleep_ms(FOLLOW_MS).await;
        }
        self.following.set(None);
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn failed(error: crate::error::Error) -> RuntimeError {
    RuntimeError::Failed(error.to_string())
}
