//! The recorded conversation with every kind of credential: the same tokens are let in as in the recording, and no
//! others.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::support::*;
use jwt_compact::alg::Rsa;
use serde_json::{Map, Value, json};

/// The token of a user as the recording describes them.
fn token(user: &Value) -> String {
    let mut claims = claims();
    let changes = user["claims"].as_object().cloned().unwrap_or_else(Map::new);
    for (name, value) in changes {
        let value: Value = serde_json::from_str(&value.to_string().replace("{{client-id}}", CLIENT)).unwrap();
        let map = claims.as_object_mut().unwrap();
        match (name.as_str(), value) {
            ("exp_in", seconds) => drop(map.insert("exp".to_owned(), json!(NOW + seconds.as_i64().unwrap()))),
            (name, Value::Null) => drop(map.remove(name)),
            (_, value) => drop(map.insert(name, value)),
        }
    }
    let mut header = header("a");
    let changes = user["header"].as_object().cloned().unwrap_or_else(Map::new);
    header.as_object_mut().unwrap().extend(changes);
    let good = KEY_A.sign(&header, &claims);
    let parts: Vec<&str> = good.split('.').collect();
    match user["token"].as_str() {
        None => good,
        Some("bad-signature") => format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len())),
        Some("other-key") => KEY_B.sign(&header, &claims),
        Some("two-parts") => parts[..2].join("."),
        Some("garbage") => "garbage".to_owned(),
        Some("bad-payload") => format!("{}.%%%.{}", parts[0], parts[2]),
        Some("payload-not-json") => KEY_A.sign_with(Rsa::rs256(), &header.to_string(), "not json"),
        Some("unsigned") => {
            let none = KEY_A.sign_with(Rsa::rs256(), r#"{"alg":"none","kid":"a"}"#, &claims.to_string());
            none[..=none.rfind('.').unwrap()].to_owned()
        }
        Some("hs256") => KEY_A.sign_with(Rsa::rs256(), r#"{"alg":"HS256","kid":"a"}"#, &claims.to_string()),
        Some(other) => panic!("unknown defect {other}"),
    }
}

#[test]
fn recorded_credentials() {
    let mut steps = golden_support::lines("server/tokens.jsonl").into_iter();
    let users = steps.next().unwrap()["users"].clone();

    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let (mut accepted, mut refused) = (0, 0);
    // Steps with their own credential test where in a request a token may be; requests without a token are tested
    // elsewhere.
    for step in steps.filter(|step| step["who"] != "anon" && step["request"].get("auth").is_none()) {
        let port = &step["port"]["response"]["status"];
        let status = if port.is_null() { &step["response"]["status"] } else { port };
        let who = step["who"].as_str().unwrap();
        let claims = ask(&authenticator, Some(&token(&users[who]))).unwrap();
        let let_in = claims.is_some_and(|claims| claims.sub().is_some());
        assert_eq!(let_in, *status != 401, "step {} as {who}", step["step"]);
        *(if let_in { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(accepted > 0 && refused > 0);
}
