//! An agent that observes a database with the tools that it is offered (pg-sync.md 4.12), over real objects on both sides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transcripts::run_token::RunTokens;
use transcripts::tool_token::Claims;

use crate::agent::Fate;
use crate::world::World;
use crate::{database, settings_with};

const KEYS: (&str, &str) = ("RUN_TOKEN_KEYS", "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
const SECOND: i64 = 1_000;
const CONNECTIONS: &str = r#"{"main":{"url":"http://shapes.test/v1/shape","poll_ms":1000},
    "few":{"url":"http://shapes.test/v1/shape","tables":["public.orders"]}}"#;

fn bare(more: &[(&str, &str)], provider: &'static str) -> World {
    let settings = settings_with(&[more, &[KEYS, ("PG_SYNC_CONNECTIONS", CONNECTIONS)]].concat());
    let world = World::beside(Some(database()), settings, provider);
    world.agent.borrow_mut().heeds_cancel = true;
    world.agent.borrow_mut().takes_tools = true;
    world
}

fn world_with(more: &[(&str, &str)], provider: &'static str) -> World {
    let world = bare(more, provider);
    assert_eq!(world.create().0, 200);
    world
}

fn world() -> World {
    world_with(&[], "local-dev")
}

/// The token that the agent was given last.
fn token(world: &World) -> String {
    let offered = world.agent.borrow().offered.last().cloned().unwrap();
    let header = offered["headers"][0]["value"].as_str().unwrap();
    header.strip_prefix("Bearer ").unwrap().to_owned()
}

fn claims(world: &World) -> Claims {
    Claims::verify(&RunTokens::parse(KEYS.1).unwrap(), &token(world), world.clock.now.get()).unwrap()
}

fn rpc_as(world: &World, claims: &Claims, method: &str, params: &Value) -> (u16, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    world.of_tool(claims, "POST", "mcp", Some(&body))
}

fn rpc(world: &World, method: &str, params: &Value) -> Value {
    let (status, told) = rpc_as(world, &claims(world), method, params);
    assert_eq!((status, &told["id"]), (200, &json!(7)), "{told}");
    told
}

/// Calls a tool; gives its result.
fn call(world: &World, tool: &str, arguments: &Value) -> Value {
    let told = rpc(world, "tools/call", &json!({"name": tool, "arguments": arguments}));
    let result = &told["result"];
    assert!(result.is_object(), "{told}");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    if result["isError"] == true {
        assert!(text["error"].is_string() && result.get("structuredContent").is_none(), "{told}");
    } else {
        assert_eq!(text, result["structuredContent"], "the same as text");
    }
    text
}

/// What is wrong with arguments.
fn wrong(world: &World, tool: &str, arguments: &Value) -> String {
    let told = rpc(world, "tools/call", &json!({"name": tool, "arguments": arguments}));
    assert_eq!(told["error"]["code"], -32_602, "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    message.strip_prefix("missing, wrong or unknown: ").unwrap_or(message).to_owned()
}

fn told(world: &World) -> Value {
    world.ask("GET", "status", None).1["tools"].clone()
}

#[test]
fn an_agent_observes_is_woken_reads_and_ends_it() {
    let world = world();
    let offered = world.agent.borrow().offered.clone();
    assert_eq!((offered.len(), &offered[0]["url"]), (1, &json!("https://base.test/sessions/s/mcp")));
    assert_eq!((&offered[0]["type"], &offered[0]["name"]), (&json!("http"), &json!("logseq")));
    assert_eq!(told(&world), json!({"offered": true}));
    let listed = rpc(&world, "tools/list", &json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["observe_pg_sync", "unobserve_pg_sync", "list_pg_changes"]);
    for tool in tools {
        assert!(
            tool["inputSchema"]["additionalProperties"] == false && tool["outputSchema"]["type"] == "object",
            "{tool}"
        );
    }
    let observed = call(&world, "observe_pg_sync", &json!({"connection": "main", "table": "orders"}));
    let mut members: Vec<&str> = observed.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["sourceRef", "source_id", "streamUrl", "subscription_id", "wake"]);
    assert_eq!(observed["wake"], json!({"debounceMs": 0}));
    assert_eq!(call(&world, "observe_pg_sync", &json!({"connection": "main", "table": "orders"})), observed);
    world.bridges.shapes.borrow_mut().insert("new");
    world.pass(5 * SECOND);
    let prompts: Vec<String> = world.agent.borrow().prompts.keys().cloned().collect();
    assert!(prompts.len() == 1 && prompts[0].contains("pg-sync: 1 changes of the table \"orders\""), "{prompts:?}");
    let source = observed["source_id"].clone();
    let page = call(&world, "list_pg_changes", &json!({"source_id": source}));
    assert_eq!(
        (&page["changes"][0]["key"], &page["next_after"], &page["last_seq"]),
        (&json!("new"), &json!(1), &json!(1))
    );
    let rest = call(&world, "list_pg_changes", &json!({"source_id": source, "after": 1, "limit": 5}));
    assert_eq!(rest["changes"], json!([]));
    assert_eq!(call(&world, "unobserve_pg_sync", &json!({"source_id": source})), json!({"removed": true}));
    assert_eq!(call(&world, "unobserve_pg_sync", &json!({"source_id": source})), json!({"error": "not found"}));
    assert_eq!(call(&world, "list_pg_changes", &json!({"source_id": source})), json!({"error": "not found"}));
    assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}));
}

