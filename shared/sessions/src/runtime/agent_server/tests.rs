//! Answers of all kinds, good and hostile, over scripted servers.

use serde_json::json;
use web::{Call, CallError, Incoming as _};

use super::*;
use crate::acp::Launch;
use crate::legacy::{ApiSetting, Dialect};
use crate::runtime::testing::{Piece, Script, World};
use crate::runtime::{Prompt, Runtime};

fn runtime(provider: ProviderKind) -> Runtime {
    serde_json::from_value::<Runtime>(json!({
        "provider": provider, "base-url": "https://a.test/", "server-id": "s 1", "session-id": "r1", "dialect": "acp",
        "directory": "/w",
    }))
    .map(|mut runtime| {
        runtime.secrets.agent_token = Some("tok-of-agent".to_owned());
        runtime.secrets.access_client_id = Some("id".to_owned());
        runtime.secrets.access_client_secret = Some("cs".to_owned());
        runtime
    })
    .unwrap()
}

fn rpc_method(call: &Call) -> String {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    body["method"].as_str().unwrap_or_default().to_owned()
}

fn launch() -> Launch {
    Launch::of(&json!({"provider": "claude"}))
}

#[expect(clippy::needless_pass_by_value, reason = "written in place at each call")]
fn ok(result: Value) -> Script {
    Script::json(200, &json!({"jsonrpc": "2.0", "id": 1, "result": result}))
}

fn good(call: &Call) -> Script {
    match rpc_method(call).as_str() {
        "session/new" => ok(json!({"sessionId": "r7"})),
        _ => ok(json!({})),
    }
}

fn opening(launch: &Launch) -> Opening<'_> {
    Opening { launch, directory: "/w/dir", first_rpc_id: 5, start_ms: FIRST_USE_MS, resume: None, tools: None }
}

/// Tools are told of where they are offered, to agents that can use them (pg-sync.md 4.12).
#[test]
fn tools_are_offered_to_agents_that_take_them() {
    let server = crate::runtime::ToolServer::new("https://agents.test", "s 1", "token".to_owned());
    let offered = json!([server.to_acp()]);
    for (tools, says, told) in [
        (Some(&server), json!({"mcpCapabilities": {"http": true}}), offered),
        (Some(&server), json!({"mcpCapabilities": {"sse": true}}), json!([])),
        (Some(&server), json!({}), json!([])),
        (None, json!({"mcpCapabilities": {"http": true}}), json!([])),
    ] {
        let capabilities = says.clone();
        let world = World::new(move |call| match rpc_method(call).as_str() {
            "initialize" => ok(json!({"agentCapabilities": capabilities})),
            _ => good(call),
        });
        let (clock, runtime, launch) = (&world.clock, runtime(ProviderKind::LocalRunner), launch());
        let opening = Opening { tools, ..opening(&launch) };
        let opened = clock.run(AgentServer::of(&runtime, &world, clock).open(ApiSetting::Auto, opening)).unwrap();
        let calls = world.calls();
        let body: Value = serde_json::from_slice(&calls[1].body).unwrap();
        assert_eq!(body["params"], json!({"cwd": "/w/dir", "mcpServers": told}), "{says}");
        assert_eq!(opened.has_tools, told != json!([]), "{says}");
    }
}

fn open(world: &World, api: ApiSetting) -> Result<Opened, ServerError> {
    let (clock, runtime) = (&world.clock, runtime(ProviderKind::LocalRunner));
    clock.run(AgentServer::of(&runtime, world, clock).open(api, opening(&launch())))
}

