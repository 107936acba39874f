use super::*;
use crate::command::Lease;
use crate::repository::BranchName;

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

fn text(name: Option<BranchName>) -> Option<String> {
    name.map(|name| name.to_string())
}

#[test]
fn the_order_of_the_conditions() {
    let good = Admission {
        is_terminal: false,
        push_enabled: true,
        pr_enabled: true,
        create_pr: true,
        repo_url: Some("https://github.com/acme/app"),
        has_runtime: true,
        head_branch: Some("w"),
    };
    assert_eq!(admit(&good), Ok(Some(branch("w"))));
    assert_eq!(admit(&Admission { head_branch: Some(" "), ..good }), Ok(None));
    // From the last condition to the first: each goes before those that follow it.
    let bad = Admission { head_branch: Some("x'y"), ..good };
    assert_eq!(admit(&bad), Err(Refused::InvalidHead));
    let bad = Admission { has_runtime: false, ..bad };
    assert_eq!(admit(&bad), Err(Refused::RuntimeUnavailable));
    let bad = Admission { repo_url: Some(" "), ..bad };
    assert_eq!(admit(&bad), Err(Refused::MissingRepository));
    let bad = Admission { pr_enabled: false, ..bad };
    assert_eq!(admit(&bad), Err(Refused::Forbidden));
    assert_eq!(admit(&Admission { create_pr: false, ..bad }), Err(Refused::MissingRepository));
    let bad = Admission { push_enabled: false, create_pr: false, ..bad };
    assert_eq!(admit(&bad), Err(Refused::Forbidden));
    assert_eq!(admit(&Admission { is_terminal: true, ..bad }), Err(Refused::NotWritable));
    // The display is the text of the answer.
    assert_eq!(Refused::NotWritable.to_string(), "session is not writable");
    assert_eq!(Refused::InvalidHead.to_string(), "invalid head branch");
}

fn choice<'a>(names: Names<'a>, base: &'a BranchName) -> HeadChoice<'a> {
    HeadChoice {
        requested: None,
        create_pr: true,
        from_chat: false,
        push_to_base: false,
        checkpoint: [None, None],
        base: Some(base),
        names,
    }
}

#[test]
fn the_recorded_names_of_generated_branches() {
    let long = "\n\n  1. Make queries faster than before, with a very long first line that goes well beyond\nsecond";
    for (title, body, name) in [
        (None, None, "feat/parser-12345678"),
        (Some("T"), None, "feat/parser-t-12345678"),
        (
            Some("Fix the crash in Export"),
            Some("## Heading\r\n\n- first point\n"),
            "fix/parser-fix-the-crash-in-export-heading-12345678",
        ),
        (None, Some(long), "perf/parser-make-queries-faster-than-before-with-a-12345678"),
        (Some("  "), Some("  "), "feat/parser-12345678"),
        (Some("Größe & `code` \"quotes\""), None, "feat/parser-gr-e-code-quotes-12345678"),
    ] {
        let names = Names {
            node_title: None,
            project_title: Some("Parser"),
            title,
            body,
            session_id: "12345678-aaaa-bbbb-cccc-dddddddddddd",
        };
        assert_eq!(text(generated(&names)).as_deref(), Some(name));
    }
}

#[test]
fn generated_names_at_their_edges() {
    let name = |names: Names<'_>| text(generated(&names)).unwrap();
    assert_eq!(name(Names::default()), "feat/update-session");
    assert_eq!(name(Names { session_id: "--ÄB/1", ..Names::default() }), "feat/update-b1");
    let node = Names { node_title: Some("Parser"), title: Some("parser!"), ..Names::default() };
    assert_eq!(name(Names { project_title: Some("Other"), ..node }), "feat/parser-session");
    assert_eq!(name(Names { node_title: Some("prefix debugger"), ..Names::default() }), "feat/prefix-debugger-session");
    let long = "x".repeat(2_000);
    let long = name(Names { title: Some(&long), session_id: "12345678", ..Names::default() });
    assert_eq!(long, format!("feat/{}-12345678", "x".repeat(45)));
}

#[test]
fn the_branch_that_is_pushed() {
    let main = branch("main");
    let names = Names { project_title: Some("Parser"), session_id: "12345678", ..Names::default() };
    let choice = choice(names, &main);
    let generated = Some("feat/parser-12345678".to_owned());
    assert_eq!(text(choice.choose()), generated);
    let topic = branch("topic/one");
    assert_eq!(text(HeadChoice { requested: Some(&topic), ..choice }.choose()).as_deref(), Some("topic/one"));
    // A pull request from the base into itself cannot be.
    assert_eq!(text(HeadChoice { requested: Some(&main), ..choice }.choose()), generated);
    let push = HeadChoice { create_pr: false, checkpoint: [None, Some("kept")], ..choice };
    assert_eq!(text(HeadChoice { requested: Some(&main), ..push }.choose()).as_deref(), Some("main"));
    // B41: without a name, the base is pushed to only where the operator said so, and never from the chat.
    assert_eq!(text(push.choose()), generated);
    let to_base = HeadChoice { push_to_base: true, ..push };
    assert_eq!(text(to_base.choose()).as_deref(), Some("kept"));
    assert_eq!(text(HeadChoice { checkpoint: [None, None], ..to_base }.choose()).as_deref(), Some("main"));
    assert_eq!(text(HeadChoice { from_chat: true, ..to_base }.choose()), generated);
    assert_eq!(text(HeadChoice { create_pr: true, ..to_base }.choose()), generated);
}

