//! Versions of the cargo tools. npm's are in package.json.

/// Goes with `worker` in sync-worker/Cargo.toml: both are released as one.
pub(crate) const WORKER_BUILD: &str = "0.8.7";
/// Checks licences, bans and sources of dependencies.
pub(crate) const CARGO_DENY: &str = "0.20.2";
/// Finds unused dependencies.
pub(crate) const CARGO_MACHETE: &str = "0.9.2";
/// Finds misspelt words. The newest that the oldest compiler builds.
pub(crate) const TYPOS: &str = "1.48.0";
/// The server that runs coding agents, as tests/agents/sandbox-agent has it.
pub(crate) const SANDBOX_AGENT: &str = "0.4.2";
/// Asks an API whatever its description allows, from `PyPI`.
pub(crate) const SCHEMATHESIS: &str = "4.32.5";
/// Oldest compiler that the workspace supports (`rust-version` in Cargo.toml).
pub(crate) const OLDEST_RUST: (u32, u32) = (1, 91);
/// Oldest Node that wrangler supports.
pub(crate) const OLDEST_NODE: (u32, u32) = (20, 3);

/// Major and minor number of the first version-like word of `text`: `rustc 1.95.0 (…)`, `v20.20.2`.
pub(crate) fn parse(text: &str) -> Option<(u32, u32)> {
    let word = text.split_whitespace().find_map(|word| {
        let word = word.strip_prefix('v').unwrap_or(word);
        word.starts_with(|c: char| c.is_ascii_digit()).then_some(word)
    })?;
    let mut numbers = word.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_of_rustc_and_node_are_read() {
        assert_eq!(parse("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(parse("v20.20.2"), Some((20, 20)));
        assert_eq!(parse("none"), None);
    }
}
