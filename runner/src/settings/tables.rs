//! What the configuration file alone can say: which agents there are, and who may use them (docs/spec/session-mailbox.md 8.2).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::gather::{NamedFile, read_text};
use crate::failure::Failure;

/// The sections that are read here.
pub(super) const SECTIONS: [&str; 2] = ["agents", "allow"];

/// The tables of the file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Tables {
    /// Agents by their names, besides those that are known without being named.
    #[serde(default)]
    agents: BTreeMap<String, Agent>,
    /// Who may use this machine.
    #[serde(default)]
    pub allow: Allow,
}

/// How an agent is started.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Agent {
    /// The program, which speaks ACP over its standard input and output.
    pub command: String,
    /// What it is started with.
    #[serde(default)]
    pub args: Vec<String>,
    /// Names of the runner's variables that it gets.
    #[serde(default)]
    pub env: Vec<String>,
    /// Whether it can load conversations.
    #[serde(default = "yes")]
    pub load: bool,
    /// Where it keeps its conversations, below its home: a path with `{session}`, `{cwd}` and `*`.
    #[serde(default)]
    pub transcript: Option<String>,
    /// Where calls of tools say how long they may run: a JSON pointer into their input, by name or kind of the tool.
    #[serde(default)]
    pub declares_limits: BTreeMap<String, String>,
    /// A command that succeeds when the agent is logged in.
    #[serde(default)]
    pub login_check: Vec<String>,
    /// Files of its login, below the home folder of this user: it gets copies where it has none.
    #[serde(default)]
    pub login: Vec<PathBuf>,
    /// Names of its skills; none: all that lie in the share.
    #[serde(default)]
    pub skills: Option<Vec<String>>,
    /// Where it looks for skills, below its home.
    #[serde(default)]
    pub skills_at: Option<PathBuf>,
    /// Paths of the machine that it sees read-only, such as tools in a home folder.
    #[serde(default)]
    pub binds: Vec<PathBuf>,
}

/// Who may use this machine. Nothing said: everything of the user who registered it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Allow {
    /// Patterns of repositories' addresses, in which `*` stands for anything; none: all.
    #[serde(default)]
    pub repos: Vec<String>,
    /// Users whose prompts are taken; none: whomever the worker lets in.
    #[serde(default)]
    pub users: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// Where agents look for skills of which nobody says so.
const SKILLS: [(&str, &str); 1] = [("claude", ".claude/skills")];

/// An agent that need not be named.
struct Known {
    name: &'static str,
    /// The program that speaks ACP for it.
    command: &'static str,
    /// Variables that may hold its key.
    env: &'static [&'static str],
    /// Files below the home folder that may hold its login.
    login: &'static [&'static str],
}