#[test]
fn bases() {
    assert_eq!(text(push_base(Some("dev"), Some("main"))).as_deref(), Some("dev"));
    assert_eq!(text(push_base(Some("bad name"), Some("trunk"))).as_deref(), Some("trunk"));
    assert_eq!(text(push_base(None, None)).as_deref(), Some("main"));
    let base = |requested, task, detected, head| text(pull_request_base(requested, task, detected, &branch(head)));
    // B42: what was asked for goes before what was detected.
    assert_eq!(base(Some("main"), Some("main"), Some("trunk"), "topic/one").as_deref(), Some("main"));
    assert_eq!(base(Some("trunk"), Some("main"), Some("main"), "w").as_deref(), Some("trunk"));
    assert_eq!(base(None, None, Some("trunk"), "w").as_deref(), Some("trunk"));
    assert_eq!(base(None, Some("trunk"), Some("trunk"), "trunk").as_deref(), Some("main"));
    assert_eq!(base(None, Some("main"), None, "main").as_deref(), Some("master"));
}

#[test]
fn texts_of_a_pull_request() {
    let long = "  1. Make queries faster than before, with a very long first line that goes well beyond seventy-two characters";
    for (requested, given, expected) in [
        (Some("One thing"), "Done one thing.", "One thing"),
        (Some(" "), DEFAULT_BODY, DEFAULT_BODY),
        (None, long, "Make queries faster than before, with a very long first line that goe..."),
        (None, "##\n- \n### Heading", "Heading"),
        (None, "-5 degrees", "-5 degrees"),
        (None, "1.5 degrees", "1.5 degrees"),
        (None, "", "Agent updates for session s"),
    ] {
        assert_eq!(title(requested, given, "s"), expected);
    }
    assert_eq!(title(None, &"é".repeat(72), "s"), "é".repeat(72));
    assert_eq!(title(None, &"é".repeat(73), "s"), format!("{}...", "é".repeat(69)));
    assert_eq!(body(Some("## Heading\r\n\n- first point\n")), "## Heading\r\n\n- first point");
    assert_eq!(body(Some("  ")), DEFAULT_BODY);
}

#[test]
fn texts_of_a_commit() {
    assert_eq!(commit_message(Some("it's done")), "it's done");
    assert_eq!(commit_message(Some("eta\nline two")), "eta\nline two");
    assert_eq!(commit_message(Some("a\0b\u{1b}[2J")), "ab[2J");
    assert_eq!(commit_message(Some(" \0 ")), DEFAULT_COMMIT_MESSAGE);
    assert_eq!(commit_message(None), DEFAULT_COMMIT_MESSAGE);
}

#[test]
fn texts_after_a_chat_message() {
    assert_eq!(chat_body(Some(" \n")), None);
    assert_eq!(chat_body(Some(" I did it.\n")).as_deref(), Some("I did it."));
    let long = format!("x{}", "é".repeat(MAX_BODY_BYTES));
    let cut = chat_body(Some(&long)).unwrap();
    assert!(cut.len() <= MAX_BODY_BYTES && cut.len() > MAX_BODY_BYTES - 4);
    assert_eq!(chat_commit_message(Some("I did\n\n  this \t and that.")).as_deref(), Some("I did this and that."));
    assert_eq!(chat_commit_message(Some(&"é".repeat(5_000))).unwrap(), "é".repeat(120));
    assert_eq!(chat_commit_message(Some(" ")), None);
    assert_eq!(chat_commit_message(None), None);
}

#[test]
fn chat_messages_that_publish() {
    for message in
        ["push", "Please push this branch.", "git push", "push it", "ok, push", "Can you please push the changes?"]
    {
        assert_eq!(intent(message), Some(Intent::Push), "{message}");
    }
    for message in
        ["push to origin", "push my commits to the remote", "Push now!", "let’s push", "go ahead and push it, thanks"]
    {
        assert_eq!(intent(message), Some(Intent::Push), "{message}");
    }
    for message in [
        "submit PR",
        "can you submit a pull request?",
        "pr",
        "PR please",
        "open a draft pull request for this branch",
        "Could you   create the new merge request with these changes",
        "push and open a PR",
        "please raise an pr of my work for me",
    ] {
        assert_eq!(intent(message), Some(Intent::PullRequest), "{message}");
    }
}

