//! The bounds the server puts on what it is sent (sync.md 7.5), each with its reason.
//!
//! The bytes of a body are counted where it is read; [`BATCH_ENTRIES`] and [`EDITING_BLOCK_BYTES`] are enforced by the
//! parsers of this crate.

/// JSON body of an index route, in bytes: key material and names are a few kilobytes; a megabyte leaves room for
/// granting a key to hundreds of members at once. Beyond it: 413 [`REQUEST_TOO_LARGE`](crate::errors::REQUEST_TOO_LARGE).
pub const INDEX_BODY_BYTES: usize = 1 << 20;

/// Name of a graph, in characters: people see it in lists. Beyond it the body is invalid.
pub const GRAPH_NAME_CHARS: usize = 1_024;

/// Id of a user, a member or a graph, in characters: identity providers' and our own are UUIDs. It is a key of rows and
/// caches. Beyond it a body is invalid, a path is not found, and a token is refused.
pub const ID_CHARS: usize = 512;

/// E-mail address, in characters: the longest that SMTP transports (64 before the `@`, 255 behind it). Beyond it a body
/// is invalid, and such an address in a token is ignored.
pub const EMAIL_CHARS: usize = 320;

/// Role of a member, in characters: a word. Beyond it the body is invalid.
pub const ROLE_CHARS: usize = 32;

/// Version of a client's schema, in characters: `65.33`. It stands in every list of the graph. Beyond it the body is
/// invalid.
pub const SCHEMA_VERSION_CHARS: usize = 32;

/// Name of a user that a token claims, in characters: it stands in lists of members. What is longer is cut.
pub const USERNAME_CHARS: usize = 512;

/// A public, private or wrapped key as its clients write it, in bytes: those of RSA with 4,096 bits take some 5 KiB.
/// Beyond it the body is invalid.
pub const KEY_BYTES: usize = 64 << 10;

/// Members to whom one request grants a graph's key: each is up to three statements of the index, one after the other.
/// Beyond it the body is invalid.
pub const GRANTS: usize = 500;

/// Graphs made by one user: people have dozens. Beyond it: 429 [`TOO_MANY_GRAPHS`](crate::errors::TOO_MANY_GRAPHS).
pub const USER_GRAPHS: usize = 1_000;

/// Rows of one graph list, the newest: with the longest names that is 20 MB. Invitations by others lengthen it.
pub const LISTED_GRAPHS: usize = 5_000;

/// JSON body of `tx/batch` over HTTP, and one WebSocket message, in bytes: the largest frame the platform delivers.
/// Beyond it: 413 over HTTP, the socket is closed with 1009.
pub const MESSAGE_BYTES: usize = 32 << 20;

/// Entries of one `tx/batch`: clients send at most 50, and a batch is applied in one turn, during which nobody else
/// is served. Beyond it the request is invalid.
pub const BATCH_ENTRIES: usize = 10_000;

/// Nesting of what a client sends, as it will be written, the row around it included: deeper values occur in no graph, and
/// readers recurse. Beyond it the entry fails as `nested too deeply`.
pub const TRANSIT_DEPTH: usize = 200;

/// Attribute names under which one graph has facts: real graphs have some hundred, and every name read is kept in memory
/// while the graph is open. Beyond it an entry that brings in another one is refused.
pub const ATTRIBUTE_NAMES: usize = 65_536;

/// Texts of these names together, in bytes. Beyond it likewise.
pub const ATTRIBUTE_NAMES_BYTES: usize = 8 << 20;

/// One attribute name, or ident, in bytes: clients make them of titles. Beyond it the entry is refused.
pub const ATTRIBUTE_NAME_BYTES: usize = 4096;

/// Steps that the entries of a batch may take beyond those of their length ([`WORK_STEPS_PER_BYTE`]): looks at stored facts,
/// at about 50 ns each, for what a few bytes ask for, such as the deletion of a page with 50,000 blocks, which takes 450 for
/// each of them. A batch is applied in one turn, during which nobody else is served. Beyond it the entry fails as
/// `entry needs too much work`.
pub const WORK_STEPS: u64 = 24_000_000;

/// Steps that an entry may take for each byte of its text before they count as [`WORK_STEPS`]: new blocks take half a step,
/// deletions of blocks one by one seven.
pub const WORK_STEPS_PER_BYTE: u64 = 8;

/// Log rows between the cursor of an `entity/pull` and the counter (D-45): a client that is further behind gets its copy
/// cheaper from the snapshot. Beyond it: `reset` with `snapshot-required`, as for the four that follow.
pub const ENTITY_PULL_ROWS: i64 = 10_000;

/// Bytes of these rows' transactions together: all of them are read in one turn, during which nobody else is served.
pub const ENTITY_PULL_TX_BYTES: i64 = 32 << 20;