#[test]
fn opening_initializes_opens_and_sets_the_mode() {
    let world = World::new(good);
    let opened = open(&world, ApiSetting::Auto).unwrap();
    assert_eq!(
        opened,
        Opened { session_id: "r7".to_owned(), dialect: Dialect::Acp, can_load: false, has_tools: false }
    );
    assert_eq!(
        world.lines(),
        ["POST https://a.test/v1/acp/s%201?agent=claude"; 1]
            .into_iter()
            .chain(["POST https://a.test/v1/acp/s%201"; 2])
            .collect::<Vec<_>>()
    );
    let bodies: Vec<Value> = world.calls().iter().map(|call| serde_json::from_slice(&call.body).unwrap()).collect();
    assert_eq!([&bodies[0]["id"], &bodies[1]["id"], &bodies[2]["id"]], [5, 6, 7]);
    assert_eq!(bodies[1]["params"]["cwd"], "/w/dir");
    assert_eq!(bodies[2]["params"], json!({"sessionId": "r7", "modeId": "default"}));
    for call in world.calls() {
        let header = |name: &str| call.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("authorization").as_deref(), Some("Bearer tok-of-agent"));
        assert_eq!(header("cf-access-client-id").as_deref(), Some("id"));
        assert_eq!(header("cf-access-client-secret").as_deref(), Some("cs"));
        assert_eq!(header("content-type").as_deref(), Some("application/json"));
        assert!(header("x-logseq-signature").unwrap().starts_with("t=0,n="));
        assert!(!format!("{call:?}").contains("tok-of-agent"), "credentials in a log");
    }
    assert_eq!(world.calls()[0].limit_ms, Some(FIRST_USE_MS));
    assert_eq!(world.calls()[1].limit_ms, Some(CALL_MS));
}

#[test]
fn only_runners_get_signed_requests() {
    for (kind, signed) in
        [(ProviderKind::LocalRunner, true), (ProviderKind::LocalDev, false), (ProviderKind::E2b, false)]
    {
        let (world, runtime) = (World::new(good), runtime(kind));
        world.clock.run(AgentServer::of(&runtime, &world, &world.clock).health()).unwrap();
        assert_eq!(world.calls()[0].headers.contains_key("x-logseq-signature"), signed);
    }
}

#[test]
fn a_mode_that_the_agent_does_not_know_is_no_failure() {
    let refused = |error: Value| {
        World::new(move |call| match rpc_method(call).as_str() {
            "session/set_mode" => Script::json(200, &json!({"jsonrpc": "2.0", "id": 7, "error": error})),
            _ => good(call),
        })
    };
    let world = refused(json!({"code": -32601, "message": "Method not found"}));
    assert!(open(&world, ApiSetting::Auto).is_ok());
    assert_eq!(world.clock.reports(), ["agent-mode-unknown"]);
    assert!(open(&refused(json!({"code": -32602, "message": "unknown mode"})), ApiSetting::Auto).is_ok());
    assert!(open(&refused(json!({"code": -32000, "message": "out of memory"})), ApiSetting::Auto).is_err());
}

#[test]
fn the_older_dialect_is_found_out() {
    let older = |health: u16| {
        World::new(move |call| {
            let path = call.url.strip_prefix("https://a.test").unwrap();
            match path {
                "/v1/health" => Script::json(health, &json!({"status": "ok"})),
                "/v1/sessions/s%201" => Script::json(200, &json!({"healthy": true})),
                _ => Script::json(404, &json!({"type": "urn:sandbox-agent:error:invalid_request", "status": 404})),
            }
        })
    };
    let world = older(200);
    let opened = open(&world, ApiSetting::Auto).unwrap();
    assert_eq!(
        opened,
        Opened { session_id: "s 1".to_owned(), dialect: Dialect::Legacy, can_load: false, has_tools: false }
    );
    assert_eq!(world.lines().len(), 3, "{:?}", world.lines());
    let status = |result: Result<Opened, ServerError>| result.unwrap_err().status();
    assert_eq!(status(open(&older(500), ApiSetting::Auto)), Some(404), "no healthy server");
    assert_eq!(status(open(&older(200), ApiSetting::Always(Dialect::Acp))), Some(404));
    let world = older(200);
    assert!(open(&world, ApiSetting::Always(Dialect::Legacy)).is_ok());
    assert_eq!(world.lines(), ["POST https://a.test/v1/sessions/s%201"]);
}

