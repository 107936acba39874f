//! The data of events about pushes and pull requests (agents.md 3.4).

use serde_json::{Map, Value, json};

use super::drafts::{by, with};
use super::{Draft, Kind};

/// What is known of a push or a pull request that failed.
#[derive(Clone, Copy, Debug)]
pub struct GitFailure<'a> {
    /// A word for programs.
    pub reason: &'a str,
    /// A text for people.
    pub error: &'a str,
    /// What GitHub answered with, if it did.
    pub github_status: Option<u16>,
}

/// A pull request that there is.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// Its page.
    pub url: &'a str,
    /// Its number.
    pub number: u64,
    /// Whether it was there before.
    pub existing: bool,
}

fn branches(user: &str, head: &str, base: &str) -> Map<String, Value> {
    let mut data = by(user);
    data.insert("head-branch".to_owned(), head.into());
    data.insert("base-branch".to_owned(), base.into());
    data
}

impl Draft {
    /// A push begins.
    pub fn push_started(user: &str, head: &str, force: bool) -> Self {
        Self::new(Kind::GitPushStarted, json!({"by": user, "head-branch": head, "force": force}))
    }

    /// A push ended well.
    pub fn push_succeeded(user: &str, head: &str, force: bool) -> Self {
        Self::new(Kind::GitPushSucceeded, json!({"by": user, "head-branch": head, "force": force, "remote": "origin"}))
    }

    /// A push failed.
    pub fn push_failed(user: &str, head: &str, failure: GitFailure<'_>) -> Self {
        Self::new(
            Kind::GitPushFailed,
            json!({"by": user, "head-branch": head, "reason": failure.reason, "error": failure.error}),
        )
    }

    /// A pull request is about to be made.
    pub fn pr_started(user: &str, head: &str, base: &str) -> Self {
        Self::new(Kind::GitPrStarted, Value::Object(branches(user, head, base)))
    }

    /// There is a pull request.
    pub fn pr_succeeded(user: &str, head: &str, base: &str, made: PullRequest<'_>) -> Self {
        Self::new(
            Kind::GitPrSucceeded,
            with(
                branches(user, head, base),
                [
                    ("pr-url", Some(made.url.into())),
                    ("pr-id", Some(made.number.into())),
                    ("existing", made.existing.then_some(true.into())),
                ],
            ),
        )
    }

    /// No pull request could be made. The status is null when GitHub was not reached.
    pub fn pr_failed(user: &str, head: &str, base: &str, failure: GitFailure<'_>) -> Self {
        Self::new(
            Kind::GitPrFailed,
            with(
                branches(user, head, base),
                [
                    ("reason", Some(failure.reason.into())),
                    ("error", Some(failure.error.into())),
                    ("github-status", Some(json!(failure.github_status))),
                ],
            ),
        )
    }

    /// A pull request was closed.
    pub fn pr_closed(user: &str, number: u64, merged: bool) -> Self {
        Self::new(Kind::GitPrClosed, json!({"by": user, "pr-id": number, "merged": merged}))
    }

    /// Nothing more is taken from a pull request: `rounds`, `budget` or `queue`.
    pub fn pr_follow_up_stopped(reason: &str, number: u64) -> Self {
        Self::new(Kind::GitPrFollowUpStopped, json!({"reason": reason, "pr-id": number}))
    }

    /// Something was said about a pull request, and is an order now.
    pub fn pull_request_said(user: &str, number: u64, message: &str) -> Self {
        let data =
            json!({"event": "pull-request", "kind": "pull-request", "by": user, "pr-id": number, "message": message});
        Self::new(Kind::AuditLog, data)
    }

    /// A person must make the pull request at this address.
    pub fn pr_manual(user: &str, head: &str, base: &str, url: &str) -> Self {
        Self::new(
            Kind::GitPrManual,
            with(
                branches(user, head, base),
                [("manual-pr-url", Some(url.into())), ("reason", Some("api-failed".into()))],
            ),
        )
    }
}
