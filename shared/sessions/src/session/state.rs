//! What a session is, between two things that happen to it. Pure data; [`super::decide`] changes it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Status;
use super::budget::{Budget, Usage};
use crate::acp::PermissionRequest;
use crate::mailbox::desk::{Desk, Holder};
use crate::runtime::{Building, Runtime};

/// A piece of work that goes on outside, with the time at which it counts as lost (agents.md 3.14, B60). What comes back under
/// another generation is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// Which work it is.
    pub generation: u64,
    /// When it counts as lost, in milliseconds since 1970.
    pub until: i64,
}

/// A runtime is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provisioning {
    /// The work.
    pub lease: Lease,
    /// Its hard end, whatever steps are taken.
    pub deadline: i64,
    /// Whether orders made it begin: then a failure is told as an event. Else a request waits for the outcome.
    pub for_orders: bool,
}

/// A template is being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// What is built.
    pub building: Building,
    /// When it is looked at next.
    pub poll_at: i64,
    /// Its hard end.
    pub deadline: i64,
}

/// Why a turn is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopCause {
    /// A person interrupted it.
    Interrupt,
    /// The session is cancelled; its runtime is ended afterwards.
    Cancel,
    /// It was silent for too long, or an answer could not be delivered.
    Watchdog,
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The runtime is being woken; the agent has got nothing.
    Preparing,
    /// The prompt is about to be sent, or was: from here on it is never sent again.
    Sending,
    /// The agent has the prompt.
    Running,
    /// The prompt lies ready for a runner that calls us; its desk says for how long (session-mailbox.md 7.4).
    Waiting,
    /// The agent was asked to stop.
    Stopping(StopCause),
    /// The agent did not heed it and is being killed.
    Killing(StopCause),
}

/// The prompt that the agent works on. There is one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Turn {
    /// Which it is, among all of the session.
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// The order that it carries out. Its row stays until the agent has the prompt.
    pub order: u64,
    /// The prompt's number among the requests to the agent.
    pub rpc_id: Option<u64>,
    /// The agent's session.
    pub runtime_session_id: Option<String>,
    /// When its phase has lasted too long; for a running turn the end of the silence that is borne.
    pub until: i64,
    /// Whether a second way was tried already: a new session of the agent, another runner.
    pub retried: bool,
    /// Whether somebody wants it to stop although the agent does not have it yet.
    pub unwanted: bool,
    /// What the prompt is called at the desk of a runner that calls us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

impl Turn {
    /// Whether its agent is being killed: then the kill alone tells how it ended. Broken connections and the agent's last words
    /// come before that, or after it.
    pub fn is_being_killed(&self) -> bool {
        matches!(self.phase, Phase::Killing(_))
    }

    /// Whether the agent has the prompt, or may have it.
    pub fn is_with_agent(&self) -> bool {
        self.phase != Phase::Preparing
    }
}

/// A runtime is being ended: its sandbox paused, its server deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ending {
    /// The work.
    pub lease: Lease,
    /// How often it failed.
    pub attempt: u32,
    /// Whether it waits for the next try.
    pub waiting: bool,
    /// Whether a sandbox is removed, not paused.
    #[serde(default)]
    pub for_good: bool,
}

/// The session is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Removal {
    /// How often it failed.
    pub attempt: u32,
    /// When it is tried again.
    pub retry_at: i64,
}

/// A terminal that somebody looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpenTerminal {
    /// Its process in the sandbox.
    pub pid: u32,
    /// Who opened it.
    pub by: String,
    /// The sandbox.
    pub sandbox_id: Option<String>,
}

/// Where a session was moved to by a person: from then on its runtimes are made there (session-mailbox.md 7.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MovedTo {
    /// Who makes them.
    pub provider: crate::runtime::ProviderKind,
    /// On which machine; none for any.
    pub runner_id: Option<String>,
}

/// A session is leaving its runtime for another one. Whatever it leaves has a deadline: its desk, or the end of its runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moving {
    /// Where it was, as viewers are told.
    pub from: Value,
    /// Where it was moved to before.
    pub previous: Option<MovedTo>,
}

/// Notifications of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notices {
    /// The hour, counted from 1970.
    pub hour: i64,
    /// How many there were.
    pub count: u32,
}

