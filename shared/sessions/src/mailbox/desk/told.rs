//! What a session hears from its desk.

use serde_json::Value;

use crate::mailbox::Offline;

/// Something that the session acts upon.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The agent's session is to be opened before the prompt can be given out: [`open`](super::open).
    OpenNeeded,
    /// The agent's session is open.
    Opened {
        /// The agent's name of it.
        runtime_session_id: String,
        /// Another one than before.
        is_new: bool,
        /// The conversation was loaded.
        loaded: bool,
        /// Where it works.
        cwd: String,
        /// Whether the agent has the tools that it was offered; none where the runner does not say.
        tools: Option<bool>,
    },
    /// It could not be opened.
    OpenFailed {
        /// A short word.
        reason: String,
        /// For people.
        message: String,
    },
    /// The agent has the prompt.
    TurnStarted {
        /// The message.
        message_id: String,
    },
    /// What the agent said, as one frame of its stream.
    Update(Value),
    /// The agent asks.
    Permission {
        /// Its name of the question.
        request_id: String,
        /// As ACP has it.
        params: Value,
    },
    /// The agent does not wait for these answers any more.
    PermissionVoid {
        /// Its names of the questions.
        request_ids: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A prompt is finished.
    TurnEnded {
        /// The message.
        message_id: String,
        /// In ACP's words.
        stop_reason: String,
        /// What proves the stop, where it was asked for.
        stopped: Option<String>,
        /// What went wrong.
        error: Option<String>,
    },
    /// A prompt is finished: it was not, or not fully, carried out.
    MessageFailed {
        /// The message.
        message_id: String,
        /// A short word, for `agent.runtime.error`.
        reason: String,
    },
    /// A prompt is not this desk's any more: no agent had it, and the session gives it to another runtime.
    MessageReturned {
        /// The message.
        message_id: String,
    },
    /// What the agent used.
    Usage(Value),
    /// A push was carried out, or not.
    PushDone {
        /// The item.
        push_id: String,
        /// Whether it worked.
        ok: bool,
        /// Why not: what git said of it, or a short word.
        reason: Option<String>,
        /// What git said else.
        output: Option<String>,
    },
    /// A file of the agent.
    File {
        /// Its name.
        name: String,
        /// Its digest, in hex.
        sha256: String,
        /// In bytes.
        size: u64,
    },
    /// Something that the agent said was left out.
    OutputRefused {
        /// Why.
        reason: String,
    },
    /// What was known of the agent there counts no more: open questions are void.
    HolderChanged,
    /// The agent's session is over; the runner keeps the session unless [`Told::Released`] follows.
    Closed {
        /// The transcript that was kept: run and digest.
        transcript: Option<(u64, String)>,
    },
    /// Nobody has the session any more.
    Released(Released),
    /// The session stays where it is: its runner did not answer in time.
    NotMoved,
    /// The runner is not there.
    Offline {
        /// Its name.
        runner_id: String,
        /// Why.
        reason: Offline,
        /// In milliseconds since 1970.
        last_seen_at: i64,
    },
    /// The runner is there again.
    Online {
        /// Its name.
        runner_id: String,
        /// How long it was away, in milliseconds.
        offline_ms: i64,
    },
    /// The runner reports something of its own.
    Notice {
        /// What.
        code: String,
        /// In words.
        message: String,
    },
}

/// Why nobody has the session any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It goes to another runtime.
    Moved,
    /// It was canceled.
    Canceled,
    /// Its runner was deleted.
    Revoked,
}

impl Told {
    /// A push was not carried out.
    pub(super) fn push_failed(push_id: String, reason: &str) -> Self {
        Self::PushDone { push_id, ok: false, reason: Some(reason.to_owned()), output: None }
    }
}
