//! What is to be done because of something that happened.

use serde_json::Value;

use super::Approval;
use crate::event::Draft;

/// One thing to do. All effects of one decision that change what is stored are stored in one transaction; work begins after
/// it, so that what is sent to the outside was written down before.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append to the log and show to viewers.
    Append(Draft),
    /// The same, and tell whoever wants to hear of it elsewhere.
    Announce(Draft),
    /// Show to viewers only.
    Show(Draft),
    /// Remove an order: it was carried out, or never will be.
    DropOrder(u64),
    /// Remove all orders.
    DropOrders,
    /// Store an approval.
    PutApproval(Approval),
    /// Forget what was said in turns that no longer matter.
    ClearTexts,
    /// A push or a pull request was interrupted: its last events are appended.
    PublishingLost,
    /// Store what is to be stored beside the desk of a runner that calls us.
    Desk(crate::mailbox::desk::Effect),
    /// Begin work outside.
    Start(Job),
}

/// Work outside of the object. Its outcome comes back as something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Make a runtime.
    Provision {
        /// Under which generation.
        generation: u64,
    },
    /// Look at the build of a template.
    PollBuild,
    /// Remove the sandbox that was being made when its maker was lost.
    DestroyUnbound,
    /// Remove a sandbox that nobody wants any more.
    Destroy {
        /// The sandbox.
        sandbox_id: String,
    },
    /// End terminals that nobody looks at any more.
    SettleTerminals,
    /// Carry out the order of a turn.
    Prompt {
        /// The turn.
        turn: u64,
    },
    /// Send a notification or an answer to the agent.
    Tell(Value),
    /// Ask the agent to stop its turn.
    AskToStop,
    /// Send the answer to an approval.
    Answer {
        /// Which.
        request_id: String,
    },
    /// Kill an agent that does not stop.
    Kill {
        /// The turn.
        turn: u64,
    },
    /// Note the known snapshot again, and end the runtime.
    End {
        /// Under which generation.
        generation: u64,
        /// Who wants it, and why; none when the snapshot was noted before.
        checkpoint: Option<Checkpointing>,
    },
    /// Note the known snapshot again.
    Checkpoint(Checkpointing),
    /// Keep the conversation of the run that is over.
    Keep {
        /// Under which generation.
        generation: u64,
    },
    /// Keep what there is of the conversation of the run that goes on.
    KeepPartial,
    /// Make sure that the event stream is open.
    Attach,
    /// Close the event stream.
    Detach,
    /// Make the sandbox live on.
    Extend,
    /// Bring a new token for git into the sandbox.
    RenewBroker,
    /// Tell the database of all sessions what was used.
    TellUsage,
    /// Send notifications.
    Notify,
    /// Make an order of what was said about a pull request.
    FollowUp,
    /// Push what the agent did about it.
    PushFollowUp,
    /// Tell the list of sessions what is new.
    TellList,
    /// Tell the database of all sessions which pull requests there are.
    TellPulls,
    /// Ask and tell the bridges of what the session observes.
    TendWatches {
        /// Which subscriptions.
        ids: Vec<String>,
    },
    /// Tell the runner that calls us, by its key, that there is work.
    Ring(String),
    /// A runner that calls us does not have the session any more: its object is told, and its place is free.
    LeaveRunner {
        /// The key of its object.
        key: String,
        /// Its name.
        runner_id: String,
    },
    /// Remove the session with everything that belongs to it.
    Remove,
}

/// For whom and why a known snapshot is noted again (agents.md 3.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// The user; none for the service.
    pub by: Option<String>,
    /// The reason.
    pub reason: &'static str,
}