/// Entities of one `graph-changes`, written and deleted ones together.
pub const CHANGED_ENTITIES: usize = 20_000;

/// One `graph-changes` message, in bytes: clients take frames up to 64 MiB, and it is sent in one piece.
pub const CHANGES_MESSAGE_BYTES: usize = 16 << 20;

/// Steps of looking at stored facts for one `graph-changes`, as [`WORK_STEPS`] counts them: values that are left out cost
/// work and no bytes.
pub const CHANGES_STEPS: u64 = 16_000_000;

/// Log rows that one batch makes, in bytes of their texts: they wait in memory for its end, and the name of an entity, which
/// stands in every item about it, may make them hundreds of times as long as the batch. Blocks make them four times as long
/// at most. Beyond it the entry fails as `batch too large to store`; those before it stand.
pub const BATCH_LOG_BYTES: usize = 128 << 20;

/// Pulls of the greatest length (as long as one message may be) that one user may ask for at once over the sockets of one
/// graph; each minute brings back one of them. What is sent to a socket that does not read waits outside of the server's
/// memory, and nothing tells how much it is. Counted are the bytes of all answers to `pull` and `entity/pull`, and the work of
/// the latter. A client pulls everything once, and from then on what is new. Beyond it the socket is closed with 1013.
pub const PULLS_AT_ONCE: u64 = 4;

/// The time in which one of [`PULLS_AT_ONCE`] comes back, in milliseconds.
pub const PULL_RETURN_MS: u64 = 60_000;

/// Users whose pulls of one graph are counted at the same time: twice as many as sockets by default. Beyond it those are
/// forgotten who have asked for least.
pub const COUNTED_PULLERS: usize = 1_000;

/// Streams of long pulls and diagnostics of one graph over HTTP at a time: each holds some megabytes, here and in the platform.
/// What fits into one piece does not count. Beyond it: 503, to be tried again.
pub const PULL_STREAMS: usize = 16;

/// Milliseconds after which such a stream ends that nobody reads, as exports do ([`EXPORT_IDLE_MS`]).
pub const PULL_IDLE_MS: i64 = EXPORT_IDLE_MS;

/// News sent in one turn, in bytes: who is online takes a megabyte where five hundred users have the longest names, and is
/// told to all of them. The rest waits for the next turn.
pub const NEWS_TURN_BYTES: usize = 4 << 20;

/// One snapshot frame, in bytes: clients' frames are near one megabyte, older servers' frames reached 30 MB. Beyond
/// it: 400 `invalid snapshot`.
pub const SNAPSHOT_FRAME_BYTES: usize = 64 << 20;

/// Exports of one graph at a time: a commit saves what they have yet to send, and each holds the state of its packer. Beyond
/// it: 503, to be tried again.
pub const EXPORTS: usize = 8;

/// Milliseconds after which an export ends that nobody reads: a client that stalls for longer has gone. Its stream breaks
/// off.
pub const EXPORT_IDLE_MS: i64 = 60_000;

/// Milliseconds after which an upload is over of which nothing is heard (D-40): its sender has gone, and the graph that it
/// has closed opens as it was.
pub const UPLOAD_IDLE_MS: i64 = 15 * 60 * 1000;

/// Content of one stored row, in bytes: the most that one value of the platform's database holds. Beyond it: 413
/// `snapshot row too large`.
pub const ROW_CONTENT_BYTES: usize = 2_000_000;

/// Bytes of one upload request after decompression: a small compressed body could otherwise grow a thousandfold.
/// Beyond it: 413.
pub const UPLOAD_INFLATED_BYTES: u64 = 1 << 30;

/// A token, in bytes: identity providers stay near 2 KiB, and header space ends at 16 KiB on most servers. Beyond it
/// the caller is unauthenticated.
pub const TOKEN_BYTES: usize = 16 << 10;

/// `editing-block-uuid` of a presence message, in bytes: a UUID takes 36. It goes to every peer, where a control character
/// takes six bytes, and into the socket's attachment ([`ATTACHMENT_BYTES`]). Beyond it the message is invalid.
pub const EDITING_BLOCK_BYTES: usize = 64;

/// A name as peers see it, in characters. A longer one in a token is cut.
pub const NAME_CHARS: usize = 256;

/// What the platform keeps with a sleeping socket, in bytes. Text counts two for each UTF-16 unit as soon as one
/// character needs it; the bounds above keep every user below this.
pub const ATTACHMENT_BYTES: usize = 16 << 10;

/// Content type and checksum of an asset, in characters: they are stored beside it, where stores hold some kilobytes. Beyond
/// it: 400.
pub const ASSET_META_CHARS: usize = 256;
