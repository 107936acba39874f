//! A session: what the host wants, and what the agent says, one event after the other.

mod conversation;
mod credentials;
mod opening;
mod pushing;
mod questions;
mod saying;
mod stopping;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use mailbox::agent::{AgentMailbox as _, Inbound, NewAck, Step, UNREADABLE};
use mailbox::config::Config;
use mailbox::message::{AckStatus, Lane, Message, NewOutput, Phase, RuntimeState};
use mailbox::sweep::reasons;
use mailbox::{Error, FileAgent, due, fsafe, places};
use serde_json::Value;

use crate::acp::{self, Incoming};
use crate::agent::Agent;
use crate::arguments::Places;
use crate::awake::Awake;
use crate::chunks::Chunks;
use crate::failure::Failure;
use crate::push::Pushed;
use crate::tools::Tools;
use crate::{log, prompt, tree};

use credentials::Credentials;
use pushing::Pushing;
use questions::Questions;
use turn::Turn;

/// How often is cleaned up, and how often while there is no room.
const PRUNE: Duration = Duration::from_mins(1);
const PRUNE_FULL: Duration = Duration::from_secs(1);

/// The kind of a message that asks for a push.
const PUSH: &str = "push";

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The host may want something.
    Look,
    /// The agent said a line.
    Line {
        /// Which agent.
        number: u64,
        /// What.
        line: Vec<u8>,
    },
    /// The agent says nothing more.
    Ended {
        /// Which agent.
        number: u64,
    },
    /// Git asks for its credentials.
    Question {
        /// In git's words.
        question: String,
        /// Where the answer goes.
        tell: SyncSender<Vec<u8>>,
    },
    /// A push has ended.
    Pushed(Pushed),
    /// This process is to end.
    Stop,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

/// A session.
pub(crate) struct Session {
    mailbox: FileAgent,
    config: Config,
    places: Places,
    variables: BTreeMap<String, String>,
    events: Sender<Event>,
    received: Receiver<Event>,
    agent: Option<Agent>,
    started: u64,
    /// The agent's own session.
    open: Option<String>,
    /// Whether the agent can go on with a conversation.
    can_load: bool,
    /// When the conversation of the turn was last kept.
    kept_at: Instant,
    /// What was kept then, by its digest.
    kept_part: Option<String>,
    next_rpc: u64,
    /// Messages that were taken and are not begun: it is still to be seen whether somebody has taken them back meanwhile.
    taken: Vec<Message>,
    turn: Option<Turn>,
    pushing: Option<Pushing>,
    questions: Questions,
    credentials: Credentials,
    tools: Tools,
    chunks: Chunks,
    pending: Vec<NewOutput>,
    flush_at: Option<Instant>,
    state: RuntimeState,
    /// The first look after a start.
    first: bool,
    has_room: bool,
    idle_since: Instant,
    pruned: Instant,
    unreadable: Option<Instant>,
    host: (Option<i128>, Instant),
    awake: Awake,
}

impl Session {
    pub(crate) fn new(
        mailbox: FileAgent,
        config: Config,
        places: Places,
        variables: BTreeMap<String, String>,
        events: Sender<Event>,
        received: Receiver<Event>,
    ) -> Result<Self, Failure> {
        let awake = Awake::new();
        let state = RuntimeState { phase: Phase::Idle, ..RuntimeState::starting(config.generation) };
        let mut session = Self {
            mailbox,
            config,
            places,
            variables,
            events,
            received,
            agent: None,
            started: 0,
            open: None,
            can_load: false,
            kept_at: awake.now(),
            kept_part: None,
            next_rpc: 1,
            taken: Vec::new(),
            turn: None,
            pushing: None,
            questions: Questions::default(),
            credentials: Credentials::default(),
            tools: Tools::default(),
            chunks: Chunks::default(),
            pending: Vec::new(),
            flush_at: None,
            state,
            first: true,
            has_room: true,
            idle_since: awake.now(),
            pruned: awake.now(),
            unreadable: None,
            host: (None, awake.now()),
            awake,
        };
        session.void_of_others()?;
        session.tell_state()?;
        Ok(session)
    }