/// What a person does with an open approval, or the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    /// Nobody has decided.
    Open,
    /// Decided; the answer has not reached the agent yet.
    Decided,
    /// Nothing is to be done any more.
    Closed,
}

/// A tool of the agent that waits for a decision (agents.md 18.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Approval {
    /// Our name of it.
    pub request_id: String,
    /// The agent's name of it.
    pub reply_to: Value,
    /// The turn.
    pub turn: u64,
    /// What is asked.
    pub request: PermissionRequest,
    /// How far it is.
    pub state: ApprovalState,
    /// When it is denied.
    pub deadline: i64,
    /// The answer that was decided: an option, or none for a cancellation.
    pub option_id: Option<String>,
    /// How often the answer could not be delivered.
    pub attempts: u32,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct State {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// Since when, in milliseconds since 1970; none for a session that has stood there since earlier versions, or its creation.
    #[serde(default)]
    pub status_since: Option<i64>,
    /// Who created it.
    pub requested_by: String,
    /// When it was created, in milliseconds since 1970.
    pub created_at: i64,
    /// The runtime that it is bound to.
    pub runtime: Option<Runtime>,
    /// Whether the runtime costs something: it was neither paused nor ended.
    pub runtime_active: bool,
    /// The next number for requests to the agent.
    pub next_rpc_id: u64,
    /// The next generation of work.
    pub next_generation: u64,
    /// The number of the next order.
    pub next_order: u64,
    /// Turns that were begun.
    pub turns: u64,
    /// The turn that goes on.
    pub turn: Option<Turn>,
    /// A runtime is being made.
    pub provisioning: Option<Provisioning>,
    /// A template is being built.
    pub build: Option<Build>,
    /// The runtime is being ended.
    pub ending: Option<Ending>,
    /// A branch is being published.
    pub publishing: Option<Lease>,
    /// A snapshot is being taken.
    pub snapshotting: Option<Lease>,
    /// Orders wait for a person: no runtime could be had for them.
    pub stalled: bool,
    /// After a new session of the agent was opened: up to which number frames may be old ones that its server tells again.
    #[serde(default)]
    pub stale_until: Option<u64>,
    /// The first number of a request to the agent that belongs to its present session.
    #[serde(default)]
    pub first_rpc_id: u64,
    /// The snapshot that whoever created the session knew of; used only if it is known to be of the same owner (B3).
    #[serde(default)]
    pub snapshot_hint: Option<String>,
    /// Whether somebody asked for the base branch; else it was found out.
    #[serde(default)]
    pub branch_asked: bool,
    /// Whether the project's template was built again because it was gone, and no runtime was made with it since.
    #[serde(default)]
    pub template_rebuilt: bool,
    /// Whether the attachments went with a prompt.
    pub attachments_sent: bool,
    /// Its conversation, and who runs the agent.
    #[serde(default)]
    pub transcript: super::transcript::Transcript,
    /// Numbers of prompts whose turns were stopped from here: their late answers end nothing. The last few.
    pub stopped_rpc_ids: Vec<u64>,
    /// Whether it was put away.
    #[serde(default)]
    pub archived: bool,
    /// It is being removed: nobody sees it any more.
    #[serde(default)]
    pub removal: Option<Removal>,
    /// The address at which it was created: where the service is reached if the settings do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_url: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub budget: Budget,
    /// What it has used.
    #[serde(default)]
    pub usage: Usage,
    /// When notifications are sent, or looked after; none when none wait.
    #[serde(default)]
    pub notify_at: Option<i64>,
    /// How many there were lately.
    #[serde(default)]
    pub notices: Notices,
    /// What is said about its pull requests.
    #[serde(default)]
    pub follow_up: super::follow_up::FollowUp,
    /// When the list of sessions is told again what is new; none when it knows everything.
    #[serde(default)]
    pub list_at: Option<i64>,
    /// When something happened last.
    pub active_at: i64,
    /// When a running turn is looked at next.
    pub tick_at: i64,
    /// Terminals that are open, or were when the object was last heard of. At most [`crate::object::MAX_TERMINALS`].
    #[serde(default)]
    pub terminals: Vec<OpenTerminal>,
    /// What it observes. At most [`super::watch::MAX_WATCHES`].
    #[serde(default)]
    pub watches: Vec<super::watch::Watch>,
    /// What is known of tokens with which its agent calls tools.
    #[serde(default)]
    pub tools: super::tools::Tools,
    /// What is known of its working tree.
    #[serde(default)]
    pub workspace: crate::workspace::Saved,
    /// Where a person moved it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<MovedTo>,
    /// It is on its way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// What lies ready for a runner that calls us, and how far its events were taken in; none before the session had such a runner. Kept in
    /// tables of its own.
    #[serde(skip)]
    pub desk: Option<Desk>,
    /// Orders that wait, oldest first; kept in a table of their own.
    #[serde(skip)]
    pub orders: VecDeque<u64>,
    /// Approvals that are not closed; kept in a table of their own. At most [`super::MAX_OPEN_APPROVALS`] and those whose answer is
    /// on its way.
    #[serde(skip)]
    pub approvals: Vec<Approval>,
}

