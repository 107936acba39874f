//! What stands in the working tree goes to a branch (docs/spec/session-mailbox.md 7.4 `push`): a commit of everything, and a push, as a program of
//! the agent's tree. Hooks, monitors and programs that sign are settings that the agent may have written: none of them runs here.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::agent::surround;
use crate::git::{self, Setting};
use crate::session::Event;

/// How long a push may take. Whoever asked for it waits a little longer.
const LIMIT: Duration = Duration::from_secs(170);
/// Bytes of what git says that are kept of each of its outputs.
const SAID: usize = 4_000;
/// The last line of one that worked: whether it did is not known by its exit, which others of this process may have taken in.
const DONE: &str = "agent-pushed";

const SCRIPT: &str = r#"set -e
test "$(git rev-parse --is-inside-work-tree)" = true
git checkout --quiet -B "$AGENT_HEAD" --
git add -A
if ! git diff --cached --quiet; then
  git -c user.name='Logseq Agent' -c user.email=agent@logseq.local commit --quiet -m "$AGENT_MESSAGE"
fi
printf 'agent-commit %s\n' "$(git rev-parse HEAD)"
set --
if [ -n "$AGENT_FORCE" ]; then set -- "--force-with-lease=refs/heads/$AGENT_HEAD:$AGENT_EXPECTED"; fi
git push --porcelain "$@" -- "$AGENT_REMOTE" "HEAD:refs/heads/$AGENT_HEAD"
printf 'agent-pushed\n'"#;

/// A push that the worker wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// The worker's name of it.
    pub(crate) id: String,
    head: String,
    message: String,
    remote: String,
    /// Where the branch has to be for it to be overwritten; empty: nowhere. None: it is not overwritten.
    expected: Option<String>,
}

/// What came of a push.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// Whether it worked.
    pub(crate) ok: bool,
    /// What git said of what went wrong: the end of it.
    pub(crate) reason: String,
    /// What git said else: the end of it.
    pub(crate) output: String,
}

impl Push {
    /// Reads what the worker says. None when that is no push.
    pub(crate) fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body.get(name)?.as_str().filter(|text| !text.contains('\0')).map(str::to_owned);
        let is_forced = body.get("force").and_then(Value::as_bool).unwrap_or_default();
        let expected = if is_forced { Some(text("expected")?) } else { None };
        // A branch that looks like an option is none: git would refuse it, and nothing here is to depend on that.
        let head = text("head-branch").filter(|head| !head.is_empty() && !head.starts_with('-'))?;
        let (id, message, remote) = (text("push-id")?, text("commit-message")?, text("remote")?);
        Some(Self { id, head, message, remote, expected })
    }
}

/// The settings of git under which a push is made, beside those of its helper.
fn settings(helper: Vec<Setting>) -> Vec<Setting> {
    let mut settings = vec![
        ("core.hooksPath", "/dev/null".to_owned()),
        ("core.fsmonitor", "false".to_owned()),
        ("commit.gpgSign", "false".to_owned()),
        ("push.gpgSign", "false".to_owned()),
    ];
    settings.extend(helper);
    settings
}

/// Where a push is made.
pub(crate) struct Place<'a> {
    /// The working tree.
    pub(crate) directory: &'a Path,
    /// The agent's home.
    pub(crate) home: &'a Path,
    /// The mark of the agent's tree.
    pub(crate) mark: &'a str,
    /// How git finds its helper.
    pub(crate) helper: Vec<Setting>,
}

/// Begins a push; its end is an event.
pub(crate) fn begin(push: &Push, place: Place<'_>, events: Sender<Event>) -> std::io::Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "push"]).current_dir(place.directory);
    surround(&mut command, place.home, place.mark);
    command.envs(git::variables(settings(place.helper)));
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file");
    let (expected, force) = (push.expected.as_deref().unwrap_or_default(), push.expected.is_some());
    for (name, value) in [
        ("AGENT_HEAD", push.head.as_str()),
        ("AGENT_MESSAGE", &push.message),
        ("AGENT_REMOTE", &push.remote),
        ("AGENT_EXPECTED", expected),
        ("AGENT_FORCE", if force { "1" } else { "" }),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn()?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    std::thread::Builder::new().name("push".into()).spawn(move || {
        let (output, errors) = (said(output), said(errors));
        let deadline = Instant::now() + LIMIT;
        // Bounded by the deadline. Its outputs end with it, or with what it left behind.
        let heard = |from: &std::sync::mpsc::Receiver<String>| {
            from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
        };
        let (output, errors) = (heard(&output), heard(&errors));
        let is_late = output.is_none() || errors.is_none();
        if is_late {
            // It has a group of its own, with git and what that has started. One that ended meanwhile is no loss.
            let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        let output = output.unwrap_or_default();
        let ok = !is_late && output.lines().next_back() == Some(DONE);
        let reason = if is_late { "the push took too long".to_owned() } else { errors.unwrap_or_default() };
        // Nobody hears it when the session is over.
        let _ = events.send(Event::Pushed(Pushed { ok, reason, output }));
        // Unless it was taken in as one of the tree.
        let _ = child.wait();
    })?;
    Ok(())
}

/// Reads all that a program says; the end of it is told.
fn said(from: Option<impl Read + Send + 'static>) -> std::sync::mpsc::Receiver<String> {
    let (tell, told) = channel();
    let reading = std::thread::Builder::new().name("push-said".into()).spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 8192]);
        let Some(mut from) = from else { return };
        // Ends with the program.
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
            let excess = kept.len().saturating_sub(SAID);
            kept.drain(..excess);
        }
        // A letter that was cut counts three bytes.
        let mut text = String::from_utf8_lossy(&kept).into_owned();
        text.truncate(text.floor_char_boundary(SAID));
        let _ = tell.send(text);
    });
    // Without a thread nothing is told, and the push is taken for one that takes too long.
    drop(reading);
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_push_is_not_read() {
        let good = json!({"push-id": "p", "head-branch": "b", "force": false, "expected": null, "commit-message": "m", "remote": "r"});
        assert_eq!(Push::read(&good).unwrap().expected, None);
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            Push::read(&changed)
        };
        assert_eq!(with("force", true.into()), None, "it is not said what is overwritten");
        for (name, value) in [
            ("push-id", Value::Null),
            ("head-branch", "".into()),
            ("head-branch", "--mirror".into()),
            ("head-branch", "a\0b".into()),
            ("commit-message", 1.into()),
            ("remote", Value::Null),
        ] {
            assert_eq!(with(name, value.clone()), None, "{name}: {value}");
        }
        let mut forced = good;
        (forced["force"], forced["expected"]) = (true.into(), "".into());
        assert_eq!(Push::read(&forced).unwrap().expected.as_deref(), Some(""));
    }
}
