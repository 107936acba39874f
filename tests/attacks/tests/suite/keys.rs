//! Tokens that make the server ask the identity provider.

use attacks::Bystander;
use conformance::Server;
use serde_json::json;

super::cases![unknown_keys_cost_two_fetches_at_most];

const TOKENS: usize = 400;

fn unknown_keys_cost_two_fetches_at_most(server: &Server) {
    let bystander = Bystander::watch(server);
    let person = server.person("forger");
    let before = server.issuer.fetches();
    std::thread::scope(|scope| {
        for n in 0..TOKENS {
            let person = &person;
            scope.spawn(move || {
                let header = json!({ "alg": "RS256", "typ": "JWT", "kid": format!("unknown-{n}") });
                let token = server.issuer.sign_with(&header, &server.issuer.claims(&person.user));
                person.with_token(&token).get("/graphs").error(401, "unauthorized");
            });
        }
    });
    // One for unknown keys, and one more for tokens that say they were issued since (D-89).
    assert!(server.issuer.fetches() - before <= 2, "{} fetches", server.issuer.fetches() - before);
    person.get("/graphs").status(200);
    bystander.is_content();
}
