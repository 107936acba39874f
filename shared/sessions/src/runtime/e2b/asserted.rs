//! What the reference's own tests assert of sandboxes (agents.md 17), as far as no other test here shows it:
//! `e2b_runtime_provider_test`, `runtime_provider_test` and `m25_managed_auth_test`. Facts about commands are asserted on what runs.

use http::Method;
use web::Call;

use super::tests::{good, provider, ran, ready, script_of};
use super::*;
use crate::command::Lease;
use crate::publish::FailureClass;
use crate::repository::{BranchName, Repository};
use crate::runtime::testing::{Script, Told, World, settings, task, wish};
use crate::task::{Task, TaskSecrets};

const REPO: &str = "https://github.com/acme/app";

fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap_or_default()
}

/// Calls of that method to an address that ends so.
fn calls(world: &World, method: &Method, end: &str) -> Vec<Call> {
    world.calls().into_iter().filter(|call| call.method == *method && call.url.ends_with(end)).collect()
}

fn provisioned(world: &World, task: &Task, secrets: &TaskSecrets, settings: RuntimeSettings) -> Made {
    world.clock.run(provider(world, settings).provision(&wish(task, secrets), &mut Told::default())).unwrap()
}

/// A task whose agent is Codex, for a project with a Dockerfile.
fn codex(docker_file: Option<&str>) -> Task {
    let mut task = task(REPO);
    task.0["agent"] = json!({"provider": "codex"});
    task.0["project"]["docker-file"] = json!(docker_file);
    if docker_file.is_none() {
        task.0["project"].as_object_mut().unwrap().remove("docker-file");
    }
    task
}

#[test]
fn a_sandbox_is_asked_for_and_its_agent_opened_as_the_reference_does() {
    let (world, secrets) = (World::new(good()), TaskSecrets::default());
    let made = provisioned(&world, &codex(None), &secrets, settings());
    let create = &calls(&world, &Method::POST, "/sandboxes")[0];
    assert_eq!(create.url, "https://api.e2b.test/sandboxes");
    assert_eq!(create.headers["x-api-key"], "e2b-key");
    let asked = body(create);
    assert_eq!(
        (&asked["autoPause"], &asked["templateID"], &asked["timeout"]),
        (&json!(true), &json!("base"), &json!(1_800))
    );
    // The dialect of the reference, not the older one: the name of the session and of the agent are in the address.
    let opened: Vec<String> = world.lines().into_iter().filter(|line| line.contains("/v1/acp/")).collect();
    assert_eq!(opened[0], "POST https://2468-sbx1.e2b.test/v1/acp/s%201?agent=codex");
    assert_eq!(opened.len(), 3);
    assert!(world.lines().iter().all(|line| !line.contains("/v1/sessions/")));
    let runtime = ready(Ok(made));
    assert_eq!(
        (runtime.provider, runtime.sandbox_id.as_deref(), runtime.sandbox_port, runtime.server_id.as_str()),
        (ProviderKind::E2b, Some("sbx1"), Some(2468), "s 1")
    );
    assert_eq!((runtime.session_id.as_str(), runtime.template), ("r1", None));
    // `bypass` is what Codex is allowed unless somebody says otherwise.
    let mode =
        |world: &World| world.calls().iter().map(body).find(|body| body["method"] == "session/set_mode").unwrap();
    assert_eq!(mode(&world)["params"]["modeId"], "auto");
    let (world, mut asked) = (World::new(good()), codex(None));
    asked.0["agent"]["permission-mode"] = json!("read-only");
    provisioned(&world, &asked, &secrets, settings());
    assert_eq!(mode(&world)["params"]["modeId"], "read-only");
}

#[test]
fn only_what_has_an_address_is_cloned() {
    for (repo, clones) in [(REPO, 1), ("", 0), ("  ", 0)] {
        let (world, secrets) = (World::new(good()), TaskSecrets::default());
        provisioned(&world, &task(repo), &secrets, settings());
        let cloned: Vec<Call> =
            world.calls().into_iter().filter(|call| script_of(call).contains("git clone")).collect();
        assert_eq!(cloned.len(), clones, "{repo:?}");
        for call in cloned {
            let envelope: Value = serde_json::from_slice(call.body.get(5..).unwrap()).unwrap();
            let environment = &envelope["process"]["envs"];
            assert_eq!(environment["AGENT_REPO_URL"], repo);
            assert_eq!(environment["AGENT_REPO_DIR"], "/home/user/workspace/app");
        }
    }
}

