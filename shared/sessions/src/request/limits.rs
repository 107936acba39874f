//! How large what clients send may be (agents.md 2.8). Sizes are bytes.

/// A whole body.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// A message, and the content of a task.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// The id of a session.
pub const MAX_SESSION_ID_BYTES: usize = 512;
/// Attachments of a task.
pub const MAX_ATTACHMENTS: usize = 100;
/// The address of one of them.
pub const MAX_ATTACHMENT_BYTES: usize = 2 << 10;
/// Variables of an agent's environment.
pub const MAX_VARIABLES: usize = 100;
/// The value of one of them.
pub const MAX_VARIABLE_BYTES: usize = 16 << 10;
/// All of them, names and values.
pub const MAX_VARIABLES_BYTES: usize = 256 << 10;
/// A Dockerfile, and an init script.
pub const MAX_SETUP_BYTES: usize = 64 << 10;
/// The title of a pull request.
pub const MAX_TITLE_BYTES: usize = 1 << 10;
/// The body of a pull request, and the message of a commit.
pub const MAX_TEXT_BYTES: usize = 60 << 10;
/// Patterns in one list of the policy of approvals.
pub const MAX_PATTERNS: usize = 100;
/// One of them.
pub const MAX_PATTERN_BYTES: usize = 200;
/// The id of a runner or of an approval.
pub const MAX_ID_BYTES: usize = 512;
/// The address of a runner, and the directory that it works in.
pub const MAX_ADDRESS_BYTES: usize = 2 << 10;
/// A token that goes into a header.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// One token of a stored login.
pub const MAX_LOGIN_TOKEN_BYTES: usize = 64 << 10;
