use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};
use web::{Call, Failure};

use super::*;
use crate::runtime::testing::{Script, World};
use crate::settings::{GitHubSettings, Settings};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

struct Signer;

impl Sign for Signer {
    async fn rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }
}

/// A place that notes everything, in order.
#[derive(Default)]
struct Place {
    events: RefCell<Vec<(String, Value)>>,
    branches: RefCell<Vec<(String, CommitId)>>,
    lease: RefCell<Option<Lease>>,
    fails: Cell<Option<FailureClass>>,
}

impl Pusher for Place {
    async fn push(&self, push: &command::Push<'_>) -> Result<Option<PushReport>, PushError> {
        *self.lease.borrow_mut() = push.force.cloned();
        match self.fails.get() {
            Some(class) => Err(PushError { class, text: "no".to_owned() }),
            None => Ok(Some(PushReport { commit: CommitId::parse(COMMIT).unwrap(), is_new: true })),
        }
    }
}

impl Sink for Place {
    fn event(&self, draft: Draft) -> Result<(), Error> {
        self.events.borrow_mut().push((draft.kind.as_str().to_owned(), draft.data));
        Ok(())
    }

    fn step(&self, _: &str, _: Option<&str>, _: i64) -> Result<(), Error> {
        Ok(())
    }

    fn pull_request(&self, head: &str, number: u64) -> Result<(), Error> {
        let at = self.branches.borrow().iter().any(|(branch, _)| branch == head);
        self.events.borrow_mut().push(("pull request".to_owned(), json!({"number": number, "is-pushed": at})));
        Ok(())
    }

    fn last_pushed(&self, branch: &str) -> Result<Option<CommitId>, Error> {
        Ok(self.branches.borrow().iter().find(|(name, _)| name == branch).map(|(_, commit)| commit.clone()))
    }

    fn pushed(&self, branch: &str, commit: &CommitId) -> Result<(), Error> {
        self.branches.borrow_mut().push((branch.to_owned(), commit.clone()));
        Ok(())
    }
}

impl Place {
    fn kinds(&self) -> Vec<String> {
        self.events.borrow().iter().map(|(kind, _)| kind.clone()).collect()
    }
}

/// GitHub in which everything goes well but for what `odd` says.
fn github(odd: impl Fn(&Call) -> Option<Script> + 'static) -> World {
    World::new(move |call| {
        if let Some(script) = odd(call) {
            return script;
        }
        let path = call.url.strip_prefix("https://api.github.com").unwrap();
        match path.split('?').next().unwrap() {
            "/repos/acme/app/installation" => Script::json(200, &json!({"id": 1})),
            "/app/installations/1/access_tokens" => {
                Script::json(201, &json!({"token": "ghs_1", "expires_at": "2126-01-01T00:00:00Z"}))
            }
            "/repos/acme/app" => Script::json(200, &json!({"default_branch": "trunk"})),
            "/repos/acme/app/pulls" if call.method == http::Method::POST => {
                Script::json(201, &json!({"number": 5, "html_url": "https://github.com/acme/app/pull/5"}))
            }
            "/repos/acme/app/pulls" => {
                Script::json(200, &json!([{"number": 4, "html_url": "https://github.com/acme/app/pull/4"}]))
            }
            other => panic!("{other}"),
        }
    })
}

fn run(world: &World, place: &Place, wanted: &PublishRequest, resumed: bool) -> Result<Published, Error> {
    let settings = Settings::from_lookup(|_| None).unwrap();
    let task = Task(json!({"id": "s1", "source": {"node-title": "Repair the parser"},
        "project": {"repo-url": "https://github.com/acme/app", "base-branch": "main"}}));
    let app = GitHubSettings {
        app_id: Some("1".to_owned()),
        private_key: Some("MAMCAQA=".to_owned()),
        ..settings.github.clone()
    };
    let github = GitHub::new(Rc::new(world.clone()), Rc::new(Signer), &world.clock, &app, Rc::default());
    let facts =
        Facts { user: "ann", task: &task, settings: &settings.session, checkpoint: None, directory: None, resumed };
    world.clock.run(publish(&github, &facts, wanted, place))
}

fn wanted(create_pr: bool) -> PublishRequest {
    PublishRequest { from_chat: false, ..PublishRequest::by_chat(create_pr, None) }
}

