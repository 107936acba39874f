//! The same over a real sandbox-agent server, whose agent is the stand-in. `SANDBOX_AGENT_BIN` names the server, else it is the one
//! in the cache folder; where there is none, these cases are told as not run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mailbox::HostMailbox as _;

use crate::runner::{Runner, gone};

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SANDBOX_AGENT_BIN") {
        return Some(named.into());
    }
    let cache = Path::new(&std::env::var_os("HOME")?)
        .join(".cache/logseq-workers/sandbox-agent-0.4.2/node_modules/@sandbox-agent");
    let packages = std::fs::read_dir(cache).ok()?.flatten();
    packages
        .map(|package| package.path().join("bin/sandbox-agent"))
        .find(|path| path.is_file() && !path.to_string_lossy().contains("/cli/"))
}

/// A runner whose agent is behind the server.
fn runner() -> Option<Runner> {
    let Some(binary) = binary() else {
        eprintln!("not run: no sandbox-agent here");
        return None;
    };
    let mut runner = Runner::new();
    let folder = runner.home().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let program = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let agent = runner.command.1.first().unwrap();
    program("claude-agent-acp", &format!("#!/bin/sh\nexec node '{agent}' \"$@\"\n"));
    program("claude", "#!/bin/sh\nexit 0\n");
    runner.path = Some(format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    let words = "server --host 127.0.0.1 --port {port} --token {token} --no-telemetry";
    runner.command = (binary.to_str().unwrap().to_owned(), words.split(' ').map(str::to_owned).collect());
    Some(runner)
}

#[test]
fn a_turn_with_a_question_and_one_that_is_interrupted() {
    let Some(mut runner) = runner() else { return };
    runner.prompt("one", "say hello; ask; stream 20");
    runner.spawn();
    let asked = runner.until_told("permission")["request-id"].as_str().unwrap().to_owned();
    runner.answer("a1", &asked, "allow");
    assert_eq!(runner.until_ended("one")["stop-reason"], "end_turn");
    assert!(runner.said().starts_with("helloallowed0 1 2 "), "{}", runner.said());
    runner.prompt("two", "say running; wait 600000");
    runner.until("it runs", |runner| runner.said().contains("running"));
    runner.host.interrupt(runner.work_seq()).unwrap();
    let ended = runner.until_ended("two");
    assert_eq!((&ended["stop-reason"], &ended["stopped"]), (&"cancelled".into(), &"agent".into()));
    // Each turn has one end, though the server answers twice: where it was asked, and on its stream.
    assert_eq!((runner.told("turn.ended").len(), runner.told("turn.started").len()), (2, 2));
    let agent = u32::try_from(runner.log()[0]["pid"].as_u64().unwrap()).unwrap();
    runner.host.ask_to_stop(1).unwrap();
    assert_eq!(runner.exit(), Some(0));
    gone(agent);
}

#[test]
fn an_agent_that_dies_behind_the_server_is_replaced_with_its_server_and_loads_the_conversation() {
    let Some(mut runner) = runner() else { return };
    runner.prompt("zero", "say before");
    runner.spawn();
    runner.until_ended("zero");
    runner.prompt("one", "exit 3");
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["attempt"]), (&"end_turn".into(), &2.into()));
    assert_eq!(runner.told("opened").last().unwrap()["loaded"], true);
    runner.prompt("two", "recall");
    runner.until_ended("two");
    assert!(runner.said().contains("say before | exit 3"), "{}", runner.said());
}

/// docs/spec/session-mailbox.md 4.7: "Reconnecting repeats an unanswered permission request".
#[test]
fn a_question_that_a_stream_repeats_is_asked_once_and_answered_once() {
    let mut runner = Runner::new();
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/server.mjs");
    let agent = runner.command.1.remove(0);
    runner.command.1 = vec![server.to_str().unwrap().to_owned(), "{port}".into(), "{token}".into(), agent];
    runner.prompt("one", "ask; ask; say over");
    runner.spawn();
    let noted = |runner: &Runner, name: &str| std::fs::read_to_string(runner.home().join(name)).unwrap_or_default();
    let id =
        |runner: &Runner, place: usize| runner.told("permission")[place]["request-id"].as_str().unwrap().to_owned();
    runner.until_told("permission");
    // Open when it is repeated.
    runner.until("it is repeated", |runner| noted(runner, "repeated").lines().count() == 1);
    let first = id(&runner, 0);
    runner.answer("a1", &first, "allow");
    runner.until("the second question", |runner| runner.told("permission").len() == 2);
    // Answered when it is repeated.
    let second = id(&runner, 1);
    runner.answer("a2", &second, "reject");
    runner.until_ended("one");
    assert_eq!(noted(&runner, "repeated").lines().count(), 2);
    assert_eq!(runner.said(), "allowedrejectedover");
    assert_eq!((runner.told("permission").len(), noted(&runner, "answers").lines().count()), (2, 2));
    assert!(runner.told("permission.void").is_empty(), "nothing is left open");
}