const KNOWN: [Known; 4] = [
    Known {
        name: "claude",
        command: "claude-agent-acp",
        env: &["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
        login: &[".claude/.credentials.json"],
    },
    Known {
        name: "codex",
        command: "codex-acp",
        env: &["OPENAI_API_KEY", "CODEX_API_KEY"],
        login: &[".codex/auth.json"],
    },
    Known { name: "pi", command: "pi-acp", env: &[], login: &[".pi/agent/auth.json"] },
    Known { name: "amp", command: "amp-acp", env: &["AMP_API_KEY"], login: &[".local/share/amp/secrets.json"] },
];

impl Known {
    /// It as a table; `home` is where its login is looked for.
    fn table(&self, home: Option<&Path>) -> Agent {
        let login = self.login.iter().filter_map(|file| Some(home?.join(file))).filter(|file| file.is_file());
        Agent {
            command: self.command.to_owned(),
            args: Vec::new(),
            env: self.env.iter().map(|name| (*name).to_owned()).collect(),
            load: true,
            transcript: None,
            declares_limits: BTreeMap::new(),
            login_check: Vec::new(),
            login: login.collect(),
            skills: None,
            skills_at: None,
            binds: Vec::new(),
        }
    }
}

impl Tables {
    /// Reads them.
    ///
    /// # Errors
    /// [`Failure::Configuration`] that names the line.
    pub fn read(file: &NamedFile) -> Result<Self, Failure> {
        let Some(path) = &file.path else { return Ok(Self::default()) };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && file.may_be_absent => return Ok(Self::default()),
            Err(error) => return Err(Failure::Configuration(format!("{}: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::Configuration(format!("{}, line {line}: {}", path.display(), error.message()))
        })
    }

    /// The agent of this name.
    pub fn agent(&self, name: &str) -> Option<Agent> {
        let known = || Some(KNOWN.iter().find(|known| known.name == name)?.table(std::env::home_dir().as_deref()));
        let mut agent = self.agents.get(name).cloned().or_else(known)?;
        let usual = SKILLS.iter().find(|(known, _)| *known == name).map(|(_, place)| PathBuf::from(place));
        agent.skills_at = agent.skills_at.or(usual);
        Some(agent)
    }

    /// Names of all agents, those that are known without being named last.
    pub fn names(&self) -> Vec<String> {
        let known = KNOWN.iter().map(|known| known.name.to_owned()).filter(|name| !self.agents.contains_key(name));
        self.agents.keys().cloned().chain(known).collect()
    }
}

impl Allow {
    /// Whether sessions with this repository are taken. One without a repository is none of those that are named.
    pub fn admits_repo(&self, repo: Option<&str>) -> bool {
        self.repos.is_empty() || repo.is_some_and(|repo| self.repos.iter().any(|pattern| fits(pattern, repo)))
    }

    /// Whether prompts of this user are taken. One of nobody is of none of those that are named.
    pub fn admits_user(&self, user: Option<&str>) -> bool {
        self.users.is_empty() || user.is_some_and(|user| self.users.iter().any(|allowed| allowed == user))
    }
}

/// Whether a text is what a pattern says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(end) = parts.pop() else { return true };
    // Bounded by the pattern.
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tables, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Tables::read(&NamedFile { path: Some(path), may_be_absent: false }).map_err(|failure| {
            assert_eq!(failure.exit(), 78);
            failure.to_string().split_once("config.toml, ").unwrap().1.to_owned()
        })
    }

    #[test]
    fn agents_are_named_or_known() {
        let text = "[runner]\nid = \"x\"\n[agents.own]\ncommand = \"own-acp\"\nenv = [\"KEY\"]\nload = false\n[agents.claude]\ncommand = \"other\"\n";
        let tables = read(text).unwrap();
        let own = tables.agent("own").unwrap();
        assert_eq!(
            (own.command.as_str(), own.env.as_slice(), own.load),
            ("own-acp", ["KEY".to_owned()].as_slice(), false)
        );
        let claude = tables.agent("claude").unwrap();
        assert_eq!((claude.command.as_str(), claude.skills_at), ("other", Some(".claude/skills".into())));
        assert_eq!((own.skills, own.skills_at), (None, None));
        assert_eq!(tables.agent("codex").unwrap().command, "codex-acp");
        assert_eq!(tables.agent("nobody"), None);
        assert_eq!(tables.names(), ["claude", "own", "codex", "pi", "amp"]);
    }

    #[test]
    fn a_known_agent_is_logged_in_as_this_user_is_and_one_that_is_named_has_what_is_said() {
        let home = tempfile::tempdir().unwrap();
        let claude = KNOWN.iter().find(|known| known.name == "claude").unwrap();
        assert!(claude.table(Some(home.path())).login.is_empty(), "there is none to bring");
        assert!(claude.table(None).login.is_empty());
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let login = home.path().join(".claude/.credentials.json");
        std::fs::write(&login, "{}").unwrap();
        let table = claude.table(Some(home.path()));
        assert_eq!((table.login, table.env[0].as_str()), (vec![login], "ANTHROPIC_API_KEY"));
        let named = read("[agents.claude]\ncommand = \"other\"\n").unwrap().agent("claude").unwrap();
        assert!(named.env.is_empty() && named.login.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(read("\n[agents.own]\ncommand = 1\n").unwrap_err().starts_with("line 3: "));
        assert!(read("[agents.own]\ncommand = \"x\"\nlogins = 1\n").unwrap_err().contains("unknown field"));
        assert!(read("[allow]\nuser = []\n").unwrap_err().starts_with("line 2: unknown field"));
    }

    #[test]
    fn who_may_use_the_machine_is_said_by_patterns_and_names() {
        let all = Allow::default();
        assert!(all.admits_repo(None) && all.admits_user(Some("anybody")) && all.admits_user(None));
        // Both at once: neither says anything of the other.
        let allow = Allow { repos: vec!["https://github.com/own/*".into()], users: vec!["ann".into()] };
        assert!(allow.admits_repo(Some("https://github.com/own/x")) && allow.admits_user(Some("ann")));
        for repo in [Some("https://github.com/other/x"), Some(""), None] {
            assert!(!allow.admits_repo(repo), "{repo:?}");
        }
        for user in [Some("bob"), Some(""), None] {
            assert!(!allow.admits_user(user), "{user:?}");
        }
        for (pattern, text, is_it) in [
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
            ("x", "xy", false),
        ] {
            assert_eq!(fits(pattern, text), is_it, "{pattern} {text}");
        }
    }
}
