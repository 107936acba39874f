//! An identity provider of our own: its keys are fixtures made for these tests and sign nothing else.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use auth::{Authenticator, Claims, Clock, Config, FetchError, KeySetSource};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Rsa, RsaPrivateKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

pub(crate) const ISSUER: &str = "https://issuer.test/pool";
pub(crate) const CLIENT: &str = "client-1";
pub(crate) const JWKS_URL: &str = "https://issuer.test/pool/.well-known/jwks.json";
/// The start of every test, in seconds.
pub(crate) const NOW: i64 = 1_755_000_000;

pub(crate) struct TestKey {
    private: RsaPrivateKey,
    jwk: Value,
}

fn load(text: &str) -> TestKey {
    let jwk: Value = serde_json::from_str(text).unwrap();
    let key: JsonWebKey<'_> = serde_json::from_str(text).unwrap();
    TestKey { private: RsaPrivateKey::try_from(&key).unwrap(), jwk }
}

pub(crate) static KEY_A: LazyLock<TestKey> = LazyLock::new(|| load(include_str!("keys/a.json")));
pub(crate) static KEY_B: LazyLock<TestKey> = LazyLock::new(|| load(include_str!("keys/b.json")));
/// 1024 bits.
pub(crate) static KEY_WEAK: LazyLock<TestKey> = LazyLock::new(|| load(include_str!("keys/weak.json")));

impl TestKey {
    /// The public half as an entry of a key set.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": self.jwk["n"], "e": self.jwk["e"]})
    }

    /// The modulus, which is public.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.jwk["n"].as_str().unwrap()).unwrap()
    }

    /// A token with that header and payload, signed whatever the header says.
    pub(crate) fn sign_with(&self, algorithm: Rsa, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = algorithm.sign(&self.private, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_with(Rsa::rs256(), &header.to_string(), &claims.to_string())
    }
}

pub(crate) fn header(kid: &str) -> Value {
    json!({"alg": "RS256", "kid": kid, "typ": "JWT"})
}

/// The claims of an id token that is valid for an hour.
pub(crate) fn claims() -> Value {
    json!({
        "sub": "user-1", "email": "a@example.com", "email_verified": true, "cognito:username": "alice",
        "token_use": "id", "iss": ISSUER, "aud": CLIENT, "iat": NOW, "exp": NOW + 3600,
    })
}

/// Claims with some replaced, or removed where null.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        let map = claims.as_object_mut().unwrap();
        if value.is_null() { drop(map.remove(name)) } else { drop(map.insert(name.clone(), value.clone())) }
    }
    claims
}

pub(crate) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Clock and provider under a test's control.
pub(crate) struct World {
    pub(crate) now_ms: Cell<i64>,
    pub(crate) jwks: RefCell<Result<String, FetchError>>,
    pub(crate) fetches: Cell<u32>,
    /// How often a caller waited for the fetch of another one.
    pub(crate) pauses: Cell<u32>,
    /// A fetch waits until this is false.
    pub(crate) hold: Cell<bool>,
}

impl World {
    pub(crate) fn new(keys: &[Value]) -> Self {
        Self {
            now_ms: Cell::new(NOW * 1000),
            jwks: RefCell::new(Ok(key_set(keys))),
            fetches: Cell::new(0),
            pauses: Cell::new(0),
            hold: Cell::new(false),
        }
    }

    pub(crate) fn pass_ms(&self, ms: i64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }

    pub(crate) fn go_down(&self) {
        *self.jwks.borrow_mut() = Err(FetchError::Status(503));
    }

    pub(crate) fn publish(&self, keys: &[Value]) {
        *self.jwks.borrow_mut() = Ok(key_set(keys));
    }
}

impl Clock for &World {
    fn now_ms(&self) -> i64 {
        self.now_ms.get()
    }
}

impl KeySetSource for &World {
    async fn fetch(&self, url: &str) -> Result<String, FetchError> {
        assert_eq!(url, JWKS_URL, "keys come from the configured place alone");
        self.fetches.set(self.fetches.get() + 1);
        poll_fn(|_| if self.hold.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        self.jwks.borrow().clone()
    }

    async fn pause(&self) {
        self.pauses.set(self.pauses.get() + 1);
        let mut paused = false;
        poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

pub(crate) fn config(extra: &[(&str, &str)]) -> Config {
    let base = [("COGNITO_ISSUER", ISSUER), ("COGNITO_CLIENT_ID", CLIENT), ("COGNITO_JWKS_URL", JWKS_URL)];
    let lookup = |name: &str| {
        let found = extra.iter().chain(&base).find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::from_lookup(lookup).unwrap()
}

pub(crate) fn authenticator<'a>(world: &'a World, extra: &[(&str, &str)]) -> Authenticator<&'a World> {
    Authenticator::new(config(extra), world)
}

/// The result for a token: `Ok(true)` claims, `Ok(false)` 401, `Err` 500.
pub(crate) fn verdict(authenticator: &Authenticator<&World>, token: &str) -> Result<bool, ()> {
    ask(authenticator, Some(token)).map(|claims| claims.is_some()).map_err(drop)
}

pub(crate) fn ask(
    authenticator: &Authenticator<&World>,
    token: Option<&str>,
) -> Result<Option<Claims>, auth::AuthError> {
    block_on(authenticator.claims(token))
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let Poll::Ready(output) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the future waits although nothing is held back");
    };
    output
}
