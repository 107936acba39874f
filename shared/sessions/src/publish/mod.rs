//! Pushing a branch and opening a pull request: what is decided about it, without doing it (agents.md 10).

mod admission;
mod force;
mod head;
mod intent;
mod outcome;
mod push;
mod texts;

#[cfg(test)]
mod tests;

pub use admission::{Admission, Refused, admit};
pub use force::{ForceFacts, ForceRefused, ProtectedBranches, glob, lease};
pub use head::{HeadChoice, Names, generated, pull_request_base, push_base};
pub use intent::{Intent, MAX_MESSAGE_CHARS, intent};
pub use outcome::{Outcome, PullRequestState, after_pull_request};
pub use push::{CommitId, FailureClass, PushReport, classify};
pub use texts::{
    DEFAULT_BODY, DEFAULT_COMMIT_MESSAGE, MAX_BODY_BYTES, body, chat_body, chat_commit_message, commit_message,
    summary_line, title,
};
