use mailbox::HostMailbox as _;
use mailbox::message::Phase;
use mailbox::sweep::{Change, reasons};
use serde_json::{Value, json};

use crate::runner::Runner;

/// A line that the stand-in sends as it is.
fn raw(runner: &Runner, name: &str, message: &Value) {
    let text = message.to_string().replace("\"PROMPT\"", "PROMPT");
    runner.script(name, &format!("{text}\n"));
}

#[test]
fn fact_28_a_prompt_is_answered_and_its_end_and_its_completion_are_one_commit() {
    let mut runner = Runner::new();
    runner.insert("open", "session.open", &json!({"agent": "claude"}), false);
    runner.prompt("one", "say hello; think hm; stream 20");
    runner.spawn();
    let ended = runner.until_ended("one");
    assert_eq!(ended, json!({"message-id": "one", "run": 1, "attempt": 1, "stop-reason": "end_turn"}));
    let opened = runner.until_told("opened");
    assert_eq!((&opened["loaded"], &opened["cwd"]), (&json!(false), &json!(runner.host.places().work())));
    let kinds: Vec<_> = runner.worker.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds[0], kinds[1], *kinds.last().unwrap()), ("opened", "turn.started", "turn.ended"));
    assert!(runner.said().starts_with("hellohm0 1 2 3 ") && runner.said().ends_with("19 "));
    // Chunks that come together are one event.
    assert!(runner.told("update").len() < 15, "{}", runner.told("update").len());
    assert!(runner.worker.events[1..].iter().all(|event| event.in_reply_to.as_deref() == Some("one")));
    runner.until("both are done", |runner| {
        runner.changes.iter().filter(|(_, change)| *change == Change::Complete).count() == 2
    });
    // The next prompt meets the same agent.
    runner.prompt("two", "recall");
    runner.until_ended("two");
    assert!(runner.said().contains("say hello; think hm; stream 20 | recall"));
    let pids: std::collections::BTreeSet<_> = runner.log().iter().map(|line| line["pid"].as_u64()).collect();
    assert_eq!(pids.len(), 1);
}

#[test]
fn fact_25_an_error_of_the_agents_is_told_and_the_next_prompt_is_done() {
    let mut runner = Runner::new();
    runner.prompt("bad", "fail");
    runner.spawn();
    let ended = runner.until_ended("bad");
    assert_eq!(
        (&ended["stop-reason"], &ended["error"]),
        (&json!("error"), &json!("the agent failed as it was told to"))
    );
    assert!(matches!(&runner.changes[0].1, Change::Fail(why) if why.contains("as it was told")));
    runner.prompt("good", "say fine");
    assert_eq!(runner.until_ended("good")["stop-reason"], "end_turn");
}

#[test]
fn fact_26_a_conversation_that_is_gone_is_forgotten() {
    let mut runner = Runner::new();
    raw(
        &runner,
        "gone",
        &json!({"jsonrpc": "2.0", "id": "PROMPT", "error": {"code": -32000, "message": "Session not found"}}),
    );
    runner.prompt("one", "raw gone");
    runner.spawn();
    assert_eq!(runner.until_ended("one")["error"], "Session not found");
    runner.prompt("two", "recall");
    runner.until_ended("two");
    let opened = runner.told("opened");
    assert_eq!((opened.len(), &opened[1]["loaded"]), (2, &json!(false)));
    assert_ne!(opened[0]["runtime-session-id"], opened[1]["runtime-session-id"]);
    assert_eq!(runner.said(), "recall");
}

/// docs/spec/transcripts.md 4.6: the text recovery, where the conversation turns out not to load.
#[test]
fn an_agent_that_does_not_know_the_conversation_is_told_its_end_once() {
    let mut runner = Runner::new();
    let recovery = [("recovery", json!("say told; "))];
    runner.prompt_with("one", "say one", &recovery);
    runner.spawn();
    runner.until_ended("one");
    assert_eq!(runner.said(), "one", "there is nothing that it does not know");
    // Its files are gone, and so is its process.
    std::fs::remove_dir_all(runner.home().join(".claude")).unwrap();
    let agent = runner.log().iter().find_map(|line| line["pid"].as_u64()).unwrap();
    crate::runner::signal(u32::try_from(agent).unwrap(), "KILL");
    runner.until("its end is seen", |runner| runner.shim_log().contains("agent_died"));
    for id in ["two", "three"] {
        runner.prompt_with(id, &format!("say {id}"), &recovery);
        runner.until_ended(id);
    }
    assert_eq!(runner.said(), "onetoldtwothree");
}

