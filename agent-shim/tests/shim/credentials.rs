//! Git in the agent's place asks for its credentials (docs/spec/session-mailbox.md 4.10, 8.5): real git, and the host of this process answers.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mailbox::credentials::{ANSWER, Answer, Request};
use mailbox::seal::seal;
use mailbox::sweep::Change;

use crate::runner::{Runner, SHIM};

const SECRET: &str = "s3cret-of-one-call";
const ASKS: &str = "export GIT_TERMINAL_PROMPT=0
fill() { printf 'protocol=https\\nhost=github.com\\npath=acme/project.git\\n\\n' | git credential fill 2>&1; }
cd \"$HOME\" && git init --quiet tree && cd tree
fill
printf 'protocol=https\\nhost=github.com\\npath=acme/project.git\\nusername=u\\npassword=p\\n\\n' | git credential approve
echo over";

/// A runner whose agent asks as git does, and the question.
fn asking() -> (Runner, Request) {
    let mut runner = Runner::new();
    runner.git_helper = true;
    runner.script("ask.sh", ASKS);
    runner.prompt("one", "run ask.sh");
    runner.spawn();
    let request = asked(&mut runner, 0);
    (runner, request)
}

/// The question of this number.
#[track_caller]
fn asked(runner: &mut Runner, number: usize) -> Request {
    let questions = |runner: &Runner| -> Vec<Request> {
        let of_git = runner.asked.iter().filter(|one| one.kind == mailbox::credentials::REQUEST);
        of_git.map(|one| serde_json::from_str(&one.content).unwrap()).collect()
    };
    runner.until("git asks", |runner| questions(runner).len() > number);
    questions(runner).remove(number)
}

fn answer(runner: &mut Runner, id: &str, request: &Request, sealed: Option<String>) {
    let answer = Answer { request_id: request.request_id.clone(), sealed };
    runner.insert(id, ANSWER, &serde_json::to_value(answer).unwrap(), true);
}

/// Whether a text lies in a file below a folder.
fn lies(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return lies(&path, text);
        }
        kind.is_file() && String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text)
    })
}

#[test]
fn git_is_answered_and_the_answer_is_kept_nowhere() {
    let (mut runner, request) = asking();
    assert!(request.question.contains("host=github.com\n") && request.question.contains("path=acme/project.git\n"));
    let told = format!("protocol=https\nhost=github.com\nusername=x-access-token\npassword={SECRET}\n");
    let sealed = seal(&request.key, &request.request_id, told.as_bytes()).unwrap();
    answer(&mut runner, "a1", &request, Some(sealed));
    runner.until_ended("one");
    assert!(
        runner.said().contains(&format!("password={SECRET}")) && runner.said().contains("over"),
        "{}",
        runner.said()
    );
    runner.until("the host knows", |runner| runner.changes.contains(&("a1".into(), Change::Complete)));
    // What the agent prints is its own doing; git, its settings and the mailbox have nothing of it.
    let places = runner.host.places().clone();
    assert!(!lies(&places.inside(), SECRET) && !lies(&places.work(), SECRET));
    assert!(!lies(&places.home().join("tree"), SECRET) && !places.home().join(".git-credentials").exists());
    assert_eq!(
        runner.asked.iter().filter(|one| one.kind == mailbox::credentials::REQUEST).count(),
        1,
        "what git is to keep is asked of nobody"
    );
}

#[test]
fn git_goes_without_what_nobody_gives_or_what_was_sealed_for_somebody_else() {
    let (mut runner, request) = asking();
    answer(&mut runner, "a1", &request, None);
    runner.until_ended("one");
    assert!(runner.said().contains("over") && !runner.said().contains("password="), "{}", runner.said());
    runner.prompt("two", "run ask.sh");
    let second = asked(&mut runner, 1);
    assert_ne!((&second.request_id, &second.key), (&request.request_id, &request.key));
    // One that was sealed for an earlier question, and one for none.
    let sealed = seal(&request.key, &second.request_id, SECRET.as_bytes()).unwrap();
    answer(&mut runner, "a2", &request, Some(sealed.clone()));
    answer(&mut runner, "a3", &second, Some(sealed));
    runner.until_ended("two");
    assert!(!runner.said().contains("password="), "{}", runner.said());
    let skipped = |id: &str| runner.changes.iter().any(|(one, change)| one == id && change.is_final());
    assert!(skipped("a2") && skipped("a3"));
}

#[test]
fn a_helper_that_nobody_answers_says_nothing_and_git_goes_on() {
    let out = tempfile::tempdir().unwrap();
    for word in ["get", "store", "erase"] {
        let mut helper = Command::new(SHIM);
        helper.args(["git-credential", "--out"]).arg(out.path()).arg(word);
        let mut helper = helper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        helper.stdin.take().unwrap().write_all(b"protocol=https\nhost=github.com\npath=a/b\n\n").unwrap();
        let done = helper.wait_with_output().unwrap();
        assert!(done.status.success() && done.stdout.is_empty(), "{word}: {done:?}");
    }
}
