use serde_json::json;
use web::Call;

use super::*;
use crate::registry::Runner;
use crate::runtime::testing::{Script, Told, World, settings, task, wish};
use crate::task::TaskSecrets;

fn runner(workspace_dir: Option<&str>) -> Runner {
    Runner {
        runner_id: "laptop".to_owned(),
        user_id: "u1".to_owned(),
        base_url: "https://a.test".to_owned(),
        status: "online".to_owned(),
        max_sessions: 1,
        active_sessions: 0,
        last_heartbeat_at: 0,
        created_at: 0,
        updated_at: 0,
        workspace_dir: workspace_dir.map(str::to_owned),
        agent_token: Some("tok".to_owned()),
        access_client_id: None,
        access_client_secret: None,
        signing_key: None,
        mailbox: None,
    }
}

fn good(call: &Call) -> Script {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let result = if body["method"] == "session/new" { json!({"sessionId": "r1"}) } else { json!({}) };
    Script::json(200, &json!({"jsonrpc": "2.0", "id": body["id"], "result": result}))
}

fn provision(world: &World, runner: Option<&Runner>) -> Result<Runtime, RuntimeError> {
    let (task, secrets) = (task("https://github.com/acme/app"), TaskSecrets::default());
    let wish = Wish { runner, ..wish(&task, &secrets) };
    let provider = RunnerProvider::runners(Rc::new(settings()), world.clone(), world.clock.clone());
    match world.clock.run(provider.provision(&wish, &mut Told::default()))? {
        Made::Ready(runtime) => Ok(*runtime),
        Made::Building(_) => panic!("nothing to build"),
    }
}

#[test]
fn a_session_works_in_a_directory_of_its_own() {
    let world = World::new(good);
    let runtime = provision(&world, Some(&runner(None))).unwrap();
    assert_eq!(runtime.directory, "/home/user/workspace/s-1");
    assert_eq!(world.lines().len(), 3, "nothing is made where nothing was said");
    assert_eq!((runtime.runner_id.as_deref(), runtime.session_id.as_str()), (Some("laptop"), "r1"));
    assert_eq!(runtime.secrets.agent_token.as_deref(), Some("tok"));

    let world = World::new(good);
    assert_eq!(
        provision(&world, Some(&runner(Some("/Users/ann/agents/")))).unwrap().directory,
        "/Users/ann/agents/s-1"
    );
    assert_eq!(world.lines()[0], "POST https://a.test/v1/fs/mkdir?path=%2FUsers%2Fann%2Fagents%2Fs-1");
}

/// `runtime_provider_test` of the reference (agents.md 17).
#[test]
fn every_request_to_a_runner_carries_its_credentials() {
    let world = World::new(good);
    let full = Runner {
        access_client_id: Some("access-id".to_owned()),
        access_client_secret: Some("access-secret".to_owned()),
        ..runner(None)
    };
    let runtime = provision(&world, Some(&full)).unwrap();
    let at = "POST https://a.test/v1/acp/s%201";
    assert_eq!(world.lines(), [format!("{at}?agent=claude"), at.to_owned(), at.to_owned()]);
    for call in world.calls() {
        let header = |name: &str| call.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("authorization"), "Bearer tok");
        assert_eq!(header("cf-access-client-id"), "access-id");
        assert_eq!(header("cf-access-client-secret"), "access-secret");
    }
    assert_eq!((runtime.provider, runtime.base_url.as_str()), (ProviderKind::LocalRunner, "https://a.test"));
    assert_eq!((runtime.server_id.as_str(), runtime.runner_id.as_deref()), ("s 1", Some("laptop")));
    assert_eq!(runtime.secrets.access_client_secret.as_deref(), Some("access-secret"));
}

#[test]
fn a_server_that_cannot_make_directories_is_used_as_it_is() {
    for (status, works) in [(404, true), (405, true), (403, false), (500, false)] {
        let world =
            World::new(move |call| if call.url.contains("/v1/fs/") { Script::empty(status) } else { good(call) });
        assert_eq!(provision(&world, Some(&runner(Some("/w")))).is_ok(), works, "{status}");
    }
}