/// docs/spec/transcripts.md 4.5: what was begun anew is not gone on with.
#[test]
fn an_agent_forgets_the_conversation_that_was_begun_anew_and_only_that() {
    let mut runner = Runner::new();
    runner.spawn();
    let mut said = String::new();
    for (number, expected) in [(0, "recall"), (0, "recall | recall"), (1, "recall"), (1, "recall | recall")] {
        let id = format!("m{}", said.len());
        runner.prompt_with(&id, "recall", &[("conversation", json!(number))]);
        runner.until_ended(&id);
        said.push_str(expected);
        assert_eq!(runner.said(), said);
    }
    let opened = runner.told("opened");
    assert_eq!((opened.len(), &opened[1]["loaded"]), (2, &json!(false)));
}

#[test]
fn fact_27_clear_ends_the_conversation_and_asks_no_agent() {
    let mut runner = Runner::new();
    runner.prompt("one", "say secret");
    runner.prompt("clear", " /clear ");
    runner.spawn();
    runner.until_ended("one");
    let prompts = runner.log().len();
    assert_eq!(runner.until_ended("clear")["stop-reason"], "end_turn");
    assert!(runner.said().contains("cleared"));
    assert_eq!(runner.log().len(), prompts);
    runner.prompt("two", "recall");
    runner.until_ended("two");
    assert!(runner.said().ends_with("cleared.recall"), "{}", runner.said());
}

#[test]
fn a_rate_limit_is_waited_for_and_the_same_prompt_done_then() {
    let mut runner = Runner::new();
    let limited = json!({"code": -32603, "message": "Rate limit", "data": {"retryAfterMs": 300}});
    raw(&runner, "limit", &json!({"jsonrpc": "2.0", "id": "PROMPT", "error": limited}));
    runner.prompt("one", "raw limit");
    runner.spawn();
    runner.until("it is put off", |runner| matches!(runner.changes.first(), Some((_, Change::Defer(_)))));
    assert!(runner.told("state").iter().any(|state| state["phase"] == "rate_limited"));
    raw(&runner, "limit", &json!({"jsonrpc": "2.0", "id": "PROMPT", "result": {"stopReason": "end_turn"}}));
    assert_eq!(runner.until_ended("one")["attempt"], 2);
    assert!(runner.told("turn.started").len() >= 2);
    assert_ne!(runner.state().unwrap().phase, Phase::RateLimited);
    assert!(reasons::RATE_LIMITED == "rate_limited");
}

#[test]
fn a_tool_in_flight_is_told_with_its_declared_limit() {
    let mut runner = Runner::new();
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "1", "title": "make", "kind": "execute",
        "status": "in_progress", "rawInput": {"timeout": 7_200_000}});
    let update =
        json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "SESSION", "update": call}});
    raw(&runner, "call", &update);
    runner.prompt("one", "raw call; wait 600000");
    runner.spawn();
    runner.until("the tool is told", |runner| {
        runner.state().is_some_and(|state| state.current_tool.as_deref() == Some("make"))
    });
    let state = runner.state().unwrap();
    assert_eq!((state.phase, state.tool_declared_timeout_ms), (Phase::Running, Some(7_200_000)));
    runner.host.interrupt(runner.work_seq()).unwrap();
    runner.until_ended("one");
    assert_eq!(runner.state().unwrap().current_tool, None);
}

#[test]
fn a_long_output_of_a_tool_is_cut_and_kept_in_a_file() {
    let mut runner = Runner::new();
    let text = "y".repeat(500_000);
    let done = json!({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "completed",
        "content": [{"type": "content", "content": {"type": "text", "text": text}}]});
    raw(
        &runner,
        "long",
        &json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "SESSION", "update": done}}),
    );
    runner.prompt("one", "raw long");
    runner.spawn();
    runner.until_ended("one");
    let file = runner.told("file").remove(0);
    assert_eq!(file["size"], 500_000);
    let hash = file["sha256"].as_str().unwrap();
    let kept = mailbox::fsafe::read(runner.host.outside(), &["files", hash, "output.txt"], 1 << 20).unwrap();
    assert!(kept == text.as_bytes());
    assert!(runner.worker.events.iter().all(|event| event.data.len() < 200_000 && event.kind != "tombstone"));
}

/// What the worker would refuse is told in a form that it takes (the stand-in of the worker reads each event as the worker does), or not at all.
#[test]
fn odd_words_of_an_agents_neither_lose_the_end_of_a_turn_nor_hold_anything_up() {
    let mut runner = Runner::new();
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let lines = [
        json!({"jsonrpc": "2.0", "id": "q1", "method": "session/request_permission", "params": null}).to_string(),
        json!({"jsonrpc": "2.0", "id": "q2", "method": "session/request_permission", "params": ["x"]}).to_string(),
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{deep}}}"),
    ];
    runner.script("odd", &format!("{}\n", lines.join("\n")));
    runner.prompt("odd", "raw odd; say on");
    runner.spawn();
    assert_eq!(runner.until_ended("odd")["stop-reason"], "end_turn");
    assert!(runner.told("permission").is_empty() && runner.told("file").len() == 1);
    for (id, reason, told) in
        [("empty", String::new(), "end_turn".to_owned()), ("long", "é".repeat(300), "é".repeat(128))]
    {
        let end = json!({"jsonrpc": "2.0", "id": "PROMPT", "result": {"stopReason": reason}});
        raw(&runner, id, &end);
        runner.prompt(id, &format!("raw {id}"));
        assert_eq!(runner.until_ended(id)["stop-reason"], told);
    }
    let refusal = json!({"code": -32000, "message": "…".repeat(4_000)});
    raw(&runner, "refused", &json!({"jsonrpc": "2.0", "id": "PROMPT", "error": refusal}));
    runner.prompt("refused", "raw refused");
    assert_eq!(runner.until_ended("refused")["error"], "…".repeat(1_365));
}