#[test]
fn chat_messages_that_go_to_the_agent() {
    for message in [
        "",
        "please",
        "Repair it please",
        "push the button component to the left",
        "don't push yet",
        "don’t push",
        "do not push",
        "how do I push?",
        "push it when the tests pass",
        "can you explain the pull request?",
        "push\npr",
        "push ```x```",
        "push to production",
        "push --force",
        "push and create",
        "push origin main",
        "submit",
        "submit the form",
        "open a pull request for this branch to main",
        "why not submit a pull request",
    ] {
        assert_eq!(intent(message), None, "{message}");
    }
}

#[test]
fn the_limit_of_a_chat_message() {
    let message = |length: usize| format!("push{}it", " ".repeat(length - 6));
    assert_eq!(intent(&message(MAX_MESSAGE_CHARS)), Some(Intent::Push));
    assert_eq!(intent(&message(MAX_MESSAGE_CHARS + 1)), None);
}

#[test]
fn force_reaches_only_branches_of_the_session() {
    let (main, dev) = (branch("main"), branch("dev"));
    let protected = ProtectedBranches::parse("release/*, v?, ,hot*fix");
    let commit = CommitId::parse(&"a1".repeat(20)).unwrap();
    let facts = ForceFacts { default_branch: Some(&main), base: Some(&dev), protected: &protected, last_pushed: None };
    assert_eq!(lease(&branch("topic/one"), &facts), Ok(Lease::Absent));
    let ours = ForceFacts { last_pushed: Some(&commit), ..facts };
    assert_eq!(lease(&branch("topic/one"), &ours), Ok(Lease::At(commit.clone())));
    for name in ["main", "master", "dev", "release/1/2", "v1", "hotfix", "hot/other/fix"] {
        assert_eq!(lease(&branch(name), &ours), Err(ForceRefused::NotAllowed(branch(name))), "{name}");
    }
    for name in ["v10", "release", "hotfixes", "Main"] {
        assert!(lease(&branch(name), &facts).is_ok(), "{name}");
    }
    // Nobody could say which branch is the default one.
    let unknown = ForceFacts { default_branch: None, ..facts };
    assert_eq!(lease(&branch("topic/one"), &unknown), Err(ForceRefused::NotAllowed(branch("topic/one"))));
    assert_eq!(ForceRefused::NotAllowed(main).to_string(), "force push to main is not allowed");
    assert_eq!(
        ForceRefused::NotOurs(dev).to_string(),
        "force push refused: dev was not created by this session or has changed since"
    );
}

#[test]
fn what_the_output_of_a_push_says() {
    let head = branch("w");
    let id = "0123456789abcdef0123456789abcdef01234567";
    let report = |lines: &str| PushReport::parse(&format!("agent-commit {id}\nTo https://x\n{lines}Done\n"), &head);
    assert!(report("*\tHEAD:refs/heads/w\t[new branch]\n").unwrap().is_new);
    assert!(!report(" \tHEAD:refs/heads/w\ta..b\n").unwrap().is_new);
    assert!(!report("*\tHEAD:refs/heads/other\t[new branch]\n").unwrap().is_new);
    assert_eq!(report("").unwrap().commit.as_str(), id);
    assert_eq!(PushReport::parse("Done\n", &head), None);
    assert_eq!(PushReport::parse("agent-commit $(id)\n", &head), None);
    assert_eq!(CommitId::parse(&id.to_uppercase()), None);
}

#[test]
fn classes_of_failed_pushes() {
    for (stderr, force, class) in [
        ("fatal: Authentication failed for 'https://…'", false, "auth"),
        ("remote: Repository not found.", false, "auth"),
        ("error: src refspec HEAD does not match any", false, "no-commits"),
        ("! [rejected] w -> w (fetch first)", false, "remote-rejected"),
        ("! [rejected] w -> w (stale info)", true, "force-refused"),
        ("remote: error: GH006: Protected branch update failed", true, "force-refused"),
        ("! [rejected] w -> w (stale info)", false, "remote-rejected"),
        ("oops", true, "unknown"),
    ] {
        assert_eq!(classify("", stderr, "", force).as_str(), class, "{stderr}");
    }
}

#[test]
fn ends_of_a_publish_request() {
    for (state, status, message, ends) in [
        (PullRequestState::Created, "pr-created", "branch pushed and pull request created", true),
        (
            PullRequestState::Refused { open_one_found: true },
            "pr-created",
            "branch pushed; existing pull request found",
            true,
        ),
        (
            PullRequestState::Refused { open_one_found: false },
            "manual-pr-required",
            "branch pushed; pull request API failed, use manual URL",
            false,
        ),
        (
            PullRequestState::NotAsked,
            "manual-pr-required",
            "branch pushed; pull request API failed, use manual URL",
            false,
        ),
    ] {
        let outcome = after_pull_request(state);
        assert_eq!((outcome.status(), outcome.message(), outcome.ends_runtime()), (status, message, ends));
    }
    assert_eq!((Outcome::Pushed.status(), Outcome::Pushed.message()), ("pushed", "branch pushed"));
}
