//! The real binary in transport `tunnel` (docs/spec/agents.md 8.1, docs/spec/session-mailbox.md 8): an agents worker and a
//! sandbox-agent of the test's own, and scripts on the path that stand for `sandbox-agent` and `cloudflared`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code, helpers included")]

mod world;

use std::time::Duration;

use world::{World, signal};

#[test]
fn it_registers_beats_and_registers_again_when_it_is_forgotten() {
    let world = World::new();
    world.agent_runs();
    let mut runner =
        world.start(&[("RUNNER_BASE_URL", "https://own.example/"), ("SANDBOX_AGENT_TOKEN", "agent secret")]);
    assert_eq!(runner.line(), "ready runner=r 1 transport=tunnel");
    let registered = world.worker.next("POST /runners");
    assert_eq!(registered.token, "Bearer test-token");
    let expected =
        r#"{"runner-id":"r 1","base-url":"https://own.example","max-sessions":1,"agent-token":"agent secret"}"#;
    assert_eq!(registered.body, expected);
    // The number of sessions is what the sandbox-agent says, not a constant.
    assert_eq!(world.worker.next("POST /runners/r%201/heartbeat").body, r#"{"active-sessions":2}"#);
    world.worker.answers("/heartbeat", 404);
    world.worker.next("POST /runners");
    world.worker.answers("/heartbeat", 200);
    world.worker.next("POST /runners/r%201/heartbeat");
    assert_eq!(runner.stop(), 0);
}

#[test]
fn it_starts_what_is_missing_and_ends_it() {
    let world = World::new();
    world.script("sandbox-agent", &world.agent_script());
    world.script("cloudflared", "echo 'INF |  https://one-two.trycloudflare.com  |' >&2; exec sleep 600");
    let mut runner = world.start(&[]);
    runner.line();
    let body = world.worker.next("POST /runners").body;
    assert!(body.contains(r#""base-url":"https://one-two.trycloudflare.com""#), "{body}");
    assert_eq!(
        world.started("sandbox-agent"),
        format!("server --host 127.0.0.1 --port {} --no-token", world.agent.port)
    );
    // The agent, what it has started, and the tunnel.
    assert_eq!(world.marked(), 3);
    assert_eq!(runner.stop(), 0);
    assert_eq!(world.marked(), 0);
}

#[test]
fn what_a_killed_runner_has_left_is_ended_by_the_next_one() {
    let world = World::new();
    world.script("sandbox-agent", &world.agent_script());
    let own = [("RUNNER_BASE_URL", "https://own.example")];
    let mut first = world.start(&own);
    first.line();
    first.kill();
    assert_eq!(world.marked(), 2, "nobody could end them");
    world.agent_is_gone();
    let mut second = world.start(&own);
    second.line();
    assert!(second.log().contains("ended 2 processes that an earlier runner has left"), "{}", second.log());
    assert_eq!(world.marked(), 2, "its own");
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_tunnel_that_ends_is_opened_again_and_registered_anew() {
    let world = World::new();
    world.agent_runs();
    world.script("cloudflared", "n=$(cat \"$0.n\" 2>/dev/null || echo 1); echo $((n + 1)) > \"$0.n\"; echo $$ > \"$0.pid\"; echo https://t$n.trycloudflare.com; exec sleep 600");
    let mut runner = world.start(&[]);
    runner.line();
    assert!(world.worker.next("POST /runners").body.contains("https://t1.trycloudflare.com"));
    signal(world.pid_of("cloudflared"), "-KILL");
    assert!(world.worker.next("POST /runners").body.contains("https://t2.trycloudflare.com"));
    assert_eq!(runner.stop(), 0);
}

#[test]
fn a_state_folder_has_one_runner() {
    let world = World::new();
    world.agent_runs();
    let own = [("RUNNER_BASE_URL", "https://own.example")];
    let mut first = world.start(&own);
    first.line();
    let mut second = world.start(&own);
    assert_eq!(second.ended(), 75);
    assert_eq!(first.stop(), 0);
}

#[test]
fn each_failure_has_its_exit_code() {
    let world = World::new();
    let own = ("RUNNER_BASE_URL", "https://own.example");
    // Neither answering nor to be started.
    let mut nobody = world.start(&[own]);
    assert_eq!(nobody.ended(), 1);
    assert!(nobody.log().contains("npm install -g @sandbox-agent/cli"), "{}", nobody.log());
    world.agent_runs();
    let mut no_tunnel = world.start(&[]);
    assert_eq!(no_tunnel.ended(), 1);
    assert!(no_tunnel.log().contains("set RUNNER_BASE_URL"), "{}", no_tunnel.log());
    world.worker.answers("/runners", 401);
    let mut stranger = world.start(&[own]);
    assert_eq!(stranger.ended(), 77);
    assert!(!stranger.log().contains("test-token"), "no secret in the log");
    world.worker.answers("/runners", 400);
    assert_eq!(world.start(&[own]).ended(), 1);
    assert_eq!(world.start(&[("HEARTBEAT_INTERVAL_SEC", "never")]).ended(), 78);
    assert_eq!(world.start(&[("BASE_URL", "http://agents.example")]).ended(), 78);
    assert_eq!(world.run(&["--odd"]).0, 64);
}

#[test]
fn the_doctor_names_what_is_missing() {
    let world = World::new();
    let (exit, text) = world.run(&["doctor"]);
    assert_eq!(exit, 1, "{text}");
    for line in [
        "ok api-unreachable",
        "ok token-rejected",
        "ok clock-skew",
        "fail sandbox-agent-missing",
        "fail tunnel-missing",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("fix: npm install -g @sandbox-agent/cli"), "{text}");
    world.agent_runs();
    world.script("cloudflared", "exit 0");
    world.script("git", "echo something");
    let (exit, text) = world.run(&["doctor", "--json"]);
    assert_eq!(exit, 0, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["status"], "ok");
}

#[test]
fn what_is_in_force_is_printed_without_secrets() {
    let world = World::new();
    let (exit, text) = world.run(&["--print-config", "--max-sessions", "3"]);
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("max-sessions = 3  # flag --max-sessions"), "{text}");
    assert!(text.contains("token = \"***\"  # environment TOKEN"), "{text}");
    assert!(!text.contains("test-token"));
}

#[test]
fn the_scripts_of_upstreams_readme_call_the_runner() {
    let world = World::new();
    let printed = |script: &str, transport: &str| {
        let mut command = world.as_upstream(script);
        let output = command.env("RUNNER_TRANSPORT", transport).args(["--print-config"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(printed("start-local-runner-daemon.sh", "mailbox").contains("transport = \"mailbox\""));
    assert!(printed("start-local-runner-tunnel.sh", "mailbox").contains("transport = \"tunnel\""));
    world.script("sandbox-agent", "echo \"$*\" > \"$0.words\"");
    let output = world.as_upstream("start-local-sandbox-agent.sh").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(world.started("sandbox-agent").contains(&format!("--port {}", world.agent.port)));
}

/// A second signal does not wait for processes that take their time.
#[test]
fn whoever_asks_twice_does_not_wait() {
    let world = World::new();
    world.script("sandbox-agent", &format!("trap '' TERM; {}", world.agent_script()));
    let mut runner = world.start(&[("RUNNER_BASE_URL", "https://own.example")]);
    runner.line();
    signal(runner.pid(), "-TERM");
    runner.await_log("stopping");
    std::thread::sleep(Duration::from_millis(100));
    signal(runner.pid(), "-TERM");
    assert_eq!(runner.ended(), 143);
    world.end_marked();
}
