//! The commands themselves (agents.md 5.3.5, 5.3.6, 5.3.9, 3.9). Each text is a constant.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Command, CommandError};
use crate::publish::CommitId;
use crate::repository::{BranchName, Repository};

/// How long a clone and an init script may take, in seconds.
pub(super) const CLONE_SECONDS: u64 = 600;
const START_SECONDS: u64 = 180;
const MAX_VERSION_CHARS: usize = 32;

/// The release channel of the agent server, such as `0.3.x` (agents.md 5.3.1): letters, digits, `.` and `-`, at most 32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChannel(String);

impl VersionChannel {
    /// Checks the operator's setting.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        // A channel is one segment of a URL's path: `..` would be another path.
        if (1..=MAX_VERSION_CHARS).contains(&text.len()) && text.bytes().all(is_allowed) && !text.contains("..") {
            Ok(Self(text.to_owned()))
        } else {
            Err(CommandError::Version)
        }
    }
}

/// Installs the agent server in a sandbox whose image does not have it.
pub fn install(version: &VersionChannel) -> Result<Command, CommandError> {
    const TEXT: &str = r#"set -o pipefail
curl -fsSL -- "https://releases.rivet.dev/sandbox-agent/$AGENT_VERSION/install.sh" | sh"#;
    Ok(Command::script(TEXT, &[("AGENT_VERSION", &version.0)])?.within(START_SECONDS))
}

/// What the agent server of a sandbox is started with.
#[derive(Clone, Copy)]
pub struct AgentServer<'a> {
    /// The bearer token that it asks for, if any.
    pub token: Option<&'a str>,
    /// The port that it listens on.
    pub port: u16,
    /// The directory that it works in. It need not be there: the clone comes later.
    pub directory: &'a str,
}

/// Variables by which sandboxes are given credentials (agents.md 5.3.2). One that is empty is none: [`agent_server`] does not hand it on.
pub const CREDENTIALS: [&str; 5] =
    ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "GH_TOKEN", "GITHUB_APP_INSTALLATION_TOKEN"];

/// Starts the agent server in the background, in a session of its own. The output is `agent-sid N`, by which
/// [`stop_agent`] finds every process that the server started; the number is noted in the sandbox too, for [`end_restored`].
pub fn agent_server(server: &AgentServer<'_>) -> Result<Command, CommandError> {
    const TEXT: &str = r#"cd -- "$AGENT_DIR" 2>/dev/null
if [ -n "$AGENT_TOKEN" ]; then set -- --token "$AGENT_TOKEN"; else set -- --no-token; fi
port=$AGENT_PORT
unset AGENT_TOKEN AGENT_PORT AGENT_DIR
for name in OPENAI_API_KEY ANTHROPIC_API_KEY GITHUB_TOKEN GH_TOKEN GITHUB_APP_INSTALLATION_TOKEN; do
  if [ -z "${!name}" ]; then unset "$name"; fi
done
SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS=86400000 setsid nohup sandbox-agent server "$@" --host 0.0.0.0 --port "$port" --no-telemetry </dev/null >"${TMPDIR:-/tmp}/sandbox-agent.log" 2>&1 &
printf '%s\n' "$!" >"${TMPDIR:-/tmp}/sandbox-agent.sid"
printf 'agent-sid %s\n' "$!""#;
    let port = server.port.to_string();
    let values = [
        ("AGENT_TOKEN", server.token.unwrap_or_default()),
        ("AGENT_PORT", port.as_str()),
        ("AGENT_DIR", server.directory),
    ];
    Ok(Command::script(TEXT, &values)?.within(START_SECONDS))
}

/// Asks the agent server of a sandbox whether it is well; [`is_healthy`] reads the output. The token goes through a pipe,
/// because arguments can be seen by every process of the sandbox.
pub fn health(token: Option<&str>, port: u16) -> Result<Command, CommandError> {
    const TEXT: &str = r#"header=
if [ -n "$AGENT_TOKEN" ]; then header="authorization: Bearer $AGENT_TOKEN"; fi
if printf '%s\n' "$header" | curl -fsS -H @- -- "http://localhost:$AGENT_PORT/v1/health" >/dev/null 2>&1; then echo __HEALTH_OK__; else echo __HEALTH_FAIL__; fi"#;
    Command::script(TEXT, &[("AGENT_TOKEN", token.unwrap_or_default()), ("AGENT_PORT", &port.to_string())])
}

/// Whether the output of [`health`] says that the server is well.
pub fn is_healthy(output: &str) -> bool {
    output.contains("__HEALTH_OK__")
}

/// Makes git use the credentials file, and closes the credential files that were uploaded to everybody else. The files
/// come by upload, so that no secret stands in a command (agents.md 5.3.5).
pub fn secure_credentials() -> Result<Command, CommandError> {
    const TEXT: &str = r#"set -e
git config --global credential.helper store
for file in ~/.git-credentials ~/.codex/auth.json; do
  if [ -f "$file" ]; then chmod 600 -- "$file"; fi
done"#;
    Command::script(TEXT, &[])
}