/// A deployment that knows these templates; those that are named but `gone` cannot be used.
fn templates(known: &'static [&'static str], gone: &'static [&'static str]) -> World {
    let (mut inner, mut built) = (good(), 0);
    World::new(move |call| {
        if let Some((_, name)) = call.url.split_once("/templates/aliases/") {
            let status = if known.contains(&name) || built > 0 { 200 } else { 404 };
            return Script::json(status, &json!({}));
        }
        if call.url.ends_with("/v3/templates") {
            built += 1;
            return Script::json(202, &json!({"templateID": "t1", "buildID": format!("b{built}")}));
        }
        if call.url.contains("/v2/templates/") {
            return Script::json(202, &json!({}));
        }
        if call.url.ends_with("/sandboxes") {
            let wanted = body(call)["templateID"].as_str().unwrap().to_owned();
            if gone.contains(&wanted.as_str()) {
                return Script::json(404, &json!({"message": format!("template '{wanted}' not found")}));
            }
        }
        inner(call)
    })
}

const DOCKERFILE: &str = "FROM debian:trixie\nRUN apt-get update\n";
/// Without the prefix that two of the reference's tests expect: its code has none.
const NAME: &str = "graph-1-app";

#[test]
fn a_project_with_a_dockerfile_gets_a_template_of_its_own_name() {
    let (world, secrets) = (templates(&[], &[]), TaskSecrets::default());
    let Made::Building(building) = provisioned(&world, &codex(Some(DOCKERFILE)), &secrets, settings()) else {
        panic!()
    };
    assert_eq!((building.name.as_str(), building.build_id.as_str(), building.again), (NAME, "b1", false));
    assert_eq!(body(&calls(&world, &Method::POST, "/v3/templates")[0])["name"], NAME);
    let build = body(&calls(&world, &Method::POST, "/v2/templates/t1/builds/b1")[0]);
    assert_eq!(build["fromImage"], "debian:trixie");
    assert_eq!(build["startCmd"], "bash -lc 'while true; do sleep 3600; done'");
    // It is taken to be ready after 5,000 ms.
    assert_eq!((&build["readyCmd"], &build["force"]), (&json!("sleep 5"), &json!(false)));
    assert!(calls(&world, &Method::POST, "/sandboxes").is_empty(), "not before it is built");
}

#[test]
fn a_template_that_is_there_is_not_built_again() {
    let (world, secrets) = (templates(&[NAME], &[]), TaskSecrets::default());
    let runtime = ready(Ok(provisioned(&world, &codex(Some(DOCKERFILE)), &secrets, settings())));
    assert_eq!(runtime.template.as_deref(), Some(NAME));
    assert_eq!(body(&calls(&world, &Method::POST, "/sandboxes")[0])["templateID"], NAME);
    assert!(world.lines().iter().all(|line| !line.contains("/v3/templates")));
}

#[test]
fn a_projects_template_that_is_gone_is_built_once_more_and_a_sandbox_asked_for_twice() {
    let (world, secrets) = (templates(&[NAME], &[NAME]), TaskSecrets::default());
    let mut told = Told::default();
    let asked = codex(Some(DOCKERFILE));
    let made = world.clock.run(provider(&world, settings()).provision(&wish(&asked, &secrets), &mut told)).unwrap();
    let Made::Building(building) = made else { panic!() };
    assert_eq!((building.name.as_str(), building.again), (NAME, true));
    assert_eq!(body(&calls(&world, &Method::POST, "/v2/templates/t1/builds/b1")[0])["force"], true);
    assert_eq!(told.lines, ["creating", "undone intent-1"], "no sandbox was made");
    // After the build the same name is asked for. When it is gone still, nothing is built any more.
    let again = Wish { is_rebuilt: true, ..wish(&asked, &secrets) };
    let made = world.clock.run(provider(&world, settings()).provision(&again, &mut Told::default()));
    assert_eq!(made.unwrap_err().to_string(), "the project's template is gone again");
    let wanted: Vec<Value> =
        calls(&world, &Method::POST, "/sandboxes").iter().map(|call| body(call)["templateID"].clone()).collect();
    assert_eq!(wanted, [NAME, NAME]);
    assert_eq!(calls(&world, &Method::POST, "/v3/templates").len(), 1);
}

#[test]
fn a_configured_template_that_is_gone_is_left_out() {
    let (world, secrets) = (templates(&[], &["configured"]), TaskSecrets::default());
    let configured = RuntimeSettings { e2b_template: Some("configured".to_owned()), ..settings() };
    let runtime = ready(Ok(provisioned(&world, &codex(None), &secrets, configured)));
    assert_eq!(runtime.template, None);
    let wanted: Vec<Value> =
        calls(&world, &Method::POST, "/sandboxes").iter().map(|call| body(call)["templateID"].clone()).collect();
    assert_eq!(wanted, ["configured", "base"]);
    assert!(world.lines().iter().all(|line| !line.contains("/v3/templates")));
}