impl State {
    /// A session that was just created.
    pub fn new(id: &str, requested_by: &str, now: i64) -> Self {
        Self {
            id: id.to_owned(),
            status: Status::Created,
            status_since: None,
            requested_by: requested_by.to_owned(),
            created_at: now,
            runtime: None,
            runtime_active: false,
            next_rpc_id: 1,
            next_generation: 1,
            next_order: 1,
            turns: 0,
            turn: None,
            provisioning: None,
            build: None,
            ending: None,
            publishing: None,
            snapshotting: None,
            stalled: false,
            stale_until: None,
            first_rpc_id: 0,
            snapshot_hint: None,
            branch_asked: false,
            template_rebuilt: false,
            attachments_sent: false,
            transcript: super::transcript::Transcript::default(),
            stopped_rpc_ids: Vec::new(),
            archived: false,
            removal: None,
            service_url: None,
            budget: Budget::default(),
            usage: Usage::default(),
            notify_at: None,
            notices: Notices::default(),
            follow_up: super::follow_up::FollowUp::default(),
            list_at: None,
            active_at: now,
            tick_at: now,
            terminals: Vec::new(),
            watches: Vec::new(),
            tools: super::tools::Tools::default(),
            workspace: crate::workspace::Saved::default(),
            moved_to: None,
            moving: None,
            desk: None,
            orders: VecDeque::new(),
            approvals: Vec::new(),
        }
    }

    /// Since when it stands where it stands, as far as is known; in milliseconds since 1970.
    pub(crate) fn since(&self) -> i64 {
        self.status_since.unwrap_or(self.created_at)
    }

    /// A lease for new work.
    pub(crate) fn lease(&mut self, now: i64, ms: i64) -> Lease {
        let generation = self.next_generation;
        self.next_generation = generation.saturating_add(1);
        Lease { generation, until: now.saturating_add(ms) }
    }

    /// Numbers for so many requests to the agent; the first of them.
    pub fn take_rpc_ids(&mut self, count: u64) -> u64 {
        let first = self.next_rpc_id;
        self.next_rpc_id = first.saturating_add(count);
        first
    }

    /// Whether its runtime is this sandbox.
    pub fn is_bound_to(&self, sandbox_id: &str) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| runtime.sandbox_id.as_deref() == Some(sandbox_id))
    }

    /// Whether its runtime is a runner that calls us.
    pub fn is_at_desk(&self) -> bool {
        self.runtime.as_ref().is_some_and(Runtime::is_mailbox)
    }

    /// The runner that calls us and has the session.
    pub fn holder(&self) -> Option<&Holder> {
        self.desk.as_ref()?.holder.as_ref()
    }

    /// Whether such a runner has the session and is not there.
    pub fn is_cut_off(&self) -> bool {
        self.holder().is_some_and(|holder| holder.outage.is_some())
    }

    /// Orders that no turn carries out yet.
    pub fn waiting_orders(&self) -> usize {
        let taken = self.turn.as_ref().is_some_and(|turn| self.orders.contains(&turn.order));
        self.orders.len().saturating_sub(usize::from(taken))
    }

    /// Whether it counts among the active sessions of its user (agents.md 2.8).
    pub fn is_active(&self) -> bool {
        self.runtime_active || self.provisioning.is_some() || self.build.is_some()
    }
}
