//! Tools that the worker offers to the agent (docs/spec/pg-sync.md 4.12).

use mailbox::tools::{Tools, lay_out};
use serde_json::{Value, json};

use crate::runner::Runner;

const TOKEN: &str = "a.token-of.tools";

fn offer(runner: &Runner, token: &str) {
    let tools = Tools { url: "https://agents.example/sessions/session/mcp".to_owned(), token: token.to_owned() };
    lay_out(runner.host.inside(), Some(&tools)).unwrap();
}

/// The servers that the agent was told of, each time that a session was opened.
fn servers(runner: &Runner) -> Vec<Value> {
    runner.log().iter().filter_map(|line| line.get("servers").cloned()).collect()
}

#[test]
fn an_agent_is_told_of_the_tools_that_lie_there_when_it_is_opened() {
    let mut runner = Runner::new();
    runner.takes_tools = true;
    offer(&runner, TOKEN);
    runner.insert("open", "session.open", &json!({"agent": "claude"}), false);
    runner.prompt("one", "say hello");
    let generation = runner.spawn();
    runner.until_ended("one");
    assert_eq!(runner.told("opened")[0]["tools"], true);
    let server = json!({"type": "http", "name": "logseq", "url": "https://agents.example/sessions/session/mcp",
        "headers": [{"name": "Authorization", "value": format!("Bearer {TOKEN}")}]});
    assert_eq!(servers(&runner), [json!([server])]);
    // Another conversation, and what is offered by then.
    offer(&runner, "another");
    runner.prompt("clear", "/clear");
    runner.until_ended("clear");
    runner.prompt("two", "say again");
    runner.until_ended("two");
    assert_eq!(servers(&runner)[1][0]["headers"][0]["value"], "Bearer another");
    // Nothing but that file and the agent holds it.
    let command = std::fs::read(format!("/proc/{}/cmdline", runner.shim.as_ref().unwrap().id())).unwrap();
    let config = format!("{:?}", runner.config(generation));
    for text in [runner.shim_log(), String::from_utf8_lossy(&command).into_owned(), config] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn an_agent_that_cannot_use_them_or_is_offered_none_is_told_of_none() {
    for is_offered in [true, false] {
        let mut runner = Runner::new();
        runner.takes_tools = !is_offered;
        if is_offered {
            offer(&runner, TOKEN);
        }
        runner.prompt("one", "say hello");
        runner.spawn();
        runner.until_ended("one");
        assert_eq!(runner.told("opened")[0]["tools"], false, "{is_offered}");
        assert!(servers(&runner).iter().all(|told| *told == json!([])), "{is_offered}");
    }
}
