//! Several issuers, one token and stored users beside each other.

use std::cell::RefCell;
use std::sync::Arc;

use auth::{Authenticator, Claims, Clock, Config, FetchError, KeySetSource, Oidc, Provider, StoredTokens};
use serde_json::json;

use crate::support::*;

const OTHER: &str = "https://id.example/realm";
const DISCOVERY: &str = "https://id.example/realm/.well-known/openid-configuration";
const OTHER_KEYS: &str = "https://id.example/keys";

/// Answers by address, and remembers what was asked.
struct Web {
    answers: Vec<(&'static str, String)>,
    asked: RefCell<Vec<String>>,
}

impl Clock for &Web {
    fn now_ms(&self) -> i64 {
        NOW * 1000
    }
}

impl KeySetSource for &Web {
    async fn fetch(&self, url: &str) -> Result<String, FetchError> {
        self.asked.borrow_mut().push(url.to_owned());
        let answer = self.answers.iter().find(|(place, _)| *place == url);
        answer.map(|(_, text)| text.clone()).ok_or(FetchError::Status(404))
    }

    async fn pause(&self) {}
}

#[derive(Debug)]
struct OneUser;

impl StoredTokens for OneUser {
    fn claims(&self, token: &str) -> Option<Claims> {
        (token == "stored-token").then(|| Claims::of_stored_user("ann", Some("ann@example.org"), "Ann"))
    }
}

/// The pool of the other tests with key A, another issuer with key B, the token of `static`, and a stored user.
fn configured() -> Config {
    let mut config = config(&[("DB_SYNC_AUTH_DRIVER", "cognito,static"), ("DB_SYNC_AUTH_TOKEN", "the-one-token")]);
    config.set_providers(vec![Provider {
        issuer: Some(OTHER.into()),
        client_ids: vec!["notes".into()],
        oidc: Some(Oidc { sub_prefix: "id:".into(), ..Oidc::default() }),
        ..Provider::default()
    }]);
    config.stored = Some(Arc::new(OneUser));
    config
}

fn world() -> Web {
    Web {
        answers: vec![
            (JWKS_URL, key_set(&[KEY_A.jwk("k")])),
            (DISCOVERY, json!({ "issuer": OTHER, "jwks_uri": OTHER_KEYS }).to_string()),
            (OTHER_KEYS, key_set(&[KEY_B.jwk("k")])),
        ],
        asked: RefCell::default(),
    }
}

#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
fn sub(authenticator: &Authenticator<&Web>, token: &str) -> Option<String> {
    let claims = block_on(authenticator.claims(Some(token))).unwrap();
    let sub = claims.as_ref().and_then(Claims::sub).map(str::to_owned);
    let again = authenticator.config().verified_before(Some(token));
    if claims.is_some() {
        assert_eq!(again.as_ref().and_then(Claims::sub).map(str::to_owned), sub, "inside a graph it is the same user");
    }
    sub
}

#[test]
fn everyone_is_who_their_own_issuer_says() {
    let web = world();
    let authenticator = Authenticator::new(configured(), &web);
    let other = claims_with(&json!({ "iss": OTHER, "aud": ["notes"], "preferred_username": "Alice" }));
    let (from_pool, from_other) = (KEY_A.sign(&header("k"), &claims()), KEY_B.sign(&header("k"), &other));
    assert_eq!(sub(&authenticator, &from_pool).as_deref(), Some("user-1"));
    assert_eq!(sub(&authenticator, &from_other).as_deref(), Some("id:user-1"), "equal names are two people");
    assert_eq!(sub(&authenticator, "the-one-token").as_deref(), Some("user"));
    assert_eq!(sub(&authenticator, "stored-token").as_deref(), Some("ann"));
    assert_eq!(*web.asked.borrow(), [JWKS_URL, DISCOVERY, OTHER_KEYS], "each is asked for its own keys, once");
    // Neither key speaks for the other issuer.
    let crossed = [KEY_B.sign(&header("k"), &claims()), KEY_A.sign(&header("k"), &other)];
    let foreign = KEY_A.sign(&header("k"), &claims_with(&json!({ "iss": "https://evil.example" })));
    for token in crossed.iter().chain([&foreign]) {
        assert_eq!(sub(&authenticator, token), None);
    }
    for token in ["the-one-tokem", "stored-tokem", ""] {
        assert_eq!(sub(&authenticator, token), None);
    }
    assert_eq!(authenticator.config().verified_before(Some(&foreign)).as_ref().and_then(Claims::sub), None);
}

/// A user of an issuer may have chosen the `sub` alone: it must not become somebody of another issuer.
#[test]
fn no_issuer_names_somebody_of_another() {
    let web = world();
    let authenticator = Authenticator::new(configured(), &web);
    let pool = |sub: &str| KEY_A.sign(&header("k"), &claims_with(&json!({ "sub": sub })));
    assert_eq!(sub(&authenticator, &pool("id:user-1")), None);
    assert_eq!(sub(&authenticator, &pool("i")).as_deref(), Some("i"));
    let other = claims_with(&json!({ "iss": OTHER, "aud": "notes", "sub": "id:user-1" }));
    assert_eq!(sub(&authenticator, &KEY_B.sign(&header("k"), &other)).as_deref(), Some("id:id:user-1"));
}

#[test]
fn an_issuer_that_lies_about_itself_has_no_keys() {
    let mut web = world();
    web.answers[1].1 = json!({ "issuer": "https://other.example", "jwks_uri": OTHER_KEYS }).to_string();
    let authenticator = Authenticator::new(configured(), &web);
    let other = KEY_B.sign(&header("k"), &claims_with(&json!({ "iss": OTHER, "aud": "notes" })));
    assert!(block_on(authenticator.claims(Some(&other))).is_err());
    assert_eq!(*web.asked.borrow(), [DISCOVERY]);
    // A failure is not asked about again at once, and concerns nobody else.
    assert!(block_on(authenticator.claims(Some(&other))).is_err());
    assert_eq!(web.asked.borrow().len(), 1);
    assert_eq!(sub(&authenticator, &KEY_A.sign(&header("k"), &claims())).as_deref(), Some("user-1"));
}