#[test]
fn a_later_refusal_is_not_taken_for_the_older_dialect() {
    let world = World::new(|call| match rpc_method(call).as_str() {
        "initialize" => ok(json!({})),
        _ => Script::text(404, "text/plain", "gone"),
    });
    assert_eq!(open(&world, ApiSetting::Auto).unwrap_err().status(), Some(404));
    assert_eq!(world.lines().len(), 2);
}

fn prompt(script: Script) -> (Posted<crate::runtime::testing::Pieces>, i64) {
    let runtime = runtime(ProviderKind::LocalRunner);
    let world = World::new(move |_| script.clone());
    let prompt = Prompt { rpc_id: 9, text: "hello", links: &[] };
    let posted = world.clock.run(AgentServer::of(&runtime, &world, &world.clock).prompt(&runtime, &prompt, 30_000));
    (posted, world.clock.elapsed())
}

#[test]
fn a_prompt_is_sent_again_only_when_nobody_can_have_got_it() {
    let problem = |status: u16, kind: &str, detail: &str| {
        let body = json!({"type": format!("urn:sandbox-agent:error:{kind}"), "status": status, "detail": detail});
        Script::text(status, "application/problem+json", body.to_string())
    };
    let word = |script: Script| match prompt(script).0 {
        Posted::Running => "running",
        Posted::Streaming(_) => "streaming",
        Posted::Ended(reason) if reason == "end_turn" => "ended",
        Posted::Ended(_) => "ended otherwise",
        Posted::NotReached(_) => "not reached",
        Posted::Failed(_) => "failed",
    };
    for (script, expected) in [
        (ok(json!({"stopReason": "end_turn"})), "ended"),
        (Script::empty(202), "running"),
        (Script::stream("application/json", vec![Piece::Silence]), "running"),
        (Script::Hang, "running"),
        (problem(504, "timeout", "the agent is slow"), "running"),
        (Script::Fail(CallError::NotReached("refused".to_owned())), "not reached"),
        (problem(404, "session_not_found", "no such server"), "not reached"),
        (problem(400, "invalid_request", "missing required 'agent' query parameter"), "not reached"),
        (problem(502, "stream_error", "spawn failed"), "not reached"),
        (problem(400, "invalid_request", "invalid JSON body"), "failed"),
        (Script::text(502, "text/plain", "bad gateway"), "failed"),
        (problem(500, "agent_process_exited", "boom"), "failed"),
        (problem(429, "x", "slow down"), "failed"),
        (problem(401, "token_invalid", "no"), "failed"),
        (Script::Fail(CallError::Broken("lost".to_owned())), "failed"),
        (Script::Fail(CallError::TimedOut), "running"),
        (Script::json(200, &json!({"jsonrpc": "2.0", "id": 9, "error": {"code": -1, "message": "no"}})), "failed"),
        (Script::text(200, "application/json", "{"), "failed"),
        (Script::stream("application/json", vec![Piece::Bytes(b"{".to_vec()), Piece::Break]), "failed"),
        (Script::stream("application/json", vec![Piece::Endless(vec![b' '; 65_536])]), "failed"),
    ] {
        assert_eq!(word(script.clone()), expected, "{script:?}");
    }
}

#[test]
fn only_our_own_limit_ends_the_wait_for_a_prompt() {
    let (posted, elapsed) = prompt(Script::Hang);
    assert!(matches!(posted, Posted::Running));
    assert_eq!(elapsed, 30_000);
}

#[test]
fn answers_are_bounded_in_size_and_time() {
    let health = |script: Script| {
        let runtime = runtime(ProviderKind::LocalRunner);
        let world = World::new(move |_| script.clone());
        (world.clock.run(AgentServer::of(&runtime, &world, &world.clock).health()), world.clock.elapsed())
    };
    let of_size = |size: usize| Script::text(200, "text/plain", vec![b' '; size]);
    assert!(health(of_size(crate::acp::MAX_REPLY_BYTES)).0.is_ok());
    assert_eq!(health(of_size(crate::acp::MAX_REPLY_BYTES + 1)).0, Err(AcpError::TooLarge.into()));
    let (slow, elapsed) = health(Script::stream("application/json", vec![Piece::Silence]));
    assert_eq!((slow, elapsed), (Err(CallError::TimedOut.into()), i64::from(CALL_MS)));
    // Of a refusal only the beginning is read, and it stays a refusal.
    let Script::Answer { headers, .. } = of_size(1) else { unreachable!() };
    let endless = Script::Answer { status: 500, headers, body: vec![Piece::Endless(vec![b'x'; 1_000])] };
    assert_eq!(health(endless).0.unwrap_err().status(), Some(500));
}

