//! Forged, malformed and foreign tokens (sync.md 3).

use conformance::tokens::{encode, now};
use conformance::{Server, Socket, TestGraph};
use serde_json::{Value, json};

super::cases![
    malformed_tokens_are_unauthorized,
    forged_tokens_are_unauthorized,
    claims_that_do_not_fit_are_unauthorized,
    tokens_that_clients_really_send_are_accepted,
    unknown_key_ids_never_become_addresses,
    tokens_come_from_header_or_query,
    every_changed_signature_byte_is_noticed,
    oversized_tokens_are_unauthorized,
    a_subject_must_be_text,
];

/// Every place that takes a token answers 401.
fn refused(server: &Server, what: &str, token: &str) {
    let person = server.anonymous().with_token(token);
    for path in ["/graphs", "/e2ee/user-keys", "/sync/some-graph/pull", "/assets/some-graph/a.png"] {
        let answer = person.get(path);
        assert_eq!((answer.status, answer.json()), (401, json!({ "error": "unauthorized" })), "{what}: GET {path}");
    }
}

fn malformed_tokens_are_unauthorized(server: &Server) {
    let good = server.issuer.token("someone");
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    for (what, token) in [
        ("one part", "garbage".to_owned()),
        ("two parts", format!("{head}.{payload}")),
        ("four parts", format!("{good}.x")),
        ("empty parts", "..".to_owned()),
        ("empty signature", format!("{head}.{payload}.")),
        ("payload is not base64", format!("{head}.%%%%.{signature}")),
        ("payload is not JSON", format!("{head}.{}.{signature}", encode("hello"))),
        ("payload is not an object", format!("{head}.{}.{signature}", encode("[1]"))),
        ("header is not JSON", format!("{}.{payload}.{signature}", encode("hello"))),
        ("header is not base64", format!("!!.{payload}.{signature}")),
        ("truncated signature", format!("{head}.{payload}.{}", &signature[..signature.len() - 3])),
        ("signature with padding of its own", format!("{head}.{payload}.{signature}==a")),
        ("truncated token", good[..good.len() / 2].to_owned()),
    ] {
        refused(server, what, &token);
    }
}

fn forged_tokens_are_unauthorized(server: &Server) {
    let issuer = &server.issuer;
    let claims = issuer.claims("someone");
    let header = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": issuer.kid });
    refused(server, "foreign key", &issuer.stranger().sign(&claims));
    for alg in ["none", "HS256", "RS384", "PS256", "ES256", "rs256", ""] {
        refused(server, alg, &issuer.sign_with(&header(alg), &claims));
    }
    let unsigned = format!("{}.{}.", encode(&header("none").to_string()), encode(&claims.to_string()));
    refused(server, "unsigned", &unsigned);
    let mut embedded = issuer.stranger().key_set()["keys"][0].clone();
    embedded["kid"] = json!("embedded");
    let own_key = json!({ "alg": "RS256", "kid": "embedded", "jwk": embedded, "jku": "http://127.0.0.1:1/jwks.json" });
    refused(server, "key inside the header", &issuer.stranger().sign_with(&own_key, &claims));
}

fn claims_that_do_not_fit_are_unauthorized(server: &Server) {
    let issuer = &server.issuer;
    let with = |key: &str, value: Value| {
        let mut claims = issuer.claims("someone");
        claims[key] = value;
        issuer.sign(&claims)
    };
    refused(server, "wrong issuer", &with("iss", json!("https://elsewhere.test")));
    refused(server, "issuer with a slash", &with("iss", json!(format!("{}/", issuer.issuer))));
    refused(server, "no issuer", &with("iss", Value::Null));
    refused(server, "wrong audience", &with("aud", json!("other-client")));
    refused(server, "blank audience", &with("aud", json!("")));
    refused(server, "array audience", &with("aud", json!([issuer.client_id])));
    refused(server, "expired", &with("exp", json!(now() - 10)));
    refused(server, "expires now", &with("exp", json!(now())));
    let mut without = issuer.claims("someone");
    without.as_object_mut().unwrap().remove("aud");
    refused(server, "no audience", &issuer.sign(&without));
}

