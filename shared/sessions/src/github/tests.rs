use std::rc::Rc;

use serde_json::json;
use web::{Call, CallError, Failure};

use super::*;
use crate::repository::{BranchName, Repository};
use crate::runtime::testing::{Clock, Piece, Script, World};

/// Signs with its own name.
struct Signer;

impl Sign for Signer {
    async fn rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(b"signed".to_vec())
    }
}

fn settings() -> GitHubSettings {
    GitHubSettings {
        app_id: Some("4242".to_owned()),
        private_key: Some("MAMCAQA=".to_owned()),
        installation_id: None,
        slug: Some("app".to_owned()),
        api_base: "https://api.github.test".to_owned(),
        user_agent: "agent/1".to_owned(),
        is_brokered: false,
    }
}

fn repository() -> Repository {
    Repository::parse("https://github.com/acme/app").unwrap()
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "written in place at each call")]
fn run<T>(world: &World, ask: impl AsyncFn(GitHub<'_, World, Signer, Clock>) -> T) -> T {
    let settings = settings();
    let github = GitHub::new(Rc::new(world.clone()), Rc::new(Signer), &world.clock, &settings, Rc::default());
    world.clock.run(ask(github))
}

fn good(call: &Call) -> Script {
    match call.url.strip_prefix("https://api.github.test").unwrap() {
        "/repos/acme/app/installation" => Script::json(200, &json!({"id": "77"})),
        "/app/installations/77/access_tokens" => {
            Script::json(201, &json!({"token": "ghs_1", "expires_at": "2126-01-01T00:00:00Z"}))
        }
        "/repos/acme/app" => Script::json(200, &json!({"default_branch": "trunk"})),
        other => panic!("{other}"),
    }
}

#[test]
fn a_token_is_for_one_repository_and_is_remembered() {
    let world = World::new(good);
    run(&world, async |github| {
        for _ in 0..2 {
            assert_eq!(github.token(&repository()).await.unwrap(), "ghs_1");
        }
    });
    let minted: Vec<Call> = world.calls().into_iter().filter(|call| call.url.ends_with("/access_tokens")).collect();
    assert_eq!(minted.len(), 1);
    let body: serde_json::Value = serde_json::from_slice(&minted[0].body).unwrap();
    assert_eq!(body["repositories"], json!(["app"]));
    let header = |name: &str| minted[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-github-api-version"), "2022-11-28");
    assert_eq!(header("user-agent"), "agent/1");
    assert!(header("authorization").starts_with("Bearer eyJ"));
}

#[test]
fn the_app_may_be_missing() {
    let missing = World::new(|_| Script::json(404, &json!({})));
    let said = run(&missing, async |github| github.installation(&repository()).await.unwrap());
    let page = "https://github.com/apps/app/installations/new".to_owned();
    assert_eq!(said, Installation::Missing { install_url: Some(page) });
    for odd in [Script::json(500, &json!({})), Script::json(200, &json!({"id": "abc"})), Script::json(200, &json!([]))]
    {
        let world = World::new(move |_| odd.clone());
        assert!(run(&world, async |github| github.installation(&repository()).await.is_err()));
    }
}

#[test]
fn a_server_that_fails_is_asked_once_more() {
    for fate in [Script::json(502, &json!({})), Script::Fail(CallError::Broken("lost".to_owned()))] {
        let mut failed = false;
        let world =
            World::new(move |call| if std::mem::replace(&mut failed, true) { good(call) } else { fate.clone() });
        let found = run(&world, async |github| github.default_branch(&repository(), Some("t")).await);
        assert_eq!(found.as_deref(), Some("trunk"));
        assert!(world.clock.elapsed() >= 500);
    }
    let world = World::new(|_| Script::json(503, &json!({})));
    assert_eq!(run(&world, async |github| github.default_branch(&repository(), None).await), None);
    assert_eq!(world.lines().len(), 2);
}

#[test]
fn branches_come_in_ten_pages_at_most() {
    let world = World::new(|call| {
        let page = call.url.rsplit("page=").next().unwrap().to_owned();
        let names: Vec<_> = (0..100).map(|number| json!({"name": format!("b{page}-{number}")})).collect();
        Script::json(200, &json!(names))
    });
    let names = run(&world, async |github| github.branches(&repository(), "t").await);
    assert_eq!((world.lines().len(), names.len()), (10, 1_000));
}

#[test]
fn a_refusal_tells_why_and_no_token() {
    let world =
        World::new(|_| Script::json(422, &json!({"message": "Validation Failed"})).with("x-ratelimit-remaining", "7"));
    let (head, base) = (branch("topic"), branch("main"));
    let error = run(&world, async |github| {
        let new = NewPullRequest { title: "T", body: "B", head: &head, base: &base };
        github.create_pull_request(&repository(), "ghs_secret", &new).await.unwrap_err()
    });
    assert_eq!(error.reason(), "api-error");
    assert!(!format!("{error} {error:?}").contains("ghs_secret"));
    let GitHubError::Refused { answer, .. } = error else { panic!("{error}") };
    assert_eq!((answer.status, answer.body), (422, Some(json!({"message": "Validation Failed"}))));
    assert!(answer.headers.contains(&("x-ratelimit-remaining", "7".to_owned())));
}

#[test]
fn hostile_answers_end() {
    let endless = World::new(|_| Script::stream("application/json", vec![Piece::Endless(vec![b'['; 64 << 10])]));
    assert!(run(&endless, async |github| github.token(&repository()).await.is_err()));
    let silent = World::new(|_| Script::stream("application/json", vec![Piece::Silence]));
    assert!(run(&silent, async |github| github.token(&repository()).await.is_err()));
}

#[test]
fn a_token_for_git_is_made_by_the_installation_that_has_the_repository_and_allows_no_more() {
    let world = World::new(good);
    let settings = GitHubSettings { installation_id: Some(5), is_brokered: true, ..settings() };
    let github = GitHub::new(Rc::new(world.clone()), Rc::new(Signer), &world.clock, &settings, Rc::default());
    world.clock.run(async {
        assert_eq!(github.git_token(&repository(), false).await.unwrap().text, "ghs_1");
        assert_eq!(github.git_token(&repository(), true).await.unwrap().text, "ghs_1");
        assert_eq!(github.push_token(&repository()).await.unwrap(), "ghs_1");
        assert!(!format!("{:?}", github.git_token(&repository(), true).await.unwrap()).contains("ghs_1"));
    });
    let bodies = world.calls().into_iter().filter(|call| call.url.ends_with("/installations/77/access_tokens"));
    let asked: Vec<serde_json::Value> = bodies.map(|call| serde_json::from_slice(&call.body).unwrap()).collect();
    let expected = |level: &str| json!({"repositories": ["app"], "permissions": {"contents": level}});
    assert_eq!(asked, [expected("read"), expected("write")]);
}
