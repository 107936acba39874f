//! References to repositories and the names that are derived from them (agents.md 5.2, 9.1).

mod branch;
mod directory;
mod urls;

#[cfg(test)]
mod tests;

pub use branch::{BranchError, BranchName, MAX_BRANCH_CHARS, MAX_BRANCHES, branch_list, first_valid, requested_head};
pub use directory::{directory_name, sandbox_directory, sanitize_name};
pub use urls::{install_url, manual_pull_request_url, open_pull_requests_path};

/// Longest repository URL that is looked at, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
const MAX_OWNER_CHARS: usize = 100;
const MAX_NAME_CHARS: usize = 100;

/// A repository on GitHub, taken from one of the URL forms of agents.md 9.1. Upper and lower case are kept.
///
/// Owner and name consist of ASCII letters, digits, `.`, `_` and `-`, which is all that GitHub gives out; neither is `.` or
/// `..`. So both may stand in a path as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

/// Why a text is not taken for a GitHub repository. The text itself is in none of the messages: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// Nothing but blanks.
    #[error("missing repo url")]
    Blank,
    /// Longer than [`MAX_URL_BYTES`].
    #[error("repo url is too long")]
    TooLong,
    /// None of the accepted beginnings: another host, another scheme, or no URL.
    #[error("repo url is not on github.com")]
    NotGitHub,
    /// Not exactly an owner and a name after the host.
    #[error("repo url does not name an owner and a repository")]
    Path,
    /// The owner is empty, too long, or has a character that GitHub does not allow.
    #[error("repo url has an invalid owner")]
    Owner,
    /// The name is empty, too long, or has a character that GitHub does not allow.
    #[error("repo url has an invalid repository name")]
    Name,
}

impl Repository {
    /// Reads a repository URL (agents.md 9.1). The host is compared literally: `GitHub.com` and `www.github.com` are others.
    pub fn parse(url: &str) -> Result<Self, RepositoryError> {
        let url = url.trim();
        if url.is_empty() {
            return Err(RepositoryError::Blank);
        }
        if url.len() > MAX_URL_BYTES {
            return Err(RepositoryError::TooLong);
        }
        let path = if let Some(path) = url.strip_prefix("git@github.com:") {
            path
        } else {
            let path = ["https://github.com/", "http://github.com/", "ssh://git@github.com/"]
                .iter()
                .find_map(|beginning| url.strip_prefix(beginning))
                .ok_or(RepositoryError::NotGitHub)?;
            path.strip_suffix('/').unwrap_or(path)
        };
        let (owner, name) = path.split_once('/').ok_or(RepositoryError::Path)?;
        if name.contains('/') {
            return Err(RepositoryError::Path);
        }
        let name = name.strip_suffix(".git").unwrap_or(name);
        if !is_plain(owner, MAX_OWNER_CHARS) {
            return Err(RepositoryError::Owner);
        }
        if !is_plain(name, MAX_NAME_CHARS) {
            return Err(RepositoryError::Name);
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }

    /// The user or organisation.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name, without `.git`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a push goes. It carries no token: that travels as a header (agents.md 5.3.9).
    pub fn remote_url(&self) -> String {
        format!("https://github.com/{}/{}.git", self.owner, self.name)
    }

    /// Where the API keeps this repository, below the base of the API.
    pub fn api_path(&self) -> String {
        format!("/repos/{}/{}", self.owner, self.name)
    }
}

/// The repository's part of a checkpoint's key (agents.md 11.1), or `None` without a URL.
pub fn checkpoint_key(url: &str) -> Option<String> {
    match Repository::parse(url) {
        Ok(repository) => Some(format!("github/{}/{}", repository.owner, repository.name).to_lowercase()),
        Err(RepositoryError::Blank) => None,
        Err(_) => Some(url.trim().to_lowercase()),
    }
}

fn is_plain(part: &str, max: usize) -> bool {
    // `max` bounds the walk over the characters.
    (1..=max).contains(&part.len())
        && part != "."
        && part != ".."
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
