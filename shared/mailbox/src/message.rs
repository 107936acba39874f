//! What lies in a mailbox: messages, what is said about them, outputs, and what the agent's process says of itself
//! (docs/spec/session-mailbox.md 4.3).

use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970, of this machine's clock.
pub type Millis = i64;

/// The longest content of an output, in bytes (docs/spec/session-mailbox.md 4.8).
pub const MAX_OUTPUT_BYTES: usize = 256 << 10;

/// A text of a database that is none of those expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an unknown word")]
pub struct UnknownWord;

/// An enumeration that is stored as a word.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that is stored.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(UnknownWord) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Whether a message is work, or does not queue behind work.
    Lane {
        /// Answers, which are read first, also during a turn.
        Control => "control",
        /// Prompts and what is done between them, one after the other.
        Prompt => "prompt",
    }
}

words! {
    /// Where a message stands, as the host sees it.
    Status {
        /// To be done, or being done.
        Pending => "pending",
        /// Done.
        Completed => "completed",
        /// Ended with an error.
        Failed => "failed",
        /// Not to be done until somebody says so.
        Paused => "paused",
        /// Taken back, or too old.
        Cancelled => "cancelled",
        /// Given up: the process died each time it was tried.
        Dead => "dead",
    }
}

impl Status {
    /// Whether nothing follows any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Paused)
    }
}

words! {
    /// What the agent's side says about a message.
    AckStatus {
        /// It was taken.
        Processing => "processing",
        /// The agent gets it now. Stored before its first byte goes out.
        Sent => "sent",
        /// It is done.
        Completed => "completed",
        /// It ended with an error.
        Failed => "failed",
        /// It is to be tried again later.
        Deferred => "deferred",
        /// There was nothing to do.
        Skipped => "skipped",
    }
}

words! {
    /// What the agent's process is doing.
    Phase {
        /// It starts the agent.
        Starting => "starting",
        /// It waits for work.
        Idle => "idle",
        /// A turn runs.
        Running => "running",
        /// The agent has asked for permission.
        WaitingUser => "waiting_user",
        /// The agent's provider takes nothing for a while.
        RateLimited => "rate_limited",
        /// It ends.
        Stopping => "stopping",
    }
}

/// The kind of messages that are gathered into one turn; anything else is done alone.
pub(crate) const PROMPT: &str = "prompt";

/// A message to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The worker's id of it.
    pub id: String,
    /// Its place in the order of both directions; even.
    pub seq: i64,
    /// What is to be done, such as `prompt`.
    pub kind: String,
    /// When it was stored.
    pub created_at: Millis,
    /// Where it stands.
    pub status: Status,
    /// Not before this time.
    pub process_after: Option<Millis>,
    /// Not after this time, unless it was taken before.
    pub expires_at: Option<Millis>,
    /// How often the process died after it was taken and before the agent got it.
    pub tries: u32,
    /// How often the agent had got it when it died.
    pub sent_tries: u32,
    /// How often it was put off.
    pub deferrals: u32,
    /// Whether it starts work, or only rides along.
    pub trigger: bool,
    /// Whether only the first look after a start takes it.
    pub on_wake: bool,
    /// Its lane.
    pub lane: Lane,
    /// The worker's number of it within the session.
    pub work_seq: Option<i64>,
    /// The message that this one answers.
    pub reply_to: Option<String>,
    /// Where it came from, as JSON; goes back as the target of what is said about it.
    pub origin: Option<String>,
    /// What it says. Nothing once it is final.
    pub content: Option<String>,
}

impl Message {
    /// A prompt that nobody has taken yet, without a text.
    pub fn pending(id: impl Into<String>, seq: i64, created_at: Millis) -> Self {
        Self {
            id: id.into(),
            seq,
            kind: PROMPT.to_owned(),
            created_at,
            status: Status::Pending,
            process_after: None,
            expires_at: None,
            tries: 0,
            sent_tries: 0,
            deferrals: 0,
            trigger: true,
            on_wake: false,
            lane: Lane::Prompt,
            work_seq: None,
            reply_to: None,
            origin: None,
            content: None,
        }
    }

    /// The number of the attempt that comes next or runs: it grows with each reason to do the message again, so that what was
    /// said about an earlier attempt never counts for a later one.
    pub fn attempt(&self) -> i64 {
        1 + i64::from(self.tries) + i64::from(self.sent_tries) + i64::from(self.deferrals)
    }
}

/// A message to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// The worker's id of it.
    pub id: String,
    /// What is to be done.
    pub kind: String,
    /// What it says, as JSON.
    pub content: String,
    /// Whether it goes before work.
    pub control: bool,
    /// Whether it only rides along.
    pub context: bool,
    /// Whether only the first look after a start takes it.
    pub on_wake: bool,
    /// Not before this time.
    pub process_after: Option<Millis>,
    /// Not after this time.
    pub expires_at: Option<Millis>,
    /// The worker's number of it.
    pub work_seq: Option<i64>,
    /// The message that this one answers.
    pub reply_to: Option<String>,
    /// Where it came from, as JSON.
    pub origin: Option<String>,
    /// The session that it came from, where that is another one.
    pub source_session_id: Option<String>,
}