#[test]
fn a_shim_that_keeps_the_host_s_file_open_sees_all_that_is_written_there() {
    let mut runner = Runner::new();
    runner.reopen = mailbox::config::Reopen::Auto;
    runner.prompt("one", "say hello; ask");
    runner.spawn();
    let asked = runner.until_told("permission");
    runner.answer("a1", asked["request-id"].as_str().unwrap(), "allow");
    runner.until_ended("one");
    runner.prompt("two", "say after");
    runner.until_ended("two");
    assert_eq!(runner.said(), "helloallowedafter");
}

#[test]
fn the_agent_gets_the_variables_that_are_listed_and_no_others() {
    let mut runner = Runner::new();
    runner.script("env.sh", "env | cut -d= -f1 | sort | tr '\\n' ' '");
    runner.prompt("one", "run env.sh");
    runner.spawn();
    runner.until_ended("one");
    let names: Vec<String> = runner.said().split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // The shell of the script adds its own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !own.contains(name) && *name != "LANG").collect();
    assert_eq!(
        names,
        ["AGENT_KEEPS", "AGENT_LOG", "HOME", "LOGSEQ_MAILBOX", "PATH", "SANDBOX_AGENT_REQUIRE_PREINSTALL", "TERM"]
    );
}

/// docs/spec/transcripts.md 4.7: what an agent has written is laid out when its turn has ended, and now and then before.
#[test]
fn the_conversation_of_a_turn_is_laid_out_while_it_runs_and_when_it_has_ended() {
    let mut runner = Runner::new();
    runner.prompt("one", "say hello; wait 1500");
    runner.spawn();
    runner.until_ended("one");
    runner.until("all is laid out", |runner| laid_out(runner).iter().any(|one| one["status"] == "completed"));
    let all = laid_out(&runner);
    let parts: Vec<_> = all.iter().filter(|one| one["status"] == "partial").map(|one| &one["sha256"]).collect();
    let distinct: std::collections::BTreeSet<_> = parts.iter().map(|digest| digest.as_str().unwrap()).collect();
    assert!(!parts.is_empty() && parts.len() == distinct.len(), "the same is laid out once: {all:?}");
    let folder = runner.host.places().outside().join("transcripts");
    let last = std::fs::read(folder.join(all.last().unwrap()["file"].as_str().unwrap())).unwrap();
    let bundle = transcripts::archive::read(&last, 1 << 20).unwrap();
    assert_eq!(transcripts::sha256_hex(&last), all.last().unwrap()["sha256"]);
    assert!(String::from_utf8_lossy(bundle.body()).contains("say hello; wait 1500"));
    // Of many turns only the last few are kept for a host that is away.
    for id in ["two", "three", "four", "five", "six"] {
        runner.prompt(id, "say more");
        runner.until_ended(id);
    }
    runner.until("all are laid out", |runner| laid_out(runner).len() == all.len() + 5);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 5, "four, and the last part");
}

/// docs/spec/transcripts.md 4.6: nobody goes on from a conversation in which a call of a tool has no result.
#[test]
fn a_conversation_that_is_incomplete_is_laid_out_as_one_that_cannot_be_gone_on_with() {
    let mut runner = Runner::new();
    runner.prompt("half", "half; say bye");
    runner.spawn();
    runner.until_ended("half");
    let of = |runner: &Runner, id: &str| {
        let laid_out = runner.asked.iter().filter(|output| output.kind == "transcript");
        let mut ours = laid_out.filter(|output| output.in_reply_to.as_deref() == Some(id));
        let content = ours.next_back().map(|output| serde_json::from_str::<Value>(&output.content).unwrap());
        content.filter(|content| content["status"] != "partial")
    };
    runner.until("it is laid out", |runner| of(runner, "half").is_some());
    assert_eq!(of(&runner, "half").unwrap()["status"], "failed");
}

/// What the shim has told its host of conversations.
fn laid_out(runner: &Runner) -> Vec<serde_json::Value> {
    let readings = runner.host.outputs(0, 10_000, usize::MAX).unwrap();
    let good = readings.into_iter().filter_map(|reading| match reading {
        mailbox::host::Reading::Good(output) if output.kind == "transcript" => Some(output.content),
        _ => None,
    });
    good.map(|content| serde_json::from_str(&content).unwrap()).collect()
}
