use base64::{Engine as _, engine::general_purpose::STANDARD};
use web::Call;

use super::*;
use crate::connect;
use crate::runtime::testing::{Piece, Script, Told, World, settings, task, wish};
use crate::settings::E2bApi;
use crate::task::TaskSecrets;

const REPO: &str = "https://github.com/acme/app";

/// What a command writes before it ends with a code.
pub(super) fn ran(stdout: &str, code: i64) -> Script {
    let mut body = Vec::new();
    let events = [
        json!({"event": {"start": {"pid": 7}}}),
        json!({"event": {"data": {"stdout": STANDARD.encode(stdout)}}}),
        json!({"event": {"end": {"exitCode": code, "exited": true}}}),
    ];
    for event in &events {
        connect::write_message(&mut body, event).unwrap();
    }
    connect::write_end(&mut body, Ok(())).unwrap();
    Script::stream("application/connect+json", vec![Piece::Bytes(body)])
}

/// The last argument of the command of a call.
pub(super) fn script_of(call: &Call) -> String {
    let body: Value = serde_json::from_slice(call.body.get(5..).unwrap_or_default()).unwrap_or_default();
    body["process"]["args"].as_array().and_then(|args| args.last()?.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A deployment in which everything goes well; the agent server answers once it was started.
pub(super) fn good() -> impl FnMut(&Call) -> Script {
    let mut started = false;
    move |call| {
        if call.url.contains("/sandboxes") {
            return match call.url.as_str() {
                url if url.ends_with("/snapshots") => Script::json(201, &json!({"snapshotID": "snap-1"})),
                url if url.ends_with("/pause") || url.ends_with("/timeout") => Script::empty(204),
                _ if call.method == http::Method::DELETE => Script::empty(204),
                _ => Script::json(201, &json!({"sandboxID": "sbx1", "envdAccessToken": "envd-token"})),
            };
        }
        if call.url.contains("/files") {
            return Script::json(200, &json!([]));
        }
        if call.url.contains("/process.Process/Start") {
            let script = script_of(call);
            let is_start = script.contains("sandbox-agent server");
            started |= is_start;
            return match script {
                script if script.contains("__HEALTH_OK__") => {
                    ran(if started { "__HEALTH_OK__\n" } else { "__HEALTH_FAIL__\n" }, 0)
                }
                _ if is_start => ran("agent-sid 42\n", 0),
                _ => ran("", 0),
            };
        }
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let result = if body["method"] == "session/new" { json!({"sessionId": "r1"}) } else { json!({}) };
        Script::json(200, &json!({"jsonrpc": "2.0", "id": body["id"], "result": result}))
    }
}

pub(super) fn provider(world: &World, settings: RuntimeSettings) -> E2bProvider<World, crate::runtime::testing::Clock> {
    E2bProvider::new(Rc::new(settings), world.clone(), world.clock.clone())
}

pub(super) fn provision(world: &World, told: &mut Told, change: impl Fn(&mut Wish<'_>)) -> Result<Made, RuntimeError> {
    let (task, secrets) = (task(REPO), TaskSecrets::default());
    let mut wish = wish(&task, &secrets);
    change(&mut wish);
    world.clock.run(provider(world, settings()).provision(&wish, told))
}

pub(super) fn ready(made: Result<Made, RuntimeError>) -> Runtime {
    match made.unwrap() {
        Made::Ready(runtime) => *runtime,
        Made::Building(_) => panic!("nothing to build"),
    }
}

fn kills(world: &World) -> usize {
    world.lines().iter().filter(|line| line.starts_with("DELETE ")).count()
}

#[test]
fn a_sandbox_is_written_down_before_it_is_used() {
    let (world, mut told) = (World::new(good()), Told::default());
    let runtime = ready(provision(&world, &mut told, |_| {}));
    assert_eq!(told.lines, ["creating", "created intent-1 sbx1", "tree"]);
    assert_eq!(runtime.base_url, "https://2468-sbx1.e2b.test");
    assert_eq!((runtime.session_id.as_str(), runtime.agent_sid), ("r1", Some(42)));
    assert_eq!(runtime.directory, "/home/user/workspace/app");
    let scripts: Vec<String> = world.calls().iter().map(script_of).filter(|script| !script.is_empty()).collect();
    let at = |words: &str| scripts.iter().position(|script| script.contains(words)).unwrap();
    assert!(at("sandbox-agent server") < at("git clone"), "{scripts:?}");
    assert_eq!(kills(&world), 0);
}

#[test]
fn no_secret_stands_in_a_command() {
    let world = World::new(good());
    ready(provision(&world, &mut Told::default(), |wish| wish.github_token = Some("ghs_secret_token")));
    let scripts: Vec<String> = world.calls().iter().map(script_of).collect();
    assert!(
        scripts.iter().all(|script| !script.contains("ghs_secret") && !script.contains("agent-token")),
        "{scripts:?}"
    );
    let uploads: Vec<String> = world.lines().into_iter().filter(|line| line.contains("/files?path=")).collect();
    assert_eq!(uploads.len(), 1, "{uploads:?}");
}

#[test]
fn a_sandbox_whose_furnishing_fails_is_killed() {
    for failing in ["sandbox-agent server", "session/new"] {
        let mut inner = good();
        let world = World::new(move |call| {
            let is_it = script_of(call).contains(failing) || String::from_utf8_lossy(&call.body).contains(failing);
            if is_it { Script::json(500, &json!({"code": "internal"})) } else { inner(call) }
        });
        let mut told = Told::default();
        assert!(provision(&world, &mut told, |_| {}).is_err(), "{failing}");
        assert_eq!(kills(&world), 1, "{failing}");
        assert_eq!(told.lines.last().unwrap(), "undone intent-1");
    }
    // What cannot be written down is not kept either.
    let (world, mut told) = (World::new(good()), Told { full: true, ..Told::default() });
    assert!(provision(&world, &mut told, |_| {}).is_err());
    assert_eq!(kills(&world), 1);
}

#[test]
fn wherever_it_dies_the_sandbox_is_written_down_or_was_never_made() {
    let whole = World::new(good());
    ready(provision(&whole, &mut Told::default(), |_| {}));
    let calls = whole.calls().len();
    for died in 0..calls {
        for after in [false, true] {
            let world = World::new(good()).dying(died, after);
            let (task, secrets) = (task(REPO), TaskSecrets::default());
            let mut told = Told::default();
            let done = world.clock.try_run(provider(&world, settings()).provision(&wish(&task, &secrets), &mut told));
            let is_ready = matches!(done, Some(Ok(_)));
            assert!(is_ready || told.lines.first().is_some_and(|line| line == "creating"), "{died}: {:?}", told.lines);
            let made = world.lines().iter().filter(|line| *line == "POST https://api.e2b.test/sandboxes").count();
            assert!(made <= 1);
        }
    }
}

#[test]
fn a_snapshot_that_is_gone_is_told_and_another_way_taken() {
    let mut inner = good();
    let world = World::new(move |call| {
        let is_it = String::from_utf8_lossy(&call.body).contains("\"templateID\":\"snap-9\"");
        if is_it { Script::json(404, &json!({"message": "template not found"})) } else { inner(call) }
    });
    let mut told = Told::default();
    let runtime = ready(provision(&world, &mut told, |wish| wish.snapshot_id = Some("snap-9")));
    assert!(told.lines.contains(&"event sandbox.restore.failed".to_owned()));
    assert_eq!(runtime.snapshot_id, None);

    let (world, mut told) = (World::new(good()), Told::default());
    let runtime = ready(provision(&world, &mut told, |wish| wish.snapshot_id = Some("snap-9")));
    assert!(told.lines.contains(&"event sandbox.restore.succeeded".to_owned()));
    assert_eq!(runtime.snapshot_id.as_deref(), Some("snap-9"));
    let scripts: Vec<String> = world.calls().iter().map(script_of).collect();
    assert!(scripts.iter().all(|script| !script.contains("git clone")), "the tree is in the snapshot");
    // So is the agent server of the session before, with its token.
    let at = |words: &str| scripts.iter().position(|script| script.contains(words)).unwrap();
    assert!(at("pkill") < at("__HEALTH_OK__"), "{scripts:?}");
}

#[test]
fn a_call_that_comes_too_early_waits_as_long_as_it_is_told() {
    let (mut inner, mut refused) = (good(), 0);
    let world = World::new(move |call| {
        if call.url.ends_with("/sandboxes") && refused < 2 {
            refused += 1;
            return Script::json(429, &json!({"message": "slow down"})).with("retry-after", "3");
        }
        inner(call)
    });
    ready(provision(&world, &mut Told::default(), |_| {}));
    assert!(world.clock.elapsed() >= 6_000);
    // Without a time nobody knows when: the call is not repeated.
    let world = World::new(|_| Script::json(429, &json!({"message": "slow down"})));
    assert!(provision(&world, &mut Told::default(), |_| {}).is_err());
    assert_eq!(world.lines().len(), 1);
}

#[test]
fn a_sandbox_that_is_gone_is_missing_and_one_that_fails_is_not() {
    let world = World::new(good());
    let mut runtime = ready(provision(&world, &mut Told::default(), |_| {}));
    let (task, secrets) = (task(REPO), TaskSecrets::default());
    for (status, is_missing) in [(404, true), (500, false), (401, false)] {
        world.serve(move |_| Script::json(status, &json!({"message": "no"})));
        let woken = world.clock.run(provider(&world, settings()).wake(&mut runtime, &wish(&task, &secrets)));
        assert_eq!(matches!(woken, Err(RuntimeError::SandboxMissing(_))), is_missing, "{status}: {woken:?}");
    }
}

#[test]
fn hostile_answers_end() {
    let endless = |_: &Call| Script::stream("application/json", vec![Piece::Endless(vec![b'['; 64 << 10])]);
    assert!(provision(&World::new(endless), &mut Told::default(), |_| {}).is_err());
    let silent = |_: &Call| Script::stream("application/json", vec![Piece::Silence]);
    assert!(provision(&World::new(silent), &mut Told::default(), |_| {}).is_err());
    let odd = |_: &Call| Script::json(201, &json!({"sandboxID": "evil.example/#"}));
    assert!(provision(&World::new(odd), &mut Told::default(), |_| {}).is_err(), "no host of its own choosing");
}

#[test]
fn the_newer_api_is_left_where_nobody_knows_it() {
    let mut inner = good();
    let world = World::new(move |call| {
        if call.url.contains("/v2/") { Script::json(404, &json!({"message": "not found"})) } else { inner(call) }
    });
    let (task, secrets) = (task(REPO), TaskSecrets::default());
    let auto = RuntimeSettings { e2b_api: E2bApi::Auto, ..settings() };
    let made = world.clock.run(provider(&world, auto).provision(&wish(&task, &secrets), &mut Told::default()));
    ready(made);
    let created: Vec<String> = world.lines().into_iter().filter(|line| line.ends_with("/sandboxes")).collect();
    assert_eq!(created, ["POST https://api.e2b.test/v2/sandboxes", "POST https://api.e2b.test/sandboxes"]);
}

/// What a call about the network sends.
fn rules(world: &World, end: &str) -> Vec<Value> {
    let calls = world.calls().into_iter().filter(|call| call.url.ends_with(end));
    calls.map(|call| serde_json::from_slice(&call.body).unwrap()).collect()
}

#[test]
fn a_sandbox_talks_to_what_is_listed_and_a_changed_list_comes_with_the_next_wake() {
    let restricted = |list: &str| RuntimeSettings {
        egress: Some(crate::egress::list(list.split(',')).unwrap()),
        model_variables: vec![("OPENAI_BASE_URL", "https://models.test/v1".to_owned())],
        ..settings()
    };
    let mut inner = good();
    let world = World::new(move |call| if call.url.ends_with("/network") { Script::empty(204) } else { inner(call) });
    let (mut task, secrets) = (task(REPO), TaskSecrets::default());
    task.0["project"]["egress"] = json!(["a.listed.test", "elsewhere.test"]);
    let wish = Wish { service_url: Some("https://agents.test"), ..wish(&task, &secrets) };
    let made = world.clock.run(provider(&world, restricted("*.listed.test")).provision(&wish, &mut Told::default()));
    let mut runtime = ready(made);
    let allowed = [
        "a.listed.test",
        "agents.test",
        "models.test",
        "github.com",
        "*.github.com",
        "*.githubusercontent.com",
        "api.anthropic.com",
    ];
    assert_eq!(rules(&world, "/sandboxes")[0]["network"], json!({"allowOut": allowed, "denyOut": ["0.0.0.0/0"]}));
    assert_eq!(runtime.egress, allowed);
    let wake = |runtime: &mut Runtime, settings| world.clock.run(provider(&world, settings).wake(runtime, &wish));
    wake(&mut runtime, restricted("*.listed.test")).unwrap();
    assert_eq!(rules(&world, "/network"), [] as [Value; 0], "the same list is not sent again");
    wake(&mut runtime, restricted("elsewhere.test")).unwrap();
    assert_eq!(rules(&world, "/network")[0]["allowOut"][0], "elsewhere.test");
    wake(&mut runtime, settings()).unwrap();
    assert_eq!(rules(&world, "/network")[1], json!({"allow_internet_access": true}));
    assert!(runtime.egress.is_empty());
    // Where it cannot be brought, nothing is done in the sandbox.
    world.serve(|call| if call.url.ends_with("/network") { Script::json(500, &json!({})) } else { good()(call) });
    world.forget();
    assert!(wake(&mut runtime, restricted("elsewhere.test")).is_err());
    assert!(world.lines().iter().all(|line| !line.contains("/process.Process/")), "{:?}", world.lines());
}

#[test]
fn without_a_list_nothing_is_said_about_the_network() {
    let world = World::new(good());
    ready(provision(&world, &mut Told::default(), |_| {}));
    assert_eq!(rules(&world, "/sandboxes")[0].get("network"), None);
}

#[test]
fn with_a_broker_no_token_for_github_comes_into_a_sandbox() {
    let run = transcripts::run_token::RunTokens::development();
    let holder = crate::runtime::Holder { user: "u1", session: "s 1", run: None, attempt: 1, epoch: 0 };
    let broker = crate::runtime::GitBroker::new("https://agents.test", &run, holder).unwrap();
    let (task, secrets) = (task(REPO), TaskSecrets::default());
    let wish = Wish { broker: Some(&broker), ..wish(&task, &secrets) };
    let world = World::new(good());
    let runtime = ready(world.clock.run(provider(&world, settings()).provision(&wish, &mut Told::default())));
    assert_eq!((runtime.broker_at, runtime.github_token_at), (Some(wish.now), None));
    let uploads: Vec<Call> = world.calls().into_iter().filter(|call| call.url.contains("/files?path=")).collect();
    assert_eq!(uploads.len(), 1);
    assert!(uploads[0].url.contains("git-broker.new"));
    let sent: Vec<String> = world.calls().iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    assert!(sent.iter().all(|body| !body.contains("ghs_") && !body.contains("\"GITHUB_TOKEN\"")));
    let with_token = |body: &&String| body.contains("Bearer eyJ");
    assert_eq!(sent.iter().filter(with_token).count(), 1, "the upload alone has the token of the run");
    let scripts: Vec<String> = world.calls().iter().map(script_of).collect();
    let at = |words: &str| scripts.iter().position(|script| script.contains(words)).unwrap();
    assert!(at("credential.https://github.com.helper") < at("git clone"), "{scripts:?}");
}

#[test]
fn credentials_that_a_snapshot_remembers_are_not_those_of_the_next_session() {
    let world = World::new(good());
    ready(provision(&world, &mut Told::default(), |wish| {
        wish.snapshot_id = Some("snap-9");
        wish.github_token = Some("ghs_secret_token");
    }));
    let started = |world: &World| -> Value {
        let call = world.calls().into_iter().find(|call| script_of(call).contains("sandbox-agent server")).unwrap();
        serde_json::from_slice(call.body.get(5..).unwrap()).unwrap()
    };
    let variables = &started(&world)["process"]["envs"];
    assert_eq!((&variables["ANTHROPIC_API_KEY"], &variables["OPENAI_API_KEY"]), (&json!(""), &json!("")));
    assert_eq!(variables["GITHUB_TOKEN"], "ghs_secret_token");
    // What a template brings along stays.
    let world = World::new(good());
    ready(provision(&world, &mut Told::default(), |_| {}));
    assert_eq!(started(&world)["process"]["envs"].get("ANTHROPIC_API_KEY"), None);
}
