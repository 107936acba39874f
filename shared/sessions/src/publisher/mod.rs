//! The whole of publishing: push, then pull request (agents.md 10.4). What is decided about it is in [`crate::publish`].

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use web::{Fetch, Host};

use crate::command::{self, Lease};
use crate::error::Error;
use crate::event::{Draft, GitFailure, PullRequest as Told};
use crate::github::{Answered, GitHub, GitHubError, NewPullRequest, Sign};
use crate::publish::{
    self, CommitId, FailureClass, ForceFacts, ForceRefused, HeadChoice, Names, Outcome, PullRequestState, PushReport,
};
use crate::repository::{BranchName, Repository, manual_pull_request_url, sandbox_directory};
use crate::runtime::PushError;
use crate::settings::SessionSettings;
use crate::task::Task;

/// What each step may take, in milliseconds (agents.md 3.14).
const MINT_MS: i64 = 30_000;
const PUSH_MS: i64 = 180_000;
const PULL_REQUEST_MS: i64 = 60_000;

/// What somebody wants published; the checked body of `/pr`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishRequest {
    /// Title of the pull request.
    pub title: Option<String>,
    /// Text of the pull request.
    pub body: Option<String>,
    /// Message of the commit.
    pub commit_message: Option<String>,
    /// The branch to push to.
    pub head_branch: Option<String>,
    /// The branch that the pull request goes to.
    pub base_branch: Option<String>,
    /// Whether there is to be a pull request.
    #[serde(default = "yes")]
    pub create_pr: bool,
    /// Whether the branch may be overwritten.
    #[serde(default)]
    pub force: bool,
    /// Whether a message asked for it.
    #[serde(skip)]
    pub from_chat: bool,
}

fn yes() -> bool {
    true
}

impl PublishRequest {
    /// What a message asks for; the texts are what the agent said last (agents.md 10.5).
    pub fn by_chat(create_pr: bool, spoken: Option<&str>) -> Self {
        Self {
            title: None,
            body: publish::chat_body(spoken),
            commit_message: publish::chat_commit_message(spoken),
            head_branch: None,
            base_branch: None,
            create_pr,
            force: false,
            from_chat: true,
        }
    }
}

/// Whoever pushes.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Pusher {
    /// Pushes. None when git pushed and its output does not say what.
    async fn push(&self, push: &command::Push<'_>) -> Result<Option<PushReport>, PushError>;
}

/// Where a publication leaves its traces.
pub trait Sink {
    /// Something that is logged and shown.
    fn event(&self, draft: Draft) -> Result<(), Error>;

    /// There is a pull request from `head`.
    fn pull_request(&self, head: &str, number: u64) -> Result<(), Error>;

    /// A step begins that takes at most so many milliseconds: the push to `head`, or the pull request to `base`. It is written down
    /// before it is taken.
    fn step(&self, head: &str, base: Option<&str>, limit_ms: i64) -> Result<(), Error>;

    /// Where this session's last push left a branch that it made.
    fn last_pushed(&self, branch: &str) -> Result<Option<CommitId>, Error>;

    /// Notes where a push left a branch that this session made.
    fn pushed(&self, branch: &str, commit: &CommitId) -> Result<(), Error>;
}

/// What is known before anything is done.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who publishes.
    pub user: &'a str,
    /// What was to be done.
    pub task: &'a Task,
    /// How sessions publish.
    pub settings: &'a SessionSettings,
    /// The snapshot that is known.
    pub checkpoint: Option<&'a Value>,
    /// The directory of the repository, if the runtime has one of its own.
    pub directory: Option<&'a str>,
    /// Whether an earlier publication was interrupted: then the pull request may be there already.
    pub resumed: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The answer (agents.md 2.6.7).
    pub body: Value,
    /// Whether the work of the runtime is done.
    pub ends_runtime: bool,
}

/// A publication that goes on.
struct Work<'a, F, S, H, W> {
    github: &'a GitHub<'a, F, S, H>,
    facts: &'a Facts<'a>,
    wanted: &'a PublishRequest,
    place: &'a W,
    repository: Repository,
    head: BranchName,
}

