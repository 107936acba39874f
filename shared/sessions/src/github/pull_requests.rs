//! Pull requests (agents.md 9.7).

use http::Method;
use serde_json::{Value, json};
use web::{Fetch, Host};

use super::{GitHub, GitHubError, Sign};
use crate::repository::{BranchName, Repository, open_pull_requests_path};

/// A pull request that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewPullRequest<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its text.
    pub body: &'a str,
    /// What is proposed.
    pub head: &'a BranchName,
    /// Where it is to go.
    pub base: &'a BranchName,
}

/// A pull request that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
}

impl PullRequest {
    fn of(value: &Value) -> Option<Self> {
        Some(Self { number: value.get("number")?.as_u64()?, url: value.get("html_url")?.as_str()?.to_owned() })
    }
}

impl<F: Fetch, S: Sign, H: Host> GitHub<'_, F, S, H> {
    /// Makes a pull request.
    pub async fn create_pull_request(
        &self,
        repository: &Repository,
        token: &str,
        new: &NewPullRequest<'_>,
    ) -> Result<PullRequest, GitHubError> {
        const WHAT: &str = "the pull request";
        let path = format!("{}/pulls", repository.api_path());
        let body = json!({"title": new.title, "body": new.body, "head": new.head.as_str(), "base": new.base.as_str()});
        let answer = self.send(Method::POST, &path, Some(token), Some(&body)).await?;
        if !answer.is_success() {
            return Err(answer.refused(WHAT));
        }
        answer.json().as_ref().and_then(PullRequest::of).ok_or(GitHubError::Unreadable(WHAT))
    }

    /// The open pull request of a branch, if there is one and it can be found.
    pub async fn find_pull_request(
        &self,
        repository: &Repository,
        token: &str,
        head: &BranchName,
        base: Option<&BranchName>,
    ) -> Option<PullRequest> {
        let path = open_pull_requests_path(repository, head, base);
        let answer = self.send(Method::GET, &path, Some(token), None).await.ok()?;
        let list = answer.is_success().then(|| answer.json())??;
        list.as_array()?.first().and_then(PullRequest::of)
    }
}