    /// Runs until there is nothing to do for long, or the host says so.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        // Ends with the session: each turn of the loop waits for an event or a deadline.
        loop {
            let wait = self.next_deadline().saturating_duration_since(self.awake.now());
            let flow = match self.received.recv_timeout(wait) {
                Ok(event) => self.on(event),
                Err(RecvTimeoutError::Timeout) => Ok(Flow::On),
                Err(RecvTimeoutError::Disconnected) => Ok(Flow::Over),
            };
            let flow = flow.and_then(|flow| self.on_time().map(|()| flow));
            match flow {
                Ok(Flow::On) => {}
                Ok(Flow::Over) => return self.stop(),
                Err(Failure::Mailbox(Error::Full)) => self.disk_full()?,
                Err(other) => return Err(other),
            }
        }
    }

    fn on(&mut self, event: Event) -> Result<Flow, Failure> {
        match event {
            Event::Stop => Ok(Flow::Over),
            Event::Look => self.look(),
            Event::Question { question, tell } => {
                self.ask_credentials(question, tell)?;
                Ok(Flow::On)
            }
            Event::Pushed(pushed) => {
                self.on_pushed(&pushed)?;
                // What waited for it is due.
                self.look()
            }
            Event::Line { number, line } => {
                if self.agent.as_ref().is_some_and(|agent| agent.number == number) {
                    self.on_line(&line)?;
                    let room = self.has_room;
                    if let Some(agent) = &mut self.agent {
                        agent.taken(line.len(), room);
                    }
                }
                Ok(Flow::On)
            }
            Event::Ended { number } => {
                if self.agent.as_ref().is_some_and(|agent| agent.number == number) {
                    self.on_agent_ended()?;
                }
                Ok(Flow::On)
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let second = self.awake.now() + Duration::from_secs(1);
        [self.flush_at, self.turn.as_ref().and_then(Turn::deadline)].into_iter().flatten().fold(second, Instant::min)
    }

    fn on_time(&mut self) -> Result<(), Failure> {
        let now = self.awake.now();
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush()?;
        }
        self.turn_on_time()?;
        self.keep_part_on_time()?;
        if now.saturating_duration_since(self.pruned) >= if self.has_room { PRUNE } else { PRUNE_FULL } {
            self.pruned = now;
            self.clean_up()?;
        }
        Ok(())
    }

    /// Looks into the host's file. Nothing when it cannot be read for now.
    fn look_inside(&mut self) -> Result<Option<Inbound>, Failure> {
        match self.mailbox.look(log::now()) {
            Ok(inbound) => {
                self.unreadable = None;
                Ok(Some(inbound))
            }
            Err(error) if error.is_passing() => {
                let since = *self.unreadable.get_or_insert_with(|| self.awake.now());
                if self.awake.since(since) > UNREADABLE { Err(Failure::Unreadable(error)) } else { Ok(None) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn look(&mut self) -> Result<Flow, Failure> {
        let Some(inbound) = self.look_inside()? else { return Ok(Flow::On) };
        let now = log::now();
        if inbound.control.stop_requested_at.is_some() {
            return Ok(Flow::Over);
        }
        for message in inbound.fresh.iter().filter(|message| message.lane == Lane::Control) {
            self.on_control(message)?;
        }
        self.on_interrupt(inbound.control.interrupt_seq)?;
        if !self.taken.is_empty() {
            return self.begin_taken();
        }
        if self.turn.is_some() || self.pushing.is_some() {
            return Ok(Flow::On);
        }
        if self.host_is_gone() {
            log::line("info", "orphaned", "no host has been here for long");
            return Ok(Flow::Over);
        }
        let batch: Vec<Message> = due::batch(&inbound.fresh, now, self.first).into_iter().cloned().collect();
        self.first = false;
        if !batch.is_empty() {
            let flow = self.take(batch)?;
            self.idle_since = self.awake.now();
            return Ok(flow);
        }
        if self.state.phase == Phase::RateLimited && self.state.until.is_none_or(|until| until <= now) {
            self.state.phase = Phase::Idle;
            self.state.until = None;
            self.tell_state()?;
        }
        if self.awake.since(self.idle_since) < Duration::from_millis(self.config.limits.idle_exit_ms) {
            return Ok(Flow::On);
        }
        // Said first, looked then: what came meanwhile is either seen here or finds a process that said that it ends.
        self.state.phase = Phase::Stopping;
        self.tell_state()?;
        if self.look_inside()?.is_some_and(|late| due::batch(&late.fresh, log::now(), false).is_empty()) {
            return Ok(Flow::Over);
        }
        self.state.phase = Phase::Idle;
        self.tell_state()?;
        self.idle_since = self.awake.now();
        Ok(Flow::On)
    }

    /// Whether no host has touched its bell for too long. Only changes count, on this machine's monotonic clock.
    fn host_is_gone(&mut self) -> bool {
        let seen =
            fsafe::folder(&self.places.inside).ok().and_then(|folder| fsafe::changed_at(&folder, places::DOORBELL));
        if seen != self.host.0 {
            self.host = (seen, self.awake.now());
        }
        self.awake.since(self.host.1) >= Duration::from_millis(self.config.limits.orphan_limit_ms)
    }

    fn take(&mut self, mut batch: Vec<Message>) -> Result<Flow, Failure> {
        // The command that ends the conversation is a turn of its own; what comes after it waits.
        let clears = |message: &Message| prompt::read(message).as_ref().is_some_and(prompt::clears);
        if let Some(place) = batch.iter().position(clears) {
            batch.truncate(place.max(1));
        }
        let Some(first) = batch.first().cloned() else { return Ok(Flow::On) };
        match first.kind.as_str() {
            "prompt" | "system" | PUSH => {
                let acks = batch.iter().map(|one| NewAck::of(one, AckStatus::Processing)).collect();
                self.commit(Step { acks, ..Step::default() })?;
                self.taken = batch;
                self.begin_taken()
            }
            "session.open" => self.open_as_asked(&first),
            "session.close" => {
                self.end_agent();
                self.acknowledge(&first, AckStatus::Completed, None)?;
                Ok(Flow::On)
            }
            _ => {
                self.acknowledge(&first, AckStatus::Failed, Some("unsupported"))?;
                Ok(Flow::On)
            }
        }
    }

    /// Begins what was taken and is still wanted. Taken first, and looked then: whoever takes it back does the same in the other order. While
    /// the host's file cannot be read it waits for the next look.
    fn begin_taken(&mut self) -> Result<Flow, Failure> {
        let mut gone = BTreeSet::new();
        for message in &self.taken {
            match self.mailbox.is_wanted(&message.id) {
                Ok(true) => {}
                Ok(false) => drop(gone.insert(message.id.clone())),
                Err(error) if error.is_passing() => return Ok(Flow::On),
                Err(error) => return Err(error.into()),
            }
        }
        let taken = std::mem::take(&mut self.taken);
        let (gone, wanted): (Vec<Message>, Vec<Message>) = taken.into_iter().partition(|one| gone.contains(&one.id));
        if !gone.is_empty() {
            let skipped = |one: &Message| NewAck::of(one, AckStatus::Skipped).because(reasons::CANCELLED);
            self.commit(Step { acks: gone.iter().map(skipped).collect(), ..Step::default() })?;
        }
        match wanted.first() {
            None => Ok(Flow::On),
            Some(push) if push.kind == PUSH => self.begin_push(push.clone()).map(|()| Flow::On),
            Some(_) => self.begin_turn(wanted),
        }
    }

    fn on_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let now = log::now();
        match acp::read(line) {
            Incoming::Told(envelope) => {
                let progress_was = self.state.progress_at.replace(now);
                let update = envelope.pointer("/params/update").cloned().unwrap_or_default();
                let tools_changed = self.tools.see(&update, &self.config.agent.declares_limits, now);
                for one in self.chunks.push(envelope) {
                    self.tell_update(one);
                }
                if tools_changed {
                    self.state = match self.tools.longest() {
                        Some(tool) => self.state.clone().with_tool(&tool.name, tool.limit_ms, tool.since),
                        None => self.state.clone().without_tool(),
                    };
                }
                if tools_changed || progress_was.is_none_or(|was| now - was > 1_000) {
                    self.flush()?;
                }
                self.flush_soon()
            }
            Incoming::Answer { id, outcome, envelope } => {
                if self.turn.as_ref().is_some_and(|turn| turn.rpc == id) {
                    return self.on_answer(outcome, envelope);
                }
                Ok(())
            }
            Incoming::Permission { rpc_id, params } => self.ask(rpc_id, &params),
            Incoming::Withdrawn(rpc_id) => self.withdraw(&rpc_id),
            Incoming::Unsupported(rpc_id) => {
                self.send(acp::unsupported(&rpc_id));
                Ok(())
            }
            Incoming::Nothing => Ok(()),
        }
    }

    /// Sends to the agent. One that does not read what it is sent is ended: its end is an event.
    fn send(&mut self, message: Value) {
        if let Some(agent) = &self.agent
            && !agent.send(message)
        {
            log::line("error", "agent-deaf", "the agent does not read what it is sent");
            tree::end_all();
        }
    }

    fn acknowledge(&mut self, message: &Message, status: AckStatus, error: Option<&str>) -> Result<(), Failure> {
        let ack = NewAck { error: error.map(str::to_owned), ..NewAck::of(message, status) };
        self.commit(Step { acks: vec![ack], ..Step::default() })
    }

    /// What is told and stored at the end.
    fn stop(&mut self) -> Result<(), Failure> {
        self.state.phase = Phase::Stopping;
        self.flush()?;
        self.tell_state()
    }

    /// No room is left: the turn ends, and its messages say why. When not even that can be stored, the process ends.
    fn disk_full(&mut self) -> Result<(), Failure> {
        log::line("error", "disk_full", "the disk is full");
        self.pending.clear();
        let _ = self.chunks.flush();
        self.flush_at = None;
        self.end_agent();
        self.state = RuntimeState { phase: Phase::Idle, ..self.state.clone() }.without_tool();
        let turn = self.turn.take();
        let messages = turn.map(|turn| turn.messages).unwrap_or_default();
        let acks = messages.iter().map(|one| NewAck::of(one, AckStatus::Failed).because("disk_full")).collect();
        self.commit(Step { acks, ..Step::default() })
    }

    /// The folder that the agent works in.
    fn cwd(&self) -> PathBuf {
        if self.config.agent.cwd.is_empty() { self.places.work.clone() } else { PathBuf::from(&self.config.agent.cwd) }
    }
}

#[cfg(test)]
mod tests;
