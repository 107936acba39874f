//! The health route, and paths that no route answers.

use conformance::Server;
use serde_json::json;

super::cases![health_answers_any_method, unknown_paths_are_not_found];

fn health_answers_any_method(server: &Server) {
    for method in ["GET", "POST", "DELETE", "PUT"] {
        server.anonymous().send(method, "/health", &[], None).expect(200, &json!({ "ok": true }));
    }
}

fn unknown_paths_are_not_found(server: &Server) {
    for path in ["/", "/nope", "/graphsx", "/health/", "/sync", "/openapi.json", "/api/v1/graphs"] {
        server.anonymous().get(path).error(404, "not found");
    }
}
