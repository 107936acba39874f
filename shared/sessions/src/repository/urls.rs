//! Addresses that people open or that GitHub is asked at (agents.md 9.4, 9.7, 9.8).

use web::url::encode;

use super::{BranchName, Repository};

/// The page on which a person makes the pull request by hand (agents.md 9.8). Without a base it is `main`.
pub fn manual_pull_request_url(repository: &Repository, base: Option<&BranchName>, head: &BranchName) -> String {
    format!(
        "https://github.com/{}/{}/pull/new/{}...{}",
        repository.owner(),
        repository.name(),
        encode(base.map_or("main", BranchName::as_str)),
        encode(head.as_str())
    )
}

/// The page on which a person installs the GitHub App (agents.md 9.4). A blank slug counts as none.
pub fn install_url(slug: Option<&str>) -> Option<String> {
    let slug = slug.map(str::trim).filter(|slug| !slug.is_empty())?;
    Some(format!("https://github.com/apps/{}/installations/new", encode(slug)))
}

/// The call that looks for an open pull request of a branch, below the base of the API (agents.md 9.7).
pub fn open_pull_requests_path(repository: &Repository, head: &BranchName, base: Option<&BranchName>) -> String {
    let head = encode(&format!("{}:{}", repository.owner(), head.as_str()));
    let base = base.map(|base| format!("&base={}", encode(base.as_str()))).unwrap_or_default();
    format!("{}/pulls?state=open&head={head}{base}", repository.api_path())
}