/// Fact 29 of pg-sync.md 3.
#[test]
fn what_cannot_be_observed_is_told() {
    let world = world();
    for (arguments, fields) in [
        (json!({"connection": "main"}), "table"),
        (json!({"connection": "main", "table": "  "}), "table"),
        (json!({"table": "t"}), "connection"),
        (json!({"connection": "main", "url": "https://x.test", "table": "t"}), "connection, url"),
        (json!({"connection": "main", "table": "t", "wake": {"ops": ["upsert"]}}), "wake.ops"),
        (json!({"connection": "main", "table": "t", "wake": {"timeoutMs": 5}}), "wake.timeoutMs"),
        (json!({"connection": "main", "table": "t", "wake": {"debounceMs": -1}}), "wake.debounceMs"),
        (json!({"connection": "main", "table": "t", "replace": true}), "replace"),
    ] {
        assert_eq!(wrong(&world, "observe_pg_sync", &arguments), fields, "{arguments}");
    }
    assert_eq!(wrong(&world, "none", &json!({})), "there is no such tool: name");
    let asked = |arguments: Value| call(&world, "observe_pg_sync", &arguments);
    assert_eq!(asked(json!({"connection": "other", "table": "t"})), json!({"error": "connection_not_found"}));
    assert_eq!(asked(json!({"connection": "few", "table": "users"})), json!({"error": "table_not_allowed"}));
    assert_eq!(asked(json!({"url": "https://free.test/v1/shape", "table": "t"})), json!({"error": "url_not_allowed"}));
    world.bridges.shapes.borrow_mut().faults = vec![401; 3];
    let refused = asked(json!({"connection": "main", "table": "orders"}));
    assert_eq!((&refused["error"], &refused["status"]), (&json!("probe_failed"), &json!(401)));
    world.bridges.shapes.borrow_mut().faults.clear();
    let wake = json!({"ops": ["insert"], "debounceMs": 0});
    let observed = asked(json!({"connection": "main", "table": "orders", "wake": wake}));
    assert_eq!(observed["wake"], wake, "0 is kept");
    let conflict = asked(json!({"connection": "main", "table": "orders"}));
    assert_eq!(conflict["error"], "wake_conflict");
    assert!(world.reported("agents/internal-error").is_empty());
}