/// Where git's way to ask this service for tokens lies, below the home: the file that [`use_broker`] puts into its place.
pub const BROKER_FILE: &str = ".logseq-agents/git-broker.new";

/// Makes git ask this service for a token whenever it needs one for GitHub (agents.md 20.6). What curl needs for that was uploaded as
/// [`BROKER_FILE`]; it takes its place in one step, and settings that are there stay, because git may be asking just now. A helper that an image
/// or an earlier deployment has set is not asked: it would be told the token, to keep it.
pub fn use_broker() -> Result<Command, CommandError> {
    const TEXT: &str = r#"set -e
cd -- ~/.logseq-agents
chmod 700 .
chmod 600 git-broker.new
mv -f git-broker.new git-broker
rm -f -- ~/.git-credentials
if [ -f ~/.codex/auth.json ]; then chmod 600 -- ~/.codex/auth.json; fi
git config --global --unset-all credential.helper '^store$' || true
helper='!f() { if [ "$1" = get ]; then curl -fsS --max-time 30 -H "content-type: text/plain" --data-binary @- -K ~/.logseq-agents/git-broker 2>/dev/null; fi; }; f'
if [ "$(git config --global --get-all credential.https://github.com.helper | tail -n 1)" != "$helper" ]; then
  git config --global --replace-all credential.https://github.com.helper ''
  git config --global --add credential.https://github.com.helper "$helper"
fi
git config --global credential.https://github.com.useHttpPath true"#;
    Command::script(TEXT, &[])
}

/// Removes the credential files before a snapshot is taken (agents.md 11.2, B28).
pub fn clear_credentials() -> Result<Command, CommandError> {
    Command::script(
        "rm -f -- ~/.git-credentials ~/.codex/auth.json ~/.logseq-agents/git-broker ~/.logseq-agents/git-broker.new",
        &[],
    )
}

/// What is cloned, and where to.
#[derive(Clone, Copy)]
pub struct Clone<'a> {
    /// The repository's URL, as the session names it. It may be of any host.
    pub repo_url: &'a str,
    /// The directory to be made. Its parent is made first.
    pub directory: &'a str,
    /// The base branch, only when one was explicitly asked for.
    pub branch: Option<&'a BranchName>,
}

/// The built-in clone command.
pub fn clone(clone: &Clone<'_>) -> Result<Command, CommandError> {
    const TEXT: &str = r#"mkdir -p -- "${AGENT_REPO_DIR%/*}" && cd -- "${AGENT_REPO_DIR%/*}" && git clone --depth 1 --single-branch --no-tags -- "$AGENT_REPO_URL" "$AGENT_REPO_DIR" && chmod -R u+rw -- "$AGENT_REPO_DIR""#;
    const ON_BRANCH: &str = r#"mkdir -p -- "${AGENT_REPO_DIR%/*}" && cd -- "${AGENT_REPO_DIR%/*}" && git clone --depth 1 --single-branch --no-tags --branch "$AGENT_BRANCH" -- "$AGENT_REPO_URL" "$AGENT_REPO_DIR" && chmod -R u+rw -- "$AGENT_REPO_DIR""#;
    let (url, directory) = (("AGENT_REPO_URL", clone.repo_url), ("AGENT_REPO_DIR", clone.directory));
    let command = match clone.branch {
        None => Command::script(TEXT, &[url, directory]),
        Some(branch) => Command::script(ON_BRANCH, &[url, directory, ("AGENT_BRANCH", branch.as_str())]),
    };
    Ok(command?.within(CLONE_SECONDS))
}

/// Brings a repository that is already there to its base branch, when nothing in it is changed (agents.md 5.3.6, B30).
pub fn update(directory: &str, base: &BranchName) -> Result<Command, CommandError> {
    const TEXT: &str = r#"set -e
cd -- "$AGENT_DIR"
status=$(git status --porcelain)
if [ -z "$status" ]; then
  git fetch --depth 1 origin "refs/heads/$AGENT_BASE"
  git checkout -B "$AGENT_BASE" FETCH_HEAD --
fi"#;
    let values = [("AGENT_DIR", directory), ("AGENT_BASE", base.as_str())];
    Ok(Command::script(TEXT, &values)?.within(CLONE_SECONDS))
}

/// Runs the project's init script in the repository. This text is code by intention, in its own session's sandbox alone.
pub fn run_init(directory: &str, init: &str) -> Result<Command, CommandError> {
    const TEXT: &str = r#"cd -- "$AGENT_DIR" && exec bash -e -c "$AGENT_INIT""#;
    Ok(Command::script(TEXT, &[("AGENT_DIR", directory), ("AGENT_INIT", init)])?.within(CLONE_SECONDS))
}