/// What the agent's side said last about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The message.
    pub message_id: String,
    /// Who says so.
    pub generation: i64,
    /// About which attempt ([`Message::attempt`]).
    pub attempt: i64,
    /// What.
    pub status: AckStatus,
    /// Why, of `failed`, `deferred` and `skipped`.
    pub error: Option<String>,
    /// Of `deferred`: not before this time.
    pub until: Option<Millis>,
    /// The output that tells of the end.
    pub result_seq: Option<i64>,
}

/// What the agent's side said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its place in the order of both directions; odd.
    pub seq: i64,
    /// The output for the worker before this one; nothing for what is for the runner alone.
    pub prev: Option<i64>,
    /// Its id.
    pub id: String,
    /// Who says so.
    pub generation: i64,
    /// In which attempt of a message.
    pub attempt: i64,
    /// About which message.
    pub in_reply_to: Option<String>,
    /// When.
    pub created_at: Millis,
    /// Not to be sent on before this time.
    pub deliver_after: Option<Millis>,
    /// What it is (docs/spec/session-mailbox.md 7.6).
    pub kind: String,
    /// For whom, as JSON; the session when there is none.
    pub target: Option<String>,
    /// What it says, as JSON.
    pub content: String,
}

/// An output to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewOutput {
    /// What it is.
    pub kind: String,
    /// What it says, as JSON.
    pub content: String,
    /// In which attempt of a message.
    pub attempt: i64,
    /// About which message.
    pub in_reply_to: Option<String>,
    /// For whom, as JSON.
    pub target: Option<String>,
    /// Whether the runner alone reads it, outside of the worker's order.
    pub for_runner: bool,
}

/// What the agent's process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeState {
    /// Who says so.
    pub generation: i64,
    /// What it is doing.
    pub phase: Phase,
    /// The tool that runs.
    pub current_tool: Option<String>,
    /// How long that tool says it may run, in milliseconds.
    pub tool_declared_timeout_ms: Option<i64>,
    /// Since when it runs.
    pub tool_started_at: Option<Millis>,
    /// When the agent was last heard.
    pub progress_at: Option<Millis>,
    /// Of `rate_limited`: until when.
    pub until: Option<Millis>,
    /// The interrupt that was last carried out, as the worker's number.
    pub interrupted_through: i64,
    /// What became of the last stop: `proven`, `killed` or `unproven`.
    pub stopped: Option<String>,
}

impl RuntimeState {
    /// At the start of a generation.
    pub fn starting(generation: i64) -> Self {
        Self {
            generation,
            phase: Phase::Starting,
            current_tool: None,
            tool_declared_timeout_ms: None,
            tool_started_at: None,
            progress_at: None,
            until: None,
            interrupted_through: 0,
            stopped: None,
        }
    }

    /// With a tool in flight, and the limit that it declares.
    #[must_use]
    pub fn with_tool(mut self, name: &str, limit_ms: Option<i64>, now: Millis) -> Self {
        self.current_tool = Some(name.to_owned());
        self.tool_declared_timeout_ms = limit_ms;
        self.tool_started_at = Some(now);
        self
    }

    /// Without a tool.
    #[must_use]
    pub fn without_tool(mut self) -> Self {
        self.current_tool = None;
        self.tool_declared_timeout_ms = None;
        self.tool_started_at = None;
        self
    }
}

/// What the host says to whoever runs the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The number that fences runners (docs/spec/session-mailbox.md 7.5).
    pub lease: i64,
    /// The number that fences processes of one runner.
    pub generation: i64,
    /// When that process was about to be started; nothing when it is known to be gone, and settled.
    pub spawned_at: Option<Millis>,
    /// When it was asked to stop.
    pub stop_requested_at: Option<Millis>,
    /// Prompts up to this number of the worker's are interrupted.
    pub interrupt_seq: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        fn all<T: FromStr + Copy + PartialEq + fmt::Debug>(all: &[T], word: impl Fn(T) -> &'static str) {
            for one in all {
                assert!(T::from_str(word(*one)).is_ok_and(|read| read == *one));
            }
        }
        all(Status::ALL, Status::as_str);
        all(AckStatus::ALL, AckStatus::as_str);
        all(Phase::ALL, Phase::as_str);
        all(Lane::ALL, Lane::as_str);
        assert_eq!("Pending".parse::<Status>(), Err(UnknownWord));
    }

    #[test]
    fn fact_32_a_tool_is_told_and_its_end_takes_all_three_fields_back() {
        let idle = RuntimeState::starting(3);
        let busy = idle.clone().with_tool("shell", Some(7_200_000), 5);
        assert_eq!((busy.current_tool.as_deref(), busy.tool_declared_timeout_ms), (Some("shell"), Some(7_200_000)));
        assert_eq!(busy.tool_started_at, Some(5));
        assert_eq!(busy.without_tool(), idle);
    }
}