/// Publishes what stands in the runtime. Whether it may be done at all was decided before ([`publish::admit`]).
pub async fn publish<F: Fetch, S: Sign, H: Host, W: Pusher + Sink>(
    github: &GitHub<'_, F, S, H>,
    facts: &Facts<'_>,
    wanted: &PublishRequest,
    place: &W,
) -> Result<Published, Error> {
    let url = facts.task.repo_url().ok_or(Error::MissingRepository)?;
    let push_base = publish::push_base(wanted.base_branch.as_deref(), facts.task.base_branch());
    let head = choose_head(facts, wanted, push_base.as_ref()).ok_or(Error::InvalidHead)?;
    let Ok(repository) = Repository::parse(url) else {
        let failure =
            GitFailure { reason: "invalid-repo-url", error: "the repository is not at GitHub", github_status: None };
        place.event(Draft::push_failed(facts.user, head.as_str(), failure))?;
        return Err(Error::Failed("the repository is not at GitHub".to_owned()));
    };
    let work = Work { github, facts, wanted, place, repository, head };
    let token = work.push_token().await?;
    let lease = work.lease(&token).await?;
    work.push(&token, lease.as_ref()).await?;
    if !wanted.create_pr {
        return Ok(work.done(Outcome::Pushed, push_base.as_ref(), Map::new()));
    }
    work.pull_request().await
}

fn choose_head(facts: &Facts<'_>, wanted: &PublishRequest, base: Option<&BranchName>) -> Option<BranchName> {
    let requested = BranchName::wish(wanted.head_branch.as_deref());
    let noted = |key: &str| facts.checkpoint?.get(key)?.as_str();
    let choice = HeadChoice {
        requested: requested.as_ref(),
        create_pr: wanted.create_pr,
        from_chat: wanted.from_chat,
        push_to_base: facts.settings.push_to_base,
        checkpoint: [noted("bundle-head-branch"), noted("head-branch")],
        base,
        names: Names {
            node_title: facts.task.node_title(),
            project_title: facts.task.project_title(),
            title: wanted.title.as_deref(),
            body: wanted.body.as_deref(),
            session_id: facts.task.id(),
        },
    };
    choice.choose()
}

