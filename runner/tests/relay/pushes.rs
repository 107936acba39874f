//! The worker wants a push, and the session's working tree is pushed within the agent's place (docs/spec/session-mailbox.md 7.4).

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sessions::mailbox::desk::{self, NewItem, Told};

use super::machine::Machine;

fn git(directory: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(["-c", "user.name=A", "-c", "user.email=a@example.test"]).args(words);
    let done = git.output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_working_tree_is_pushed_when_the_worker_wants_it() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[("IDLE_EXIT", "1s")]);
    assert_eq!(plane.lock().registrations[0]["capabilities"], json!(["push"]));
    plane.say("s1", "one", "write page.md words");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let remote = tempfile::tempdir().unwrap();
    git(remote.path(), &["init", "--quiet", "--bare"]);
    git(&machine.session("s1").work(), &["init", "--quiet"]);
    let push = |id: &str, remote: &Path| {
        let body = json!({"push-id": id, "head-branch": "agent/page", "force": false, "expected": null,
            "commit-message": "A page", "remote": remote});
        let item = NewItem::new(id, body.to_string());
        plane.change("s1", |desk, decide| desk::push(desk, decide, item)).unwrap();
        plane.told("s1", &format!("{id} is over"), |told| match told {
            Told::PushDone { push_id, ok, reason, .. } if push_id == id => Some((*ok, reason.clone())),
            _ => None,
        })
    };
    assert_eq!(push("00000000-0000-4000-8000-000000000001", remote.path()), (true, None));
    assert_eq!(git(remote.path(), &["show", "agent/page:page.md"]), "words");
    let (ok, reason) = push("00000000-0000-4000-8000-000000000002", Path::new("/no/such/remote"));
    assert!(!ok && reason.unwrap().contains("/no/such/remote"));
    // Its agent has ended meanwhile, or not: the next turn goes on.
    plane.say("s1", "two", "say fine");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    runner.stop();
}