#[test]
fn a_branch_is_pushed_and_a_pull_request_is_made() {
    let (world, place) = (github(|_| None), Place::default());
    let published = run(&world, &place, &wanted(true), false).unwrap();
    assert_eq!(
        published.body,
        json!({"status": "pr-created", "head-branch": "feat/repair-the-parser-s1",
            "base-branch": "main", "force": false, "message": "branch pushed and pull request created",
            "pr-url": "https://github.com/acme/app/pull/5"})
    );
    assert!(published.ends_runtime);
    assert_eq!(
        place.kinds(),
        ["git.push.started", "git.push.succeeded", "git.pr.started", "pull request", "git.pr.succeeded"]
    );
    assert_eq!(place.branches.borrow().len(), 1, "a new branch is noted as our own");
}

#[test]
fn a_push_alone_goes_to_a_branch_of_its_own() {
    let (world, place) = (github(|_| None), Place::default());
    let published = run(&world, &place, &wanted(false), false).unwrap();
    assert_eq!(published.body["status"], "pushed");
    assert_ne!(published.body["head-branch"], "main", "nobody asked for the base branch (B41)");
    assert!(!published.ends_runtime);
}

#[test]
fn a_pull_request_that_is_refused_is_looked_for_and_then_left_to_a_person() {
    let refused = |call: &Call| {
        (call.method == http::Method::POST && call.url.ends_with("/pulls"))
            .then(|| Script::json(422, &json!({"message": "exists"})))
    };
    let (world, place) = (github(refused), Place::default());
    let published = run(&world, &place, &wanted(true), false).unwrap();
    assert_eq!(published.body["message"], "branch pushed; existing pull request found");
    assert_eq!(place.events.borrow().last().unwrap().1["existing"], true);

    let none = move |call: &Call| {
        refused(call).or_else(|| call.url.contains("/pulls?").then(|| Script::json(200, &json!([]))))
    };
    let (world, place) = (github(none), Place::default());
    let published = run(&world, &place, &wanted(true), false).unwrap();
    assert_eq!(published.body["status"], "manual-pr-required");
    assert_eq!(published.body["github-status"], 422);
    assert!(
        published.body["manual-pr-url"].as_str().unwrap().starts_with("https://github.com/acme/app/pull/new/main...")
    );
    assert_eq!(place.kinds().last().unwrap(), "git.pr.manual");
    assert!(!published.ends_runtime);
}

#[test]
fn after_an_interruption_no_second_pull_request_is_made() {
    let (world, place) = (github(|_| None), Place::default());
    let published = run(&world, &place, &wanted(true), true).unwrap();
    assert_eq!(published.body["pr-url"], "https://github.com/acme/app/pull/4");
    assert!(!world.lines().iter().any(|line| line.starts_with("POST") && line.ends_with("/pulls")));
}

#[test]
fn force_reaches_only_branches_of_the_session() {
    let forced = |head: &str| PublishRequest { head_branch: Some(head.to_owned()), force: true, ..wanted(false) };
    for head in ["main", "master", "trunk"] {
        let (world, place) = (github(|_| None), Place::default());
        let refused = run(&world, &place, &forced(head), false);
        assert!(matches!(refused, Err(Error::Force(ForceRefused::NotAllowed(_)))), "{head}: {refused:?}");
        assert!(place.kinds().is_empty(), "refused before any event");
    }
    let (world, place) = (github(|_| None), Place::default());
    run(&world, &place, &forced("topic"), false).unwrap();
    assert_eq!(*place.lease.borrow(), Some(Lease::Absent));
    run(&world, &place, &forced("topic"), false).unwrap();
    assert_eq!(*place.lease.borrow(), Some(Lease::At(CommitId::parse(COMMIT).unwrap())));
    // Nobody knows the default branch: that counts as a refusal.
    let unknown = github(|call| call.url.ends_with("/repos/acme/app").then(|| Script::json(500, &json!({}))));
    assert!(run(&unknown, &Place::default(), &forced("topic"), false).is_err());
}

#[test]
fn failures_are_told_by_their_stage() {
    let place = Place::default();
    place.fails.set(Some(FailureClass::RemoteRejected));
    let failed = run(&github(|_| None), &place, &wanted(true), false);
    assert!(matches!(failed, Err(Error::Failed(_))));
    assert_eq!(place.events.borrow().last().unwrap().1["reason"], "remote-rejected");

    let no_token = github(|call| call.url.ends_with("/access_tokens").then(|| Script::json(403, &json!({}))));
    let place = Place::default();
    assert!(run(&no_token, &place, &wanted(true), false).is_err());
    assert_eq!(place.kinds(), ["git.push.failed"]);
}