/// Fact 30 of pg-sync.md 3.
#[test]
fn what_is_ended_is_named_without_doubt() {
    let world = world();
    let observe = |connection: &str, table: &str| {
        call(&world, "observe_pg_sync", &json!({"connection": connection, "table": table}))
    };
    let (first, second, third) = (observe("main", "orders"), observe("few", "orders"), observe("main", "users"));
    let end = |arguments: Value| call(&world, "unobserve_pg_sync", &arguments);
    let listed = end(json!({}));
    assert_eq!((&listed["removed"], listed["observations"].as_array().unwrap().len()), (&json!(false), 3));
    let doubt = end(json!({"table": "orders"}));
    let candidates: Vec<&Value> = doubt["candidates"].as_array().unwrap().iter().map(|it| &it["source_id"]).collect();
    assert_eq!((&doubt["removed"], candidates.len()), (&json!(false), 2));
    assert!(candidates.contains(&&first["source_id"]) && candidates.contains(&&second["source_id"]));
    assert_eq!(end(json!({"table": "users"})), json!({"removed": true}));
    assert_eq!(end(json!({"table": "users"})), json!({"error": "not found"}));
    assert_eq!(end(json!({"source_id": third["source_id"]})), json!({"error": "not found"}));
    assert_eq!(end(json!({"source_id": first["source_id"], "table": "users"})), json!({"error": "not found"}));
    // Two connections to one service: by that name both are the same.
    assert_eq!(first["sourceRef"], second["sourceRef"]);
    assert_eq!(end(json!({"sourceRef": first["sourceRef"]}))["candidates"].as_array().unwrap().len(), 2);
    assert_eq!(end(json!({"source_id": second["source_id"]})), json!({"removed": true}));
    assert_eq!(end(json!({"sourceRef": first["sourceRef"]})), json!({"removed": true}));
    assert_eq!(wrong(&world, "unobserve_pg_sync", &json!({"source_id": "a", "sourceRef": "b"})), "sourceRef");
    assert_eq!(wrong(&world, "list_pg_changes", &json!({"limit": 501})), "limit, source_id");
}