#[test]
fn failures_of_a_runner_have_names() {
    for (script, reason) in [
        (Script::Fail(CallError::NotReached("refused".to_owned())), Some("runner-offline")),
        (Script::Fail(CallError::Broken("lost".to_owned())), Some("runner-offline")),
        (Script::text(530, "text/html", "error code: 1033"), Some("runner-offline")),
        (Script::text(502, "text/plain", "bad gateway"), Some("runner-offline")),
        (Script::text(503, "text/plain", "busy"), Some("runner-offline")),
        (Script::empty(401), Some("runner-auth-failed")),
        (Script::empty(403), Some("runner-auth-failed")),
        (Script::empty(504), Some("runner-timeout")),
        (Script::Hang, Some("runner-timeout")),
        (Script::empty(409), None),
    ] {
        let world = World::new({
            let script = script.clone();
            move |_| script.clone()
        });
        let error = provision(&world, Some(&runner(None))).unwrap_err();
        assert_eq!(error.reason(), reason, "{script:?}: {error}");
    }
    let world = World::new(good);
    assert_eq!(provision(&world, None).unwrap_err().reason(), Some("missing-local-runner-base-url"));
    let nowhere = Runner { base_url: " ".to_owned(), ..runner(None) };
    assert_eq!(provision(&world, Some(&nowhere)).unwrap_err().reason(), Some("missing-local-runner-base-url"));
    assert_eq!(world.lines().len(), 0);
}

#[test]
fn the_named_server_needs_no_runner() {
    let (world, task, secrets) = (World::new(good), task("https://github.com/acme/app"), TaskSecrets::default());
    let provider = RunnerProvider::dev(Rc::new(settings()), world.clone(), world.clock.clone());
    let made = world.clock.run(provider.provision(&wish(&task, &secrets), &mut Told::default())).unwrap();
    let Made::Ready(runtime) = made else { panic!() };
    assert_eq!((runtime.provider, runtime.runner_id.as_deref()), (ProviderKind::LocalDev, None));
    assert_eq!(runtime.base_url, "http://127.0.0.1:2468");
    assert_eq!(world.calls()[0].headers["authorization"], "Bearer agent-token");
}

#[test]
fn a_runner_that_registered_anew_is_opened_with_what_it_says_now() {
    let world = World::new(good);
    let mut runtime = provision(&world, Some(&runner(None))).unwrap();
    runtime.server_ended = true;
    world.forget();
    let moved = Runner { base_url: "https://b.test".to_owned(), agent_token: Some("new".to_owned()), ..runner(None) };
    let (task, secrets) = (task(""), TaskSecrets::default());
    let provider = RunnerProvider::runners(Rc::new(settings()), world.clone(), world.clock.clone());
    world.clock.run(provider.refresh(&mut runtime, &Wish { runner: Some(&moved), ..wish(&task, &secrets) })).unwrap();
    assert_eq!(world.lines()[0], "POST https://b.test/v1/acp/s%201?agent=claude");
    assert_eq!(world.calls()[0].headers["authorization"], "Bearer new");
    assert!(!runtime.server_ended);
}

#[test]
fn an_agent_is_gone_when_its_server_is_no_longer_listed() {
    for (list, proof) in [
        (Script::json(200, &json!({"servers": []})), Stopped::AgentOnly),
        (Script::json(200, &json!({"servers": [{"serverId": "other"}]})), Stopped::AgentOnly),
        (Script::json(200, &json!({"servers": [{"serverId": "s 1"}]})), Stopped::Unproven),
        (Script::json(200, &json!({"servers": 5})), Stopped::Unproven),
        (Script::Hang, Stopped::Unproven),
        (Script::empty(500), Stopped::Unproven),
    ] {
        let world = World::new(good);
        let mut runtime = provision(&world, Some(&runner(None))).unwrap();
        // The server does not answer a deletion, as the real one.
        world.serve(move |call| if call.method == "DELETE" { Script::Hang } else { list.clone() });
        let provider = RunnerProvider::runners(Rc::new(settings()), world.clone(), world.clock.clone());
        assert_eq!(world.clock.run(provider.kill_agent(&mut runtime)), proof);
        assert!(runtime.server_ended);
    }
}

#[test]
fn what_a_runner_does_not_do_is_said() {
    let world = World::new(good);
    let mut runtime = provision(&world, Some(&runner(None))).unwrap();
    let (task, secrets) = (task(""), TaskSecrets::default());
    let provider = RunnerProvider::runners(Rc::new(settings()), world.clone(), world.clock.clone());
    let error = world.clock.run(provider.snapshot(&mut runtime, &wish(&task, &secrets))).unwrap_err();
    assert_eq!(error.to_string(), "local-runner runtime provider does not support snapshots");
    world.forget();
    assert_eq!(world.clock.run(provider.end(&runtime)), Ok(()));
    assert_eq!(world.lines(), ["DELETE https://a.test/v1/acp/s%201"]);
}