#[test]
fn the_end_of_a_server_is_not_waited_for_longer_than_ten_seconds() {
    let runtime = runtime(ProviderKind::LocalRunner);
    let world = World::new(|_| Script::Hang);
    assert_eq!(world.clock.run(AgentServer::of(&runtime, &world, &world.clock).delete()), Ok(()));
    assert_eq!(world.clock.elapsed(), i64::from(DELETE_MS));
}

fn stream(dialect: Dialect, id: Option<&str>, script: Script) -> (Result<Vec<u8>, ServerError>, Call) {
    let runtime = runtime(ProviderKind::LocalRunner);
    let world = World::new(move |_| script.clone());
    let read = world.clock.run(async {
        let mut stream = AgentServer::of(&runtime, &world, &world.clock).stream(dialect, id).await?;
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    });
    (read, world.calls().remove(0))
}

#[test]
fn a_stream_goes_on_after_the_last_frame() {
    let frames = || Script::stream("text/event-stream", vec![Piece::Bytes(b"data: 1\n\n".to_vec())]);
    let (read, call) = stream(Dialect::Acp, Some("12"), frames());
    assert_eq!(read.unwrap(), b"data: 1\n\n");
    assert_eq!(call.headers["accept"], "text/event-stream");
    assert_eq!(call.headers["last-event-id"], "12");
    // A server refuses what is no number, so that the whole ring is asked for.
    for id in [None, Some(""), Some("x"), Some("-1"), Some("1\n")] {
        assert!(!stream(Dialect::Acp, id, frames()).1.headers.contains_key("last-event-id"), "{id:?}");
    }
}

#[test]
fn what_is_no_stream_is_a_failure() {
    let page = Script::text(200, "text/html", "<form>");
    assert_eq!(stream(Dialect::Acp, None, page).0, Err(AcpError::Unreadable.into()));
    let gone = stream(Dialect::Acp, None, Script::text(404, "text/plain", "gone")).0.unwrap_err();
    assert!(gone.is_not_reached());
    assert_eq!(stream(Dialect::Acp, None, Script::Hang).0, Err(CallError::TimedOut.into()));
}

#[test]
fn events_of_the_older_dialect_become_a_stream_that_ends() {
    let events = json!({"events": [{"sequence": 8, "type": "item.delta"}, {"type": "odd\nline"}], "hasMore": true});
    let (read, call) = stream(Dialect::Legacy, Some("7"), Script::json(200, &events));
    assert_eq!(
        String::from_utf8(read.unwrap()).unwrap(),
        "id: 8\ndata: {\"sequence\":8,\"type\":\"item.delta\"}\n\ndata: {\"type\":\"odd\\nline\"}\n\n"
    );
    assert_eq!(call.url, "https://a.test/v1/sessions/s%201/events?offset=7&limit=500");
    assert!(stream(Dialect::Legacy, None, Script::json(200, &json!({"events": 5}))).0.is_err());
}

#[test]
fn a_credential_that_no_header_can_hold_is_not_sent() {
    let mut runtime = runtime(ProviderKind::LocalRunner);
    runtime.secrets.agent_token = Some("line\nbreak".to_owned());
    let world = World::new(good);
    let error = world.clock.run(AgentServer::of(&runtime, &world, &world.clock).health()).unwrap_err();
    assert!(error.is_not_reached());
    assert!(!error.to_string().contains("break"));
    assert_eq!(world.lines().len(), 0);
}
