//! What is stored of a desk. Bodies of items and what is known of events are rows of their own ([`store`](crate::mailbox::store)).

use serde::{Deserialize, Serialize};

use crate::mailbox::Offline;

/// The desk of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Desk {
    /// Under which number its holder has the session. Only ever raised.
    pub lease: u64,
    /// The number of the last item. Only ever raised.
    pub work_seq: u64,
    /// The runner that has the session.
    pub holder: Option<Holder>,
    /// Items that the runner has not acknowledged, by `work_seq`: at most [`MAX_WAITING_ITEMS`](crate::mailbox::limits::MAX_WAITING_ITEMS).
    pub items: Vec<Item>,
    /// The prompt that is not finished.
    pub prompt: Option<Prompt>,
    /// The session is being taken from the runner.
    pub closing: Option<Closing>,
    /// When the runner's object is told again that there is work.
    pub ring: Option<Ring>,
}

/// A runner that has the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// Its object.
    pub runner_key: String,
    /// Its name, as people see it.
    pub runner_id: String,
    /// The mailbox of this lease, once it is known.
    pub mailbox: Option<String>,
    /// The number of the last event that was taken in from this mailbox.
    pub accepted: u64,
    /// The highest number of an item that this mailbox has stored.
    pub stored: u64,
    /// The highest number of the agent's processes that is known.
    pub generation: u64,
    /// Whether the agent's session is open there.
    pub open: Open,
    /// What the agent does, in the runner's words.
    pub phase: Option<String>,
    /// The last change of the runner's presence that is known.
    pub presence: u64,
    /// The runner is not there.
    pub outage: Option<Outage>,
    /// When it was last there, as far as the session knows; in milliseconds since 1970.
    pub last_seen_at: i64,
    /// Until when its lease was said to hold.
    pub held_until: Option<i64>,
}

/// Whether the agent's session is open at the runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Open {
    /// It is not, and nothing needs it.
    Closed,
    /// A prompt needs it: the session was asked to open it, and is asked again at this time.
    Needed {
        /// In milliseconds since 1970.
        ask_at: i64,
    },
    /// The item is on its way, or was acknowledged at this time.
    Asked {
        /// In milliseconds since 1970.
        acked_at: Option<i64>,
    },
    /// It is.
    Ready {
        /// The agent's name of the session.
        runtime_session_id: String,
    },
}

/// The runner is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outage {
    /// Why.
    pub reason: Offline,
    /// When it was last there.
    pub since: i64,
}

/// What an item is for (session-mailbox.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemKind {
    /// Open the agent's session.
    #[serde(rename = "session.open")]
    Open,
    /// What a person said.
    #[serde(rename = "prompt")]
    Prompt,
    /// A prompt is not wanted any more.
    #[serde(rename = "withdraw")]
    Withdraw,
    /// What a person says to the agent's question.
    #[serde(rename = "permission.answer")]
    Answer,
    /// The running turn is not wanted any more.
    #[serde(rename = "interrupt")]
    Interrupt,
    /// The session is canceled.
    #[serde(rename = "session.cancel")]
    Cancel,
    /// The session leaves the runner.
    #[serde(rename = "session.close")]
    Close,
    /// Push the working tree.
    #[serde(rename = "push")]
    Push,
}

impl ItemKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "session.open",
            Self::Prompt => "prompt",
            Self::Withdraw => "withdraw",
            Self::Answer => "permission.answer",
            Self::Interrupt => "interrupt",
            Self::Cancel => "session.cancel",
            Self::Close => "session.close",
            Self::Push => "push",
        }
    }

    /// Whether it does not wait behind prompts.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Withdraw | Self::Answer | Self::Interrupt | Self::Cancel)
    }
}

/// Something for the runner. The lease is that of the desk when it is given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// Its id: for a prompt that of the message.
    pub id: String,
    /// Its number.
    pub work_seq: u64,
    /// What it is for.
    pub kind: ItemKind,
    /// In milliseconds since 1970.
    pub created_at: i64,
    /// Of its body, in bytes.
    pub bytes: usize,
    /// When it was last given out.
    pub given_at: Option<i64>,
    /// For an interrupt: the number up to which prompts are not wanted.
    pub through: Option<u64>,
}

/// A prompt that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Prompt {
    /// The message, which is the item.
    pub id: String,
    /// The number of its item.
    pub work_seq: u64,
    /// The run of its transcript.
    pub run: u64,
    /// Counts how often the prompt was handed to a mailbox, from 1.
    pub attempt: u64,
    /// In milliseconds since 1970.
    pub created_at: i64,
    /// Of its body.
    pub bytes: usize,
    /// The runner has it in its mailbox.
    pub is_stored: bool,
    /// The agent has it.
    pub is_started: bool,
    /// It was given out, so that the runner may have it.
    pub was_given: bool,
}

/// The session is being taken from the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Closing {
    /// Until when the runner's answer is waited for.
    pub until: i64,
    /// Whether it is taken without an answer too.
    pub force: bool,
    /// Whether it was canceled, and does not only go elsewhere.
    pub is_cancel: bool,
}

/// When the runner's object is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ring {
    /// In milliseconds since 1970.
    pub at: i64,
    /// The pause after that.
    pub pause: i64,
}

impl Desk {
    /// The holder, if it is this runner.
    pub fn held_by(&self, runner_key: &str) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| holder.runner_key == runner_key)
    }

    /// Whether nobody has anything of this lease: it need not be raised.
    pub(super) fn is_fresh(&self) -> bool {
        let is_unknown = self.holder.as_ref().is_none_or(|holder| holder.mailbox.is_none() && holder.stored == 0);
        is_unknown && self.items.iter().all(|item| item.given_at.is_none())
    }
}
