//! Addresses that people open or that GitHub is asked at (agents.md 9.4, 9.7, 9.8).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{BranchName, Repository};

/// What JavaScript's `encodeURIComponent` leaves as it is, besides letters and digits.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A text as one component of a URL.
pub fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// The page on which a person makes the pull request by hand (agents.md 9.8). Without a base it is `main`.
pub fn manual_pull_request_url(repository: &Repository, base: Option<&BranchName>, head: &BranchName) -> String {
    format!(
        "https://github.com/{}/{}/pull/new/{}...{}",
        repository.owner(),
        repository.name(),
        encode_component(base.map_or("main", BranchName::as_str)),
        encode_component(head.as_str())
    )
}

/// The page on which a person installs the GitHub App (agents.md 9.4). A blank slug counts as none.
pub fn install_url(slug: Option<&str>) -> Option<String> {
    let slug = slug.map(str::trim).filter(|slug| !slug.is_empty())?;
    Some(format!("https://github.com/apps/{}/installations/new", encode_component(slug)))
}

/// The call that looks for an open pull request of a branch, below the base of the API (agents.md 9.7).
pub fn open_pull_requests_path(repository: &Repository, head: &BranchName, base: Option<&BranchName>) -> String {
    let head = encode_component(&format!("{}:{}", repository.owner(), head.as_str()));
    let base = base.map(|base| format!("&base={}", encode_component(base.as_str()))).unwrap_or_default();
    format!("{}/pulls?state=open&head={head}{base}", repository.api_path())
}