fn tokens_that_clients_really_send_are_accepted(server: &Server) {
    let issuer = &server.issuer;
    let accepted = |what: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut claims = issuer.claims(&conformance::tx::id());
        change(claims.as_object_mut().unwrap());
        let answer = server.anonymous().with_token(&issuer.sign(&claims)).get("/graphs");
        assert_eq!(answer.status, 200, "{what}: {}", answer.json());
    };
    accepted("identity token", &|_| {});
    accepted("access token", &|c| {
        c.remove("aud");
        c.remove("email");
        c.insert("client_id".into(), json!(issuer.client_id));
        c.insert("token_use".into(), json!("access"));
    });
    accepted("no expiry", &|c| {
        c.remove("exp");
    });
    accepted("expiry as text", &|c| {
        c.insert("exp".into(), json!("never"));
    });
    accepted("not valid before tomorrow", &|c| {
        c.insert("nbf".into(), json!(now() + 86400));
    });
}

fn unknown_key_ids_never_become_addresses(server: &Server) {
    let issuer = &server.issuer;
    for kid in [
        json!("unknown"),
        json!("../../etc/passwd"),
        json!("' OR 1=1 --"),
        json!("http://127.0.0.1:1/"),
        json!(7),
        Value::Null,
    ] {
        let header = json!({ "alg": "RS256", "kid": kid });
        refused(server, &format!("kid {kid}"), &issuer.sign_with(&header, &issuer.claims("someone")));
    }
    refused(server, "no kid", &issuer.sign_with(&json!({ "alg": "RS256" }), &issuer.claims("someone")));
}

fn tokens_come_from_header_or_query(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    let token = owner.token.clone().unwrap();
    let anyone = server.anonymous();
    anyone.get(&format!("/graphs?token={token}")).status(200);
    anyone.get(&format!("{}?token={token}", graph.path("/pull"))).status(200);
    anyone.send("GET", "/graphs", &[("authorization", &format!("bearer {token}"))], None).error(401, "unauthorized");
    anyone.send("GET", "/graphs", &[("authorization", &format!("Token {token}"))], None).error(401, "unauthorized");
    anyone.send("GET", "/graphs", &[("authorization", "Bearer ")], None).error(401, "unauthorized");
    anyone
        .send("GET", &format!("/graphs?token={token}"), &[("authorization", "Bearer nonsense")], None)
        .error(401, "unauthorized");
    let header = format!("Bearer {token}");
    let opened = Socket::try_open_path(&anyone, &graph.path(""), &[("authorization", &header)]);
    assert!(opened.is_ok(), "a socket takes the token from the header too");
    Socket::try_open(&anyone, &graph.id).expect_err("no token").status(401);
}

fn every_changed_signature_byte_is_noticed(server: &Server) {
    let good = server.issuer.token("someone");
    let start = good.rfind('.').unwrap() + 1;
    // The last character's low bits are padding; every other position matters.
    for at in (start..good.len() - 1).step_by(37) {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        server.anonymous().with_token(&bad).get("/graphs").error(401, "unauthorized");
    }
}

fn oversized_tokens_are_unauthorized(server: &Server) {
    let mut claims = server.issuer.claims("someone");
    claims["padding"] = json!("x".repeat(13_000));
    let token = server.issuer.sign(&claims);
    assert!(token.len() > 16 << 10);
    refused(server, "valid, but over 16 KiB", &token);
}

fn a_subject_must_be_text(server: &Server) {
    let mut claims = server.issuer.claims("someone");
    for subject in [json!(5), Value::Null, json!(["someone"])] {
        claims["sub"] = subject;
        refused(server, "subject", &server.issuer.sign(&claims));
    }
}
