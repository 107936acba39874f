//! Pushes of the working tree (docs/spec/session-mailbox.md 7.4): real git, and a repository beside it as the remote.

use std::path::Path;
use std::process::Command;

use mailbox::sweep::Change;
use serde_json::{Value, json};

use crate::runner::Runner;

fn git(directory: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(["-c", "user.name=A", "-c", "user.email=a@example.test"]).args(words);
    let done = git.output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// A session whose working tree is a repository with a commit, which would run programs of its own; and the remote.
fn tree(runner: &Runner) -> tempfile::TempDir {
    let remote = tempfile::tempdir().unwrap();
    git(remote.path(), &["init", "--quiet", "--bare"]);
    let work = runner.host.places().work();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(work.join("README.md"), "one\n").unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "--quiet", "-m", "first"]);
    let hook = format!("#!/bin/sh\ntouch {}/ran\n", runner.home().display());
    for name in ["pre-commit", "pre-push", "post-checkout"] {
        let path = work.join(".git/hooks").join(name);
        std::fs::write(&path, &hook).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    remote
}

fn push(runner: &mut Runner, id: &str, remote: &Path, more: &Value) {
    let mut body = json!({"push-id": id, "head-branch": "agent/page", "force": false, "expected": null,
        "commit-message": "All of it", "remote": remote});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    runner.insert(id, "push", &body, false);
}

#[track_caller]
fn done(runner: &mut Runner, id: &str) -> Value {
    let of = |runner: &Runner| runner.told("push.done").into_iter().find(|done| done["push-id"] == id);
    runner.until(&format!("{id} is over"), |runner| {
        of(runner).is_some() && runner.changes.contains(&(id.to_owned(), Change::Complete))
    });
    of(runner).unwrap()
}

#[test]
fn everything_that_stands_there_is_pushed_and_nothing_of_the_tree_s_runs() {
    let mut runner = Runner::new();
    let remote = tree(&runner);
    std::fs::write(runner.host.places().work().join("page.md"), "words\n").unwrap();
    push(&mut runner, "p1", remote.path(), &json!({}));
    runner.spawn();
    let pushed = done(&mut runner, "p1");
    assert_eq!((&pushed["ok"], &pushed["reason"]), (&json!(true), &Value::Null), "{pushed}");
    let commit = git(remote.path(), &["rev-parse", "refs/heads/agent/page"]);
    let output = pushed["output"].as_str().unwrap();
    assert!(output.contains(&format!("agent-commit {commit}\n")), "{output}");
    assert!(output.contains("*\tHEAD:refs/heads/agent/page\t"), "{output}");
    assert_eq!(git(remote.path(), &["show", &format!("{commit}:page.md")]), "words");
    assert_eq!(git(remote.path(), &["log", "-1", "--format=%s", &commit]), "All of it");
    assert!(!runner.home().join("ran").exists());
    // The same again is there already.
    push(&mut runner, "p2", remote.path(), &json!({}));
    assert_eq!(done(&mut runner, "p2")["ok"], true);
}

#[test]
fn a_push_waits_for_the_turn_and_the_next_turn_for_the_push() {
    let mut runner = Runner::new();
    let remote = tree(&runner);
    runner.prompt("one", "wait 700; write late.txt words");
    push(&mut runner, "p1", remote.path(), &json!({}));
    runner.prompt("two", "say after");
    runner.spawn();
    runner.until_ended("two");
    assert_eq!(done(&mut runner, "p1")["ok"], true);
    assert_eq!(git(remote.path(), &["show", "agent/page:late.txt"]), "words");
    let kinds: Vec<&str> = runner.worker.events.iter().map(|event| event.kind.as_str()).collect();
    let at = |kind: &str, number: usize| {
        kinds.iter().enumerate().filter(|(_, one)| **one == kind).nth(number).map(|(at, _)| at).unwrap()
    };
    assert!(at("turn.ended", 0) < at("push.done", 0) && at("push.done", 0) < at("turn.started", 1), "{kinds:?}");
}

#[test]
fn a_branch_that_is_elsewhere_is_overwritten_only_where_it_was_expected() {
    let mut runner = Runner::new();
    let remote = tree(&runner);
    push(&mut runner, "p1", remote.path(), &json!({}));
    runner.spawn();
    assert_eq!(done(&mut runner, "p1")["ok"], true);
    let first = git(remote.path(), &["rev-parse", "agent/page"]);
    git(&runner.host.places().work(), &["commit", "--quiet", "--no-verify", "--amend", "-m", "another"]);
    push(&mut runner, "p2", remote.path(), &json!({}));
    let refused = done(&mut runner, "p2");
    assert_eq!(refused["ok"], false);
    let said = format!("{}{}", refused["reason"], refused["output"]);
    assert!(said.contains("rejected") || said.contains("fetch first"), "{said}");
    push(&mut runner, "p3", remote.path(), &json!({"force": true, "expected": "1".repeat(40)}));
    let refused = done(&mut runner, "p3");
    assert!(refused["output"].as_str().unwrap().contains("stale info"), "{refused}");
    push(&mut runner, "p4", remote.path(), &json!({"force": true, "expected": first}));
    assert_eq!(done(&mut runner, "p4")["ok"], true);
    assert_ne!(git(remote.path(), &["rev-parse", "agent/page"]), first);
}

#[test]
fn where_no_repository_is_the_push_fails_and_what_is_no_push_is_none() {
    let mut runner = Runner::new();
    push(&mut runner, "p1", Path::new("/no/such/remote"), &json!({}));
    runner.spawn();
    let failed = done(&mut runner, "p1");
    assert_eq!(failed["ok"], false);
    assert!(failed["reason"].as_str().unwrap().contains("not a git repository"), "{failed}");
    push(&mut runner, "p2", Path::new("/no/such/remote"), &json!({"head-branch": "--mirror"}));
    runner
        .until("it is refused", |runner| runner.changes.contains(&("p2".into(), Change::Fail("invalid_push".into()))));
}