#[test]
fn a_log_that_is_not_kept_any_more_is_told() {
    let world = world();
    let source =
        call(&world, "observe_pg_sync", &json!({"connection": "main", "table": "orders"}))["source_id"].clone();
    for key in 0..20 {
        world.bridges.shapes.borrow_mut().insert(&format!("r{key}"));
    }
    world.pass(5 * SECOND);
    world.pass(8 * 86_400 * SECOND);
    // What is older than a week goes when something new comes.
    world.bridges.shapes.borrow_mut().insert("new");
    world.pass(120 * SECOND);
    // The token has lived for longer than a day: the front refuses it, the object does not look at that.
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "list_pg_changes", "arguments": {"source_id": source}}});
    let token = token(&world);
    let claims: Claims = {
        let said = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(said).unwrap()).unwrap()
    };
    let (status, told) = world.of_tool(&claims, "POST", "mcp", Some(&body));
    assert_eq!((status, &told["result"]["isError"]), (200, &json!(true)), "{told}");
    let text: Value = serde_json::from_str(told["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&text["error"], text["first_seq"].is_u64()), (&json!("gone"), true), "{text}");
}

#[test]
fn the_same_routes_take_the_token_and_no_others() {
    let world = world();
    let own = claims(&world);
    let (status, observed) =
        world.of_tool(&own, "POST", "pg-sync", Some(&json!({"connection": "main", "table": "orders"})));
    assert_eq!(status, 201, "{observed}");
    let source = observed["source_id"].as_str().unwrap().to_owned();
    assert_eq!(world.of_tool(&own, "GET", "pg-sync", None).1["observations"][0]["source_id"], json!(source));
    for (method, path) in [
        ("POST", format!("pg-sync-retry/{source}")),
        ("GET", "status".to_owned()),
        ("GET", "events".to_owned()),
        ("POST", "messages".to_owned()),
        ("POST", "cancel".to_owned()),
        ("POST", "delete".to_owned()),
        ("GET", "access".to_owned()),
        ("GET", "budget".to_owned()),
    ] {
        let body = json!({"message": "m", "kind": "user"});
        let (status, told) = world.of_tool(&own, method, &path, (method == "POST").then_some(&body));
        assert!(matches!(status, 401 | 403), "{method} {path}: {status} {told}");
    }
    assert_eq!(world.of_tool(&own, "DELETE", &format!("pg-sync/{source}"), None).1, json!({"removed": true}));
    let other = Claims { sub: "bob".into(), ..own };
    for (method, path) in [("GET", "pg-sync"), ("POST", "mcp")] {
        assert_eq!(world.of_tool(&other, method, path, Some(&json!({}))).0, 401, "{method} {path}");
    }
}

#[test]
fn a_token_ends_with_its_runtime_and_its_session() {
    let world = world_with(&[], "e2b");
    let first = claims(&world);
    let ping = |world: &World, claims: &Claims| rpc_as(world, claims, "ping", &json!({})).0;
    assert_eq!(ping(&world, &first), 200);
    // The sandbox is gone: the session gets another one, and its agent another token.
    world.agent.borrow_mut().next_prompt = Fate::Missing;
    world.message("one");
    world.pass(5 * SECOND);
    assert_eq!(ping(&world, &first), 401, "nobody has a runtime");
    world.message("two");
    world.pass(5 * SECOND);
    let second = claims(&world);
    assert_eq!((ping(&world, &first), ping(&world, &second)), (401, 200));
    assert_eq!(world.ask("POST", "cancel", None).0, 200);
    world.pass(5 * SECOND);
    assert_eq!(ping(&world, &second), 401);
    let gone = world_with(&[], "local-dev");
    let own = claims(&gone);
    gone.delete();
    assert_eq!(ping(&gone, &own), 401);
}

/// An agent that did not get a prompt gets a new session, and a token that lives for a whole day from then.
#[test]
fn a_new_session_of_the_agent_has_a_new_token() {
    let world = world();
    let first = claims(&world);
    world.pass(60 * SECOND);
    world.agent.borrow_mut().next_prompt = Fate::NotReached;
    world.message("hello");
    world.pass(5 * SECOND);
    assert_eq!(world.agent.borrow().offered.len(), 2);
    let second = claims(&world);
    assert!(second.exp > first.exp && second.generation == first.generation);
    for claims in [&first, &second] {
        assert_eq!(rpc_as(&world, claims, "ping", &json!({})).0, 200);
    }
}

#[test]
fn where_nothing_is_offered_the_record_says_why() {
    let not_offered = |world: &World, why: &str| {
        assert_eq!(told(world), json!({"offered": false, "reason": why}));
        assert!(world.agent.borrow().offered.is_empty());
    };
    not_offered(&world_with(&[("PG_SYNC_TOOLS", "off")], "local-dev"), "off");
    let unable = bare(&[], "local-dev");
    unable.agent.borrow_mut().takes_tools = false;
    assert_eq!(unable.create().0, 200);
    not_offered(&unable, "no-http");
    not_offered(&world_with(&[("RUN_TOKEN_KEYS", "")], "local-dev"), "no-keys");
    let unbound = bare(&[], "local-dev");
    unbound.bridges.is_bound.set(false);
    assert_eq!(unbound.create().0, 200);
    assert!(unbound.agent.borrow().offered.is_empty());
    assert_eq!(told(&unbound), Value::Null, "where nothing can be observed nobody is told of tools");
    let elsewhere = world_with(&[("PUBLIC_BASE_URL", "https://agents.example")], "local-dev");
    assert_eq!(elsewhere.agent.borrow().offered[0]["url"], "https://agents.example/sessions/s/mcp");
}

/// An agent may say what it holds. Nobody is shown it, and it is stored nowhere, whatever becomes of the object.
#[test]
fn the_token_is_shown_nowhere() {
    let mut world = world();
    let token = token(&world);
    let said = |world: &World, text: &str| {
        world.message("speak");
        world.pass(SECOND);
        world.agent.borrow_mut().speak(&format!("I have {text} here."));
        world.agent.borrow_mut().finish("end_turn");
        world.pass(SECOND);
    };
    let forms = [
        token.clone(),
        STANDARD.encode(&token),
        STANDARD.encode(format!("a{token}")),
        base16ct::lower::encode_string(token.as_bytes()),
        token.split('.').nth(2).unwrap().to_owned(),
    ];
    for life in 0..2 {
        for text in &forms[..4] {
            said(&world, text);
        }
        let shown = Value::Array(world.events()).to_string();
        assert!(shown.contains("[redacted]"));
        // The signature is what opens anything: it is in no form of it.
        for form in [&forms[0], &forms[3], &forms[4]] {
            assert!(!shown.contains(form.as_str()), "life {life}: {form}");
        }
        for encoded in [&forms[1], &forms[2]] {
            let middle = &encoded[40..encoded.len() - 40];
            assert!(!shown.contains(middle), "life {life}: {encoded}");
        }
        assert!(!world.stored_text().contains(forms[4].as_str()), "life {life}");
        world.crash();
    }
}
