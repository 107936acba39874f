//! What an operator sees (agents.md 20.10), and the description of the API (20.8).

use database::Database as _;
use pollster::block_on;
use serde_json::json;

use crate::world::{Answer, NOW, World, request, signed};

const PATH: &str = "/agents/admin/overview";
const ADMIN: (&str, &str) = ("DB_SYNC_ADMIN_TOKEN", "admin-secret");

fn ask(world: &World, token: &str) -> Answer {
    let mut request = request("GET", PATH, "");
    request.headers_mut().insert("x-db-sync-admin-token", token.parse().unwrap());
    world.send(request)
}

#[test]
fn the_overview_is_for_the_operator_alone() {
    let world = World::new(&[ADMIN]);
    for token in ["", "admin-secre", "secret-token", "Bearer admin-secret"] {
        assert_eq!(ask(&world, token).refusal(), (401, "unauthorized".to_owned()), "{token}");
    }
    assert_eq!(world.send(signed("GET", PATH, "")).status, 401, "users are no operators");
    assert_eq!(world.send(signed("GET", &format!("{PATH}?token=admin-secret"), "")).status, 401);
    assert_eq!(ask(&World::new(&[]), "").status, 401, "nobody is where there is no token");
    assert_eq!(world.send(signed("POST", PATH, "{}")).status, 404);
    let answer = ask(&world, "admin-secret");
    assert_eq!(answer.status, 200);
    let none =
        json!({"created": 0, "running": 0, "paused": 0, "completed": 0, "failed": 0, "canceled": 0, "deleted": 0});
    assert_eq!(
        answer.json(),
        json!({"sessions": none, "oldest-deadline": null, "intents": 0, "orphans-ended": 0,
            "outbox": {"pending": 0, "dead": 0}, "runners": {"online": 0, "offline": 0}, "active-by-provider": {}})
    );
}

#[test]
fn the_overview_is_asked_for_once_in_ten_seconds() {
    let world = World::new(&[ADMIN]);
    let stuck = || ask(&world, "admin-secret").json()["oldest-deadline"].clone();
    assert_eq!(stuck(), json!(null));
    let row = "INSERT INTO session_deadlines (session_id, state, deadline) VALUES ('s', 'turn', 1)";
    block_on(world.database().execute(row, &[])).unwrap();
    world.now.set(NOW + 9_999);
    assert_eq!(stuck(), json!(null));
    world.now.set(NOW + 10_000);
    assert_eq!(stuck(), json!({"session-id": "s", "state": "turn", "overdue-ms": NOW + 9_999}));
}

#[test]
fn without_a_database_the_overview_fails() {
    let mut world = World::new(&[ADMIN]);
    world.db = None;
    assert_eq!(ask(&world, "admin-secret").refusal(), (500, "server error".to_owned()));
}

#[test]
fn the_description_is_for_everybody() {
    let world = World::new(&[]);
    let answer = world.send(request("GET", "/agents/openapi.json", ""));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.json()["openapi"], "3.1.0");
    assert_eq!(world.send(request("POST", "/agents/openapi.json", "")).status, 401, "as every other path");
}