/// Kills a session of processes, with proof.
macro_rules! kill_session {
    () => {
        r#"pkill -KILL -s "$AGENT_SID"
for turn in 1 2 3 4 5 6 7 8 9 10; do
  pgrep -s "$AGENT_SID" -r D,R,S,T,t,I >/dev/null
  if [ $? -eq 1 ]; then exit 0; fi
  sleep 0.5
done
exit 1"#
    };
}

/// Ends the agent server that a snapshot brought along with the rest of its memory, if one was noted: it has the token and the
/// variables of the session that the snapshot was taken of. Exit code 0 is the proof, as in [`stop_agent`]. Everybody in the
/// sandbox may have written the note: what is no number of a process is none.
pub fn end_restored() -> Result<Command, CommandError> {
    const TEXT: &str = concat!(
        r#"read -r AGENT_SID 2>/dev/null <"${TMPDIR:-/tmp}/sandbox-agent.sid" || exit 0
case $AGENT_SID in ''|0*|*[!0-9]*|????????*) exit 0 ;; esac
"#,
        kill_session!()
    );
    Command::script(TEXT, &[])
}

/// Kills what the agent server started and waits at most five seconds until only zombies of it are left (agents.md 3.9).
/// Exit code 0 is the proof: `pgrep` said that it found none (1), not that it could not look (2 and above). A session of 0
/// would be that of `pkill` itself.
pub fn stop_agent(session: NonZeroU32) -> Result<Command, CommandError> {
    Command::script(kill_session!(), &[("AGENT_SID", &session.to_string())])
}

/// What a force push expects of the branch on the remote (agents.md 10.2, B62).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The branch is not there yet.
    Absent,
    /// The branch is where this session's last push left it.
    At(CommitId),
}

/// A push of everything in the repository's directory.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// The repository's directory.
    pub directory: &'a str,
    /// Where the push goes.
    pub repository: &'a Repository,
    /// The branch that is made or moved.
    pub head: &'a BranchName,
    /// The message of the commit, if there is something to commit.
    pub message: &'a str,
    /// Set when the branch may be overwritten, as far as the lease allows.
    pub force: Option<&'a Lease>,
    /// The installation token. It travels as a header, in no URL and no argument.
    pub token: &'a str,
}

impl Push<'_> {
    /// The command. Its output is read by `publish::PushReport`.
    pub fn command(&self) -> Result<Command, CommandError> {
        // Hooks, file monitors and signing programs are settings that the agent may have written: none of them is to run
        // with the push token.
        const TEXT: &str = r#"set -e
cd -- "$AGENT_DIR"
test "$(git rev-parse --is-inside-work-tree)" = true
git checkout --quiet -B "$AGENT_HEAD" --
git add -A
if ! git diff --cached --quiet; then
  git -c user.name='Logseq Agent' -c user.email=agent@logseq.local commit --quiet -m "$AGENT_MESSAGE"
fi
printf 'agent-commit %s\n' "$(git rev-parse HEAD)"
set --
if [ -n "$AGENT_FORCE" ]; then set -- "--force-with-lease=refs/heads/$AGENT_HEAD:$AGENT_LEASE"; fi
git push --porcelain "$@" -- "$AGENT_REMOTE" "HEAD:refs/heads/$AGENT_HEAD""#;
        let remote = self.repository.remote_url();
        let header = format!("Authorization: Basic {}", STANDARD.encode(format!("x-access-token:{}", self.token)));
        let lease = match self.force {
            Some(Lease::At(commit)) => commit.as_str(),
            Some(Lease::Absent) | None => "",
        };
        Ok(Command::script(
            TEXT,
            &[
                ("AGENT_DIR", self.directory),
                ("AGENT_HEAD", self.head.as_str()),
                ("AGENT_MESSAGE", self.message),
                ("AGENT_REMOTE", &remote),
                ("AGENT_FORCE", if self.force.is_some() { "1" } else { "" }),
                ("AGENT_LEASE", lease),
                ("GITHUB_TOKEN", self.token),
                ("GH_TOKEN", self.token),
                ("GITHUB_APP_INSTALLATION_TOKEN", self.token),
                ("GIT_CONFIG_COUNT", "5"),
                ("GIT_CONFIG_KEY_0", "http.extraHeader"),
                ("GIT_CONFIG_VALUE_0", &header),
                ("GIT_CONFIG_KEY_1", "core.hooksPath"),
                ("GIT_CONFIG_VALUE_1", "/dev/null"),
                ("GIT_CONFIG_KEY_2", "credential.helper"),
                ("GIT_CONFIG_VALUE_2", ""),
                ("GIT_CONFIG_KEY_3", "core.fsmonitor"),
                ("GIT_CONFIG_VALUE_3", "false"),
                ("GIT_CONFIG_KEY_4", "commit.gpgSign"),
                ("GIT_CONFIG_VALUE_4", "false"),
            ],
        )?
        .within(CLONE_SECONDS))
    }
}
