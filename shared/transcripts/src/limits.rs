//! Every limit of transcripts, in one place (transcripts.md 4).

/// Bytes of a bundle without compression, unless `TRANSCRIPT_MAX_BYTES` says otherwise.
pub const DEFAULT_BYTES: usize = 4 << 20;
/// The most that `TRANSCRIPT_MAX_BYTES` may be: a bundle is held in memory three times while it is stored.
pub const MOST_BYTES: usize = 16 << 20;
/// Bytes up to which a body lies in the database itself.
pub const INLINE_BYTES: usize = 64 << 10;
/// Files of one bundle.
pub const FILES: usize = 64;
/// Bytes of the path of one file.
pub const PATH_BYTES: usize = 512;
/// Bytes of a manifest as JSON.
pub const MANIFEST_BYTES: usize = 256 << 10;
/// Bytes that an archive may have beyond its members: headers, padding and the manifest.
pub const ARCHIVE_BYTES: usize = MANIFEST_BYTES + (FILES + 4) * 3 * 512;
/// What a text may grow to as a JSON string: each byte may be written as `\u00XX`.
pub const JSON_GROWTH: usize = 6;
/// Bytes of the alias's body beside the snapshot itself.
pub const ALIAS_REST_BYTES: usize = 4 << 10;
/// Characters of a run token.
pub const TOKEN_CHARS: usize = 4 << 10;
/// How long a run token is valid, in seconds.
pub const TOKEN_S: i64 = 15 * 60;
/// How long a tool token is valid, in seconds: what an agent is offered when its session is opened cannot be renewed (pg-sync.md 4.12).
pub const TOOL_TOKEN_S: i64 = 24 * 60 * 60;
/// How far in the future a run token may have been made, in seconds.
pub const TOKEN_SKEW_S: i64 = 30;
/// Keys of run tokens.
pub const TOKEN_KEYS: usize = 8;
/// How long after the end of a run it may still be uploaded, in milliseconds.
pub const GRACE_MS: i64 = 10 * 60_000;
/// The same for a runner that calls us, which keeps conversations until it can send them.
pub const SPOOL_MS: i64 = 24 * 60 * 60 * 1_000;
/// Runs that have ended and are remembered for that.
pub const ENDED_RUNS: usize = 16;
/// A lease that is not renewed is over after so many milliseconds.
pub const LEASE_MS: i64 = 60_000;
/// Completed snapshots that are kept of a session.
pub const KEPT_COMPLETED: usize = 5;
/// How long other snapshots are kept, in milliseconds.
pub const KEPT_OTHERS_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long an object that nobody needs is left, in milliseconds: a read that has begun may still want it.
pub const GARBAGE_MS: i64 = 60 * 60 * 1_000;
/// Objects and rows that one sweep deletes at most, of each kind.
pub const SWEPT_AT_ONCE: usize = 200;
/// Between two reads of a transcript that must agree, in milliseconds.
pub const SETTLE_MS: u32 = 200;
/// Reads of a transcript after which it is given up: 5 s.
pub const SETTLE_READS: u32 = 25;
/// Between two uploads of an unfinished turn, in milliseconds.
pub const PARTIAL_MS: i64 = 60_000;
/// What an agent says in a turn before the unfinished turn is kept without waiting for its time, in bytes.
pub const GROWTH_BYTES: usize = 256 << 10;
/// The pauses before hydrating is tried again, in milliseconds.
pub const HYDRATE_PAUSES_MS: [u32; 3] = [1_000, 3_000, 9_000];
/// Patterns of `TRANSCRIPT_GLOBS`.
pub const PATTERNS: usize = 32;
/// Bytes of a watermark.
pub const MARK_BYTES: usize = 64 << 10;
/// Characters of the text that stands in for a conversation which could not be loaded, and events that it is made of.
pub const RECOVERY_CHARS: usize = 12_000;
/// Events of that text.
pub const RECOVERY_EVENTS: usize = 50;
