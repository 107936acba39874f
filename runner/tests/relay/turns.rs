use serde_json::json;
use sessions::mailbox::desk::{self, Told};

use super::machine::Machine;
use super::plane::Fault;

#[test]
fn a_session_works_on_this_machine() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    plane.say("s1", "one", "say hello; stream 20; write left.txt words");
    let mut runner = machine.start(&[]);
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert!(plane.said("s1").starts_with("hello0 1 2 "), "{}", plane.said("s1"));
    assert_eq!(plane.lock().registrations[0]["drivers"], json!(["plain"]));
    plane.say("s1", "two", "recall");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert!(plane.said("s1").contains("write left.txt words | recall"), "{}", plane.said("s1"));
    assert_eq!(std::fs::read_to_string(machine.session("s1").work().join("left.txt")).unwrap().trim(), "words");
    let opened = plane.count("s1", |told| matches!(told, Told::Opened { .. }));
    assert_eq!((opened, machine.noted("recall")), (1, 1));
    // No secret of a run lies in the mailbox.
    for file in [machine.session("s1").inbound(), machine.session("s1").outbound()] {
        assert!(!String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains("run-token"));
    }
    runner.stop();
}

/// Whether bubblewrap works here. Where it has to, it does.
fn has_walls() -> bool {
    let works = std::process::Command::new("bwrap")
        .args(["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--", "/bin/true"])
        .status()
        .is_ok_and(|status| status.success());
    assert!(works || std::env::var_os("REQUIRE_WALLS").is_none(), "bubblewrap cannot be used here");
    if !works {
        eprintln!("not run: bubblewrap cannot be used here");
    }
    works
}

/// Processes with this word in their command lines.
fn with_word(word: &str) -> usize {
    let is_one = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(is_one).count()
}

#[test]
fn a_session_works_within_a_wall() {
    if !has_walls() {
        return;
    }
    let machine = Machine::new("bubblewrap");
    let plane = &machine.plane;
    plane.say("s1", "one", "say in; write left.txt words");
    let mut runner = machine.start(&[]);
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let cwd = plane.told("s1", "it opens", |told| match told {
        Told::Opened { cwd, .. } => Some(cwd.clone()),
        _ => None,
    });
    assert_eq!(cwd, "/home/user/workspace/s1");
    assert!(machine.session("s1").work().join("left.txt").is_file());
    // Killed in the middle of a turn, the next runner finds the process inside of the wall.
    plane.say("s1", "two", "say begun; wait 4000; say done");
    plane.until("it runs", |state| {
        state.sessions["s1"]
            .told
            .iter()
            .any(|told| matches!(told, Told::TurnStarted { message_id } if message_id == "two"))
            .then_some(())
    });
    runner.kill();
    let mut runner = machine.start(&[]);
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert_eq!(plane.count("s1", |told| matches!(told, Told::Opened { .. })), 1);
    // What has left everything that it could be known by ends with the wall.
    let word = format!("86400.{}", std::process::id());
    let script = format!("env -i setsid sleep {word} >/dev/null 2>&1 </dev/null &");
    std::fs::write(machine.session("s1").home().join("hide.sh"), script).unwrap();
    plane.say("s1", "three", "run hide.sh");
    assert_eq!(plane.ended("s1", "three"), "end_turn");
    plane.until("it has hidden", |_| (with_word(&word) == 1).then_some(()));
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
    plane.told("s1", "it is closed", |told| matches!(told, Told::Closed { .. }).then_some(()));
    assert!(machine.processes().is_empty());
    assert_eq!(with_word(&word), 0);
    runner.stop();
}

#[test]
fn a_question_is_answered() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    plane.say("s1", "one", "ask; say after");
    let _runner = machine.start(&[]);
    let (id, option) = plane.told("s1", "it asks", |told| match told {
        Told::Permission { request_id, params } => {
            let options = params["options"].as_array()?;
            let allow =
                options.iter().find(|option| option["kind"].as_str().is_some_and(|kind| kind.starts_with("allow")))?;
            Some((request_id.clone(), allow["optionId"].clone()))
        }
        _ => None,
    });
    let outcome = json!({"outcome": "selected", "optionId": option});
    plane.change("s1", |desk, decide| desk::answer(desk, decide, "answer", &id, &outcome)).unwrap();
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(plane.said("s1"), "allowedafter");
}

#[test]
fn an_interrupt_ends_the_turn_and_nothing_else() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    plane.say("s1", "one", "say begun; wait 600000");
    let _runner = machine.start(&[]);
    plane.told("s1", "it runs", |told| matches!(told, Told::TurnStarted { .. }).then_some(()));
    plane.until("it speaks", |_| Some(()));
    plane.change("s1", |desk, decide| desk::interrupt(desk, decide, "stop")).unwrap();
    assert_eq!(plane.ended("s1", "one"), "cancelled");
    plane.say("s1", "two", "say fine");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
}

#[test]
fn what_fails_or_is_lost_on_the_way_happens_once() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    for (path, fault) in
        [("/poll", Fault::Dropped), ("/events", Fault::Dropped), ("/events", Fault::Error), ("/events", Fault::Dropped)]
    {
        plane.fails(path, fault, 1);
    }
    plane.say("s1", "one", "stream 40; wait 200; stream 40");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let numbers: Vec<String> = (0..40).chain(0..40).map(|number| number.to_string()).collect();
    assert_eq!(plane.said("s1").split_whitespace().collect::<Vec<_>>(), numbers);
    assert_eq!((plane.lock().sessions["s1"].endings("one").len(), machine.noted("stream 40")), (1, 1));
    assert!(plane.lock().faults.is_empty());
}

#[test]
fn commands_of_terminals_do_not_reach_the_agent() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    plane.say("s1", "one", "/login now");
    assert_eq!(plane.ended("s1", "one"), "command-not-for-agents");
    plane.say("s1", "two", "say fine");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert_eq!(machine.noted("/login"), 0);
}

#[test]
fn an_agent_that_cannot_be_started_fails_the_prompt_and_not_the_runner() {
    let machine = Machine::new("plain");
    let config = machine.state().with_file_name("config.toml");
    std::fs::write(config, "[agents.claude]\ncommand = \"/no/such/agent\"\n").unwrap();
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "agent-missing");
}

#[test]
fn skills_lie_in_one_place_and_each_session_has_links_to_its_own() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    for name in ["review", "deploy"] {
        let folder = machine.state().join("share/skills").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("SKILL.md"), format!("how to {name}")).unwrap();
    }
    let config = machine.state().with_file_name("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}skills = [\"review\", \"gone\"]\n")).unwrap();
    let mut runner = machine.start(&[("MAILBOX_REOPEN", "auto"), ("IDLE_EXIT", "1s")]);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let seen = machine.session("s1").home().join(".claude/skills/review/SKILL.md");
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "how to review");
    assert!(!machine.session("s1").home().join(".claude/skills/deploy").exists());
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.session("s1").inside().join("config.json")).unwrap()).unwrap();
    assert_eq!((&written["skills"], &written["reopen"]), (&json!(["review"]), &json!("auto")));
    let told = plane.told("s1", "what is missing is told", |told| match told {
        Told::Notice { code, message } if code == "skills_missing" => Some(message.clone()),
        _ => None,
    });
    assert!(told.contains("gone"), "{told}");
    runner.stop();
}
