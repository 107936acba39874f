//! What a session knows of its pull requests (agents.md 20.4): which there are, what has come of them, and what is to be pushed.

use serde::{Deserialize, Serialize};

/// Pull requests of one session that are listened to; of more the oldest are forgotten.
const MAX_PULLS: usize = 20;

/// A pull request that the session opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pull {
    /// Its repository, as `registry::pulls` has it.
    pub repository: String,
    /// Its number.
    pub number: u64,
    /// Its branch.
    pub head: String,
    /// The commit that the session pushed last, if that is known: results of checks count only for it.
    pub pushed: Option<String>,
    /// Whether it is open. One that is closed is forgotten once the database of all sessions knows it.
    pub open: bool,
    /// Whether the database of all sessions has yet to be told.
    pub untold: bool,
}

/// An order that came from a pull request and is not carried out yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FollowUpOrder {
    /// The order.
    pub seq: u64,
    /// The pull request.
    pub number: u64,
    /// Who is behind it.
    pub by: String,
}

/// What the agent did for a pull request is to be pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FollowUpPush {
    /// The pull request.
    pub number: u64,
    /// Who is behind it.
    pub by: String,
    /// How often it was begun.
    pub attempts: u32,
    /// When whoever pushes counts as lost.
    pub until: i64,
}

/// Why nothing more is taken from pull requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// There were enough rounds without a message of a person.
    Rounds,
    /// A limit of the budget is used up.
    Budget,
    /// Too many orders wait.
    Queue,
}

impl Stopped {
    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::Budget => "budget",
            Self::Queue => "queue",
        }
    }
}

/// The loop of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FollowUp {
    /// Pull requests, oldest first.
    pub pulls: Vec<Pull>,
    /// Orders since the last message of a person.
    pub rounds: u32,
    /// When what has come becomes an order.
    pub due_at: Option<i64>,
    /// Orders that are not carried out yet; at most as many as orders may wait, and one that is being carried out.
    pub orders: Vec<FollowUpOrder>,
    /// What is to be pushed.
    pub push: Option<FollowUpPush>,
    /// Why it was stopped last, if it still is.
    pub stopped: Option<Stopped>,
    /// When the database of all sessions is told again.
    pub tell_at: Option<i64>,
}

impl FollowUp {
    /// An open pull request.
    pub fn open(&self, repository: &str, number: u64) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.open && pull.repository == repository && pull.number == number)
    }

    /// The open pull requests whose last pushed commit is this one.
    pub fn at_commit<'a>(&'a self, repository: &'a str, commit: &'a str) -> impl Iterator<Item = &'a Pull> {
        let is_there =
            move |pull: &&Pull| pull.open && pull.repository == repository && pull.pushed.as_deref() == Some(commit);
        self.pulls.iter().filter(is_there)
    }

    /// Notes a pull request, or what is new of it.
    pub(super) fn note(&mut self, new: Pull) {
        self.pulls.retain(|pull| pull.repository != new.repository || pull.number != new.number);
        self.pulls.push(new);
        let excess = self.pulls.len().saturating_sub(MAX_PULLS);
        self.pulls.drain(..excess);
    }

    /// Whether the database of all sessions has yet to be told of something.
    pub fn is_untold(&self) -> bool {
        self.pulls.iter().any(|pull| pull.untold)
    }
}
