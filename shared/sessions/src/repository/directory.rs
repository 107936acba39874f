//! Names of directories, made from names of repositories and sessions (agents.md 5.2).

use super::Repository;

/// Where sandboxes keep what they work on.
const WORKSPACE: &str = "/home/user/workspace";
const MAX_NAME_CHARS: usize = 63;

/// A text as a name of small letters, digits and single dashes, at most 63 characters; `task` when nothing is left.
pub fn sanitize_name(text: &str) -> String {
    let mut name = String::new();
    // The walk is bounded by the length of a name or URL, which is bounded where it is accepted.
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "task".to_owned() } else { name.chars().take(MAX_NAME_CHARS).collect() }
}

/// The name of the directory that holds a repository.
pub fn directory_name(repo_url: Option<&str>) -> String {
    let url = repo_url.unwrap_or_default().trim();
    if let Ok(repository) = Repository::parse(url) {
        return sanitize_name(repository.name());
    }
    let segment = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let segment = segment.strip_suffix(".git").unwrap_or(segment);
    if segment.is_empty() { "repo".to_owned() } else { sanitize_name(segment) }
}

/// Where the repository lies in a sandbox.
pub fn sandbox_directory(repo_url: Option<&str>) -> String {
    format!("{WORKSPACE}/{}", directory_name(repo_url))
}