/// Bodies of the files that were uploaded under a path.
fn uploaded(world: &World, path: &str) -> Vec<String> {
    let there = world.calls().into_iter().filter(|call| call.url.contains(path));
    there.map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect()
}

#[test]
fn a_managed_login_goes_before_an_older_one_and_arrives_as_it_is() {
    let login = r#"{"auth_mode":"chatgpt","tokens":{"access_token":"it's \"odd\" $(id)"}}"#;
    let managed =
        |text: &str| json!({"auth-id": "a1", "auth-state": "valid", "runtime-auth-payload": {"auth-json": text}});
    for (members, expected) in [
        (json!({"managed-auth": managed(login), "auth-json": "{\"older\":1}"}), login),
        (json!({"managed-auth": managed(login)}), login),
        (json!({"auth-json": "{\"older\":1}"}), "{\"older\":1}"),
    ] {
        let world = World::new(good());
        let secrets: TaskSecrets = serde_json::from_value(members.clone()).unwrap();
        provisioned(&world, &codex(None), &secrets, settings());
        let files = uploaded(&world, "auth.json");
        assert_eq!(files.len(), 1, "{members}");
        assert!(files[0].contains(expected), "{files:?}");
        assert_eq!(files[0].contains("older"), expected.contains("older"));
    }
}

#[test]
fn an_ended_sandbox_is_paused_and_never_killed() {
    let (world, secrets) = (World::new(good()), TaskSecrets::default());
    let runtime = ready(Ok(provisioned(&world, &task(REPO), &secrets, settings())));
    world.forget();
    world.clock.run(provider(&world, settings()).end(&runtime)).unwrap();
    assert_eq!(world.lines(), ["POST https://api.e2b.test/sandboxes/sbx1/pause"]);
}

#[test]
fn a_snapshot_has_an_id_and_the_directory_stays() {
    let (world, secrets, task) = (World::new(good()), TaskSecrets::default(), task(REPO));
    let mut runtime = ready(Ok(provisioned(&world, &task, &secrets, settings())));
    let taken = world.clock.run(provider(&world, settings()).snapshot(&mut runtime, &wish(&task, &secrets))).unwrap();
    assert_eq!((taken.snapshot_id.as_str(), runtime.provider.as_str()), ("snap-1", "e2b"));
    assert_eq!(runtime.directory, "/home/user/workspace/app");
    // No command of the agent server's takes it.
    assert_eq!(calls(&world, &Method::POST, "/sandboxes/sbx1/snapshots").len(), 1);
}

/// `runtime_provider_test`: the directory is what the runtime says, not what the task would make of it.
#[test]
fn the_directory_of_a_runtime_goes_before_the_tasks() {
    let (world, secrets) = (World::new(good()), TaskSecrets::default());
    let mut runtime = ready(Ok(provisioned(&world, &task(REPO), &secrets, settings())));
    runtime.directory = "/home/user/workspace/elsewhere".to_owned();
    world.forget();
    let other = task("");
    world.clock.run(provider(&world, settings()).refresh(&mut runtime, &wish(&other, &secrets))).unwrap();
    let opened = world.calls().iter().map(body).find(|body| body["method"] == "session/new").unwrap();
    assert_eq!(opened["params"]["cwd"], "/home/user/workspace/elsewhere");
}

#[test]
fn a_command_that_fails_says_with_what_and_what_it_wrote() {
    let secrets = TaskSecrets::default();
    let inner = std::cell::RefCell::new(good());
    let world = World::new(move |call| {
        if script_of(call).contains("git push") { ran("", 128).with("x", "y") } else { (inner.borrow_mut())(call) }
    });
    let task = task(REPO);
    let mut runtime = ready(Ok(provisioned(&world, &task, &secrets, settings())));
    let (repository, head) = (Repository::parse(REPO).unwrap(), BranchName::parse("topic").unwrap());
    let lease = Lease::Absent;
    let push = Push {
        directory: "/home/user/workspace/app",
        repository: &repository,
        head: &head,
        message: "m",
        force: Some(&lease),
        token: "ghs_secret",
    };
    let pushed = world.clock.run(provider(&world, settings()).push(&mut runtime, &wish(&task, &secrets), &push));
    let error = pushed.unwrap_err();
    assert!(error.text.starts_with("git ended with 128"), "{}", error.text);
    assert_eq!(error.class, FailureClass::Unknown);
    // A sandbox that does not run commands at all is no push either.
    world.serve(|_| Script::json(500, &json!({"message": "no"})));
    let pushed = world.clock.run(provider(&world, settings()).push(&mut runtime, &wish(&task, &secrets), &push));
    assert!(pushed.is_err());
}