impl<F: Fetch, S: Sign, H: Host, W: Pusher + Sink> Work<'_, F, S, H, W> {
    async fn push_token(&self) -> Result<String, Error> {
        self.place.step(self.head.as_str(), None, MINT_MS)?;
        match self.github.push_token(&self.repository).await {
            Ok(token) => Ok(token),
            Err(error) => {
                let text = error.to_string();
                let failure = GitFailure { reason: error.reason(), error: &text, github_status: None };
                self.place.event(Draft::push_failed(self.facts.user, self.head.as_str(), failure))?;
                Err(Error::Failed(format!("no token for the push: {}", error.reason())))
            }
        }
    }

    /// What a force push expects; none without force. It is refused before any event (B62).
    async fn lease(&self, token: &str) -> Result<Option<Lease>, Error> {
        if !self.wanted.force {
            return Ok(None);
        }
        let default = self.github.default_branch(&self.repository, Some(token)).await;
        let (default, base) = (BranchName::wish(default.as_deref()), BranchName::wish(self.facts.task.base_branch()));
        let last = self.place.last_pushed(self.head.as_str())?;
        let facts = ForceFacts {
            default_branch: default.as_ref(),
            base: base.as_ref(),
            protected: &self.facts.settings.protected_branches,
            last_pushed: last.as_ref(),
        };
        Ok(Some(publish::lease(&self.head, &facts)?))
    }

    async fn push(&self, token: &str, lease: Option<&Lease>) -> Result<(), Error> {
        let (user, head, force) = (self.facts.user, self.head.as_str(), self.wanted.force);
        self.place.event(Draft::push_started(user, head, force))?;
        self.place.step(head, None, PUSH_MS)?;
        let usual = sandbox_directory(self.facts.task.repo_url());
        let message = publish::commit_message(self.wanted.commit_message.as_deref());
        let push = command::Push {
            directory: self.facts.directory.unwrap_or(&usual),
            repository: &self.repository,
            head: &self.head,
            message: &message,
            force: lease,
            token,
        };
        match self.place.push(&push).await {
            Ok(report) => {
                if let Some(report) = report
                    && (report.is_new || self.place.last_pushed(head)?.is_some())
                {
                    self.place.pushed(head, &report.commit)?;
                }
                self.place.event(Draft::push_succeeded(user, head, force))
            }
            Err(error) => {
                let failure = GitFailure { reason: error.class.as_str(), error: &error.text, github_status: None };
                self.place.event(Draft::push_failed(user, head, failure))?;
                Err(self.refused_push(&error))
            }
        }
    }

    fn refused_push(&self, error: &PushError) -> Error {
        match error.class {
            FailureClass::ForceRefused => Error::Force(ForceRefused::NotOurs(self.head.clone())),
            class => Error::Failed(format!("the push failed: {}", class.as_str())),
        }
    }

    async fn pull_request(&self) -> Result<Published, Error> {
        let (user, head) = (self.facts.user, self.head.as_str());
        let token = self.github.token(&self.repository).await;
        let detected = match &token {
            Ok(token) => self.github.default_branch(&self.repository, Some(token)).await,
            Err(_) => None,
        };
        let requested = self.wanted.base_branch.as_deref();
        let base =
            publish::pull_request_base(requested, self.facts.task.base_branch(), detected.as_deref(), &self.head);
        let base = base.ok_or(Error::InvalidHead)?;
        self.place.event(Draft::pr_started(user, head, base.as_str()))?;
        self.place.step(head, Some(base.as_str()), PULL_REQUEST_MS)?;
        let token = match token {
            Ok(token) => token,
            Err(error) => return self.by_hand(&base, &error, PullRequestState::NotAsked),
        };
        if self.facts.resumed
            && let Some(found) = self.github.find_pull_request(&self.repository, &token, &self.head, Some(&base)).await
        {
            return self.there(&base, &found, Outcome::Existing);
        }
        let body = publish::body(self.wanted.body.as_deref());
        let title = publish::title(self.wanted.title.as_deref(), body, self.facts.task.id());
        let new = NewPullRequest { title: &title, body, head: &self.head, base: &base };
        match self.github.create_pull_request(&self.repository, &token, &new).await {
            Ok(made) => self.there(&base, &made, Outcome::Created),
            Err(error @ GitHubError::Refused { .. }) => {
                let found = self.github.find_pull_request(&self.repository, &token, &self.head, Some(&base)).await;
                match found {
                    Some(found) => self.there(&base, &found, Outcome::Existing),
                    None => self.by_hand(&base, &error, PullRequestState::Refused { open_one_found: false }),
                }
            }
            Err(error) => self.by_hand(&base, &error, PullRequestState::Refused { open_one_found: false }),
        }
    }

    fn there(&self, base: &BranchName, made: &crate::github::PullRequest, how: Outcome) -> Result<Published, Error> {
        self.place.pull_request(self.head.as_str(), made.number)?;
        let told = Told { url: &made.url, number: made.number, existing: how == Outcome::Existing };
        self.place.event(Draft::pr_succeeded(self.facts.user, self.head.as_str(), base.as_str(), told))?;
        let url = Map::from_iter([("pr-url".to_owned(), made.url.as_str().into())]);
        Ok(self.done(how, Some(base), url))
    }

    /// A person has to make the pull request.
    fn by_hand(&self, base: &BranchName, error: &GitHubError, state: PullRequestState) -> Result<Published, Error> {
        let (user, head) = (self.facts.user, self.head.as_str());
        let answer = match error {
            GitHubError::Refused { answer, .. } => Some(answer.as_ref()),
            _ => None,
        };
        let status = answer.map(|answer| answer.status);
        let text = error.to_string();
        let failure = GitFailure { reason: error.reason(), error: &text, github_status: status };
        self.place.event(Draft::pr_failed(user, head, base.as_str(), failure))?;
        let url = manual_pull_request_url(&self.repository, Some(base), &self.head);
        self.place.event(Draft::pr_manual(user, head, base.as_str(), &url))?;
        let mut members = answer.map(told_by_github).unwrap_or_default();
        members.insert("manual-pr-url".to_owned(), url.into());
        Ok(self.done(publish::after_pull_request(state), Some(base), members))
    }

    fn done(&self, outcome: Outcome, base: Option<&BranchName>, more: Map<String, Value>) -> Published {
        let mut body = json!({
            "status": outcome.status(),
            "head-branch": self.head.as_str(),
            "force": self.wanted.force,
            "message": outcome.message(),
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(base.map(|base| ("base-branch".to_owned(), Value::from(base.as_str()))));
            members.extend(more);
        }
        Published { body, ends_runtime: outcome.ends_runtime() }
    }
}

/// What GitHub said when it refused (agents.md 2.6.7).
fn told_by_github(answer: &Answered) -> Map<String, Value> {
    let headers: Map<String, Value> =
        answer.headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
    let mut members = Map::new();
    members.insert("github-status".to_owned(), answer.status.into());
    members.insert("github-body".to_owned(), answer.body.clone().unwrap_or_default());
    members.insert("github-raw-body".to_owned(), answer.raw.as_str().into());
    members.insert("github-response-headers".to_owned(), Value::Object(headers));
    members
}
