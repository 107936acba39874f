//! Where agents keep their conversations (transcripts.md 4.2): data, not code. A place is a path below the agent's home with
//! `{session}` and `{cwd}` for the agent's session and its directory, and `*` for what is not known.

use crate::bundle::is_path;
use crate::limits::PATTERNS;

/// What is known without any setting.
const KNOWN: [(&str, &str); 2] =
    [("claude", ".claude/projects/{cwd}/{session}.jsonl"), ("codex", ".codex/sessions/*/*/*/*-{session}.jsonl")];

/// Why `TRANSCRIPT_GLOBS` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be agent=path entries separated by commas, with paths such as .agent/{{cwd}}/*-{{session}}.jsonl")]
pub struct PlacesError;

/// The places of all agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<(String, String)>);

impl Default for Places {
    fn default() -> Self {
        Self(KNOWN.map(|(agent, path)| (agent.to_owned(), path.to_owned())).to_vec())
    }
}

/// A path below the home of the agent; `*` stands for any part of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Places {
    /// Adds the entries of `TRANSCRIPT_GLOBS`. An agent that is named there has no other places.
    pub fn parse(text: &str) -> Result<Self, PlacesError> {
        let mut named = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (agent, path) = entry.split_once('=').ok_or(PlacesError)?;
            let plain = path.replace("{session}", "s").replace("{cwd}", "c").replace('*', "x");
            let is_known = !plain.contains(|c: char| "{}?[]\\~$".contains(c));
            if agent.trim().is_empty() || !is_known || !is_path(&plain) || named.len() >= PATTERNS {
                return Err(PlacesError);
            }
            named.push((agent.trim().to_owned(), path.trim().to_owned()));
        }
        let known = Self::default().0.into_iter().filter(|(agent, _)| named.iter().all(|(other, _)| other != agent));
        Ok(Self(known.collect::<Vec<_>>().into_iter().chain(named).collect()))
    }

    /// Where that agent keeps that session. None when nothing is known of it, or its names could lead elsewhere.
    pub fn of(&self, agent: &str, session: &str, cwd: &str) -> Vec<Pattern> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if session.is_empty() || session.starts_with('.') || !session.chars().all(is_name) {
            return Vec::new();
        }
        // As Claude names the folder of a directory.
        let cwd: String = cwd.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let own = self.0.iter().filter(|(name, _)| name == agent);
        own.map(|(_, path)| Pattern(path.replace("{session}", session).replace("{cwd}", &cwd)))
            .filter(|pattern| is_path(&pattern.0))
            .collect()
    }
}

impl Pattern {
    /// The path itself, when nothing of it is unknown.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// The folder below which everything lies that can match.
    pub fn folder(&self) -> &str {
        let known = self.0.split('*').next().unwrap_or_default();
        known.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The last name, with its stars.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// How many folders lie between [`Self::folder`] and the file, and the file itself.
    pub fn depth(&self) -> usize {
        let known = self.folder();
        let all = self.0.split('/').count();
        if known.is_empty() { all } else { all.saturating_sub(known.split('/').count()) }
    }

    /// Whether it is that path.
    pub fn matches(&self, path: &str) -> bool {
        let (own, theirs): (Vec<&str>, Vec<&str>) = (self.0.split('/').collect(), path.split('/').collect());
        own.len() == theirs.len() && own.iter().zip(&theirs).all(|(own, theirs)| matches_name(own, theirs))
    }
}

/// Parts between stars must follow each other; the first and the last are bound to the ends.
fn matches_name(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(places: &Places, agent: &str, session: &str) -> Vec<Pattern> {
        places.of(agent, session, "/home/user/work_1")
    }

    #[test]
    fn known_agents_have_places() {
        let places = Places::default();
        let claude = of(&places, "claude", "a-1");
        assert_eq!(claude[0].exact(), Some(".claude/projects/-home-user-work-1/a-1.jsonl"));
        let codex = of(&places, "codex", "a-1");
        assert_eq!(
            (codex[0].exact(), codex[0].folder(), codex[0].name(), codex[0].depth()),
            (None, ".codex/sessions", "*-a-1.jsonl", 4)
        );
        assert!(codex[0].matches(".codex/sessions/2026/01/02/rollout-x-a-1.jsonl"));
        for other in [
            ".codex/sessions/2026/01/rollout-x-a-1.jsonl",
            ".codex/sessions/2026/01/02/x-b-1.jsonl",
            ".codex/sessions/2026/01/02/3/x-a-1.jsonl",
            ".codex/session/2026/01/02/x-a-1.jsonl",
        ] {
            assert!(!codex[0].matches(other), "{other}");
        }
        assert!(of(&places, "amp", "a-1").is_empty());
    }

    #[test]
    fn names_of_sessions_lead_nowhere_else() {
        for session in ["", ".", "..", "../x", "a/b", "a*", "a b", "a\0", "é", "{cwd}"] {
            assert!(of(&Places::default(), "claude", session).is_empty(), "{session:?}");
        }
    }

    #[test]
    fn places_can_be_set() {
        let places = Places::parse("claude=.c/{session}.jsonl, pi=.pi/*/{session}.*,pi=.pi/index").unwrap();
        assert_eq!(of(&places, "claude", "s")[0].exact(), Some(".c/s.jsonl"));
        assert_eq!(of(&places, "pi", "s").len(), 2);
        assert!(of(&places, "pi", "s")[0].matches(".pi/x/s.json"));
        assert_eq!(of(&places, "codex", "s").len(), 1);
        for wrong in
            ["pi", "pi=/etc/passwd", "pi=../x", "=x", "pi=a/[b]", "pi=a/{home}", "pi=", "pi=a//b", &"p=a,".repeat(33)]
        {
            assert_eq!(Places::parse(wrong), Err(PlacesError), "{wrong}");
        }
        assert_eq!(Places::parse(" "), Ok(Places::default()));
    }

    #[test]
    fn stars_stand_for_parts_of_names() {
        for (pattern, name, fits) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("*", "x", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axxc", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches_name(pattern, name), fits, "{pattern} {name}");
        }
    }
}
