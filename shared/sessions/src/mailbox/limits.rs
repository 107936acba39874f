//! What bounds runners and what they send (session-mailbox.md 7.2–7.9). Times in milliseconds, sizes in bytes.

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// How long a token is valid.
pub const TOKEN_LIFE_MS: i64 = 30 * DAY;
/// How long it is known that a runner was deleted.
pub const REVOKED_KNOWN_MS: i64 = 30 * DAY;
/// Another machine may take a runner's name only when the runner was not seen for so long.
pub const IN_USE_MS: i64 = 90 * SECOND;
/// A runner that is being upgraded is not called offline for so long.
pub const UPGRADE_MS: i64 = 120 * SECOND;
/// Added to the time after which a silent runner is offline.
pub const OFFLINE_SLACK_MS: i64 = 5 * SECOND;
/// When a runner was last seen is written to the list of runners at most so often.
pub const SEEN_WRITTEN_MS: i64 = 20 * SECOND;

/// Sessions that one attach may list.
pub const MAX_ATTACH_SESSIONS: usize = 1_000;
/// The longest that a poll may ask to wait.
pub const MAX_WAIT_MS: i64 = 45 * SECOND;
/// Items in one answer of a poll, at most and unless the runner says otherwise.
pub const MAX_ITEMS: usize = 100;
/// The same, where the runner does not say.
pub const DEFAULT_ITEMS: usize = 50;
/// Items of one session in one answer.
pub const MAX_SESSION_ITEMS: usize = 10;
/// One answer of a poll.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// One item.
pub const MAX_ITEM_BYTES: usize = 512 << 10;
/// An item that was given out and not acknowledged is given out again after so long.
pub const REDELIVER_MS: i64 = 30 * SECOND;
/// The pauses after which an item's runner is told of it again: from, to.
pub const RING_MS: (i64, i64) = (SECOND, MINUTE);
/// Items of a session that wait for a runner's acknowledgement.
pub const MAX_WAITING_ITEMS: usize = 64;

/// How long a lease is said to hold. Its lapse gives the session to nobody.
pub const LEASE_MS: i64 = 60 * SECOND;
/// How long a runner that is there may take to open a session.
pub const OPEN_MS: i64 = 15 * MINUTE;
/// How long the end of a session is waited for before it moves.
pub const CLOSE_MS: i64 = 30 * SECOND;

/// Events in one request.
pub const MAX_EVENTS: usize = 500;
/// All events of one request.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// The data of one event.
pub const MAX_EVENT_BYTES: usize = 256 << 10;
/// So many numbers back it is known what an event said.
pub const KNOWN_EVENTS: u64 = 10_000;

/// How long the id of a notice is known.
pub const NOTICE_KNOWN_MS: i64 = DAY;
/// Characters of a notice's message.
pub const MAX_NOTICE_CHARS: usize = 2_000;
/// Notices that are shown with a runner.
pub const SHOWN_NOTICES: usize = 20;

/// One file.
pub const MAX_FILE_BYTES: u64 = 25 << 20;
/// Files of a session.
pub const MAX_FILES: u64 = 100;
/// All files of a session.
pub const MAX_FILES_BYTES: u64 = 500 << 20;
/// A file that no event names goes after so long.
pub const UNNAMED_FILE_MS: i64 = DAY;

/// Kinds of requests of a runner that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Polls and acknowledgements.
    Poll,
    /// Batches of events.
    Events,
    /// Files.
    Files,
    /// Notices.
    Notices,
    /// Renewals of leases.
    Leases,
    /// Attaching, and new tokens.
    Attach,
}

impl Kind {
    /// Requests of one runner in a minute.
    pub const fn a_minute(self) -> u32 {
        match self {
            Self::Poll => 600,
            Self::Events => 1_200,
            Self::Files => 120,
            Self::Notices => 60,
            Self::Leases => 30,
            Self::Attach => 10,
        }
    }
}

/// Registrations of one user in a minute.
pub const REGISTRATIONS_A_MINUTE: u32 = 10;
/// Refused tokens from one address in a minute.
pub const FAILED_TOKENS_A_MINUTE: u32 = 30;
