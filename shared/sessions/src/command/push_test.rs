//! The push command with real git and a real repository behind the address of GitHub.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::*;
use crate::publish::{CommitId, FailureClass, PushReport, classify};
use crate::repository::{BranchName, Repository};

struct Remote(PathBuf);

impl Remote {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("sessions-push-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("work")).unwrap();
        let remote = root.join("remote.git");
        fs::write(
            root.join(".gitconfig"),
            format!(
                "[url \"file://{}\"]\n insteadOf = https://github.com/acme/app.git\n[init]\n defaultBranch = main\n",
                remote.display()
            ),
        )
        .unwrap();
        let this = Self(root);
        this.git(&["init", "--quiet", "--bare", remote.to_str().unwrap()]);
        this.git(&["init", "--quiet", "."]);
        this
    }

    fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    fn start(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.env_clear().env("HOME", &self.0).env("PATH", std::env::var("PATH").unwrap()).current_dir(self.work());
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.start("git").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn remote(&self, arguments: &[&str]) -> String {
        let path = self.0.join("remote.git");
        self.git(&[&["--git-dir", path.to_str().unwrap()], arguments].concat())
    }

    fn push(&self, head: &BranchName, message: &str, force: Option<&Lease>) -> Output {
        let repository = Repository::parse("https://github.com/acme/app").unwrap();
        let directory = self.work();
        let push = Push {
            directory: directory.to_str().unwrap(),
            repository: &repository,
            head,
            message,
            force,
            token: "ghs_x",
        };
        let command = push.command().unwrap();
        let mut process = self.start(command.program());
        process.args(command.arguments()).envs(command.environment());
        // The remote is a folder here, which is not allowed otherwise.
        process.env("GIT_ALLOW_PROTOCOL", "file").output().unwrap()
    }

    fn pushed(&self, head: &BranchName, message: &str, force: Option<&Lease>) -> PushReport {
        let output = self.push(head, message, force);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        PushReport::parse(&stdout, head).unwrap_or_else(|| panic!("{stdout}"))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_hook(path: &Path, canary: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("#!/bin/sh\n: >'{}'\n", canary.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_push_makes_a_branch_with_the_message_as_it_is() {
    let remote = Remote::new("new");
    let head = BranchName::parse("v@1/a+b#2").unwrap();
    let canary = remote.0.join("canary");
    for hook in ["pre-commit", "commit-msg", "pre-push", "post-checkout"] {
        write_hook(&remote.work().join(".git/hooks").join(hook), &canary);
    }
    fs::write(remote.work().join("-rf $(touch x)"), "1").unwrap();
    let message = "it's \"done\" $(touch pwned) `touch pwned`\n\n-m --amend; \\ 日本";
    let report = remote.pushed(&head, message, None);
    assert!(report.is_new);
    assert_eq!(remote.remote(&["rev-parse", "refs/heads/v@1/a+b#2"]), report.commit.as_str());
    assert_eq!(
        remote.remote(&["log", "-1", "--format=%B%an <%ae>", "v@1/a+b#2"]),
        format!("{message}\nLogseq Agent <agent@logseq.local>")
    );
    assert_eq!(remote.remote(&["ls-tree", "--name-only", "v@1/a+b#2"]), "-rf $(touch x)");
    assert!(!canary.exists(), "a hook ran");
    // Nothing to commit is no failure, and the branch is not new any more.
    let again = remote.pushed(&head, message, None);
    assert_eq!((again.commit, again.is_new), (report.commit, false));
}

#[test]
fn a_force_push_overwrites_only_what_its_lease_says() {
    let remote = Remote::new("force");
    let head = BranchName::parse("topic/one").unwrap();
    let file = remote.work().join("file");
    fs::write(&file, "1").unwrap();
    let first = remote.pushed(&head, "one", Some(&Lease::Absent));
    assert!(first.is_new);
    // Another history, so that only a force push gets it there.
    let rewrite = |text: &str| {
        fs::write(&file, text).unwrap();
        let name = ["-c", "user.name=n", "-c", "user.email=e@example.org"];
        remote.git(&[&name[..], &["commit", "--quiet", "--amend", "--all", "--message", text]].concat());
    };
    rewrite("2");
    let refused = remote.push(&head, "two", None);
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success());
    assert_eq!(classify("", &stderr, &stdout, false), FailureClass::RemoteRejected, "{stdout}{stderr}");
    rewrite("3");
    let second = remote.pushed(&head, "three", Some(&Lease::At(first.commit.clone())));
    assert!(!second.is_new);
    assert_eq!(remote.remote(&["rev-parse", "topic/one"]), second.commit.as_str());
    // Somebody else moved it since, or it is not the session's at all.
    for lease in [Lease::At(first.commit), Lease::Absent] {
        rewrite(&format!("{lease:?}"));
        let refused = remote.push(&head, "four", Some(&lease));
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(!refused.status.success());
        assert_eq!(classify("", &stderr, &stdout, true), FailureClass::ForceRefused, "{stdout}{stderr}");
        assert_eq!(remote.remote(&["rev-parse", "topic/one"]), second.commit.as_str());
    }
    assert!(CommitId::parse(second.commit.as_str()).is_some());
}
