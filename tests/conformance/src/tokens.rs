//! Signing keys, tokens and the key set that the server under test fetches.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{RsaPrivateKey, rand_core};
use serde_json::{Value, json};

/// How a request for an OIDC issuer's description begins.
const DISCOVERY: &[u8] = b"GET /.well-known/openid-configuration ";

/// Issues RS256 tokens whose public key the suite serves.
pub struct Issuer {
    key: RsaPrivateKey,
    pub kid: String,
    pub issuer: String,
    pub client_id: String,
    fetches: Arc<AtomicUsize>,
}

/// Seconds since the Unix epoch.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("clock after 1970").as_secs()).expect("fits")
}

impl Issuer {
    /// Reads the key from `file` (the format of the replay tool, so both can share one), or makes one and keeps it there.
    pub fn new(file: Option<&Path>, issuer: String, client_id: String) -> Self {
        if let Some(text) = file.and_then(|f| std::fs::read_to_string(f).ok()) {
            let stored: Value = serde_json::from_str(&text).expect("signing key file is JSON");
            let pem = stored["pem"].as_str().expect("signing key file has a pem");
            let key = RsaPrivateKey::from_pkcs8_pem(pem).expect("signing key is PKCS#8");
            let kid = stored["kid"].as_str().expect("signing key file has a kid").to_owned();
            return Self { key, kid, issuer, client_id, fetches: Arc::default() };
        }
        let key = RsaPrivateKey::new(&mut rand_core::OsRng, 2048).expect("key generation");
        let kid = format!("k-{}", uuid::Uuid::new_v4().simple());
        if let Some(file) = file {
            let pem = key.to_pkcs8_pem(LineEnding::LF).expect("key encodes");
            std::fs::write(file, json!({ "kid": kid, "pem": pem.as_str() }).to_string()).expect("key file is writable");
        }
        Self { key, kid, issuer, client_id, fetches: Arc::default() }
    }

    /// How often the key set was fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// A key that no key set contains.
    #[must_use]
    pub fn stranger(&self) -> Self {
        let key = RsaPrivateKey::new(&mut rand_core::OsRng, 2048).expect("key generation");
        let (kid, issuer, client_id) = (self.kid.clone(), self.issuer.clone(), self.client_id.clone());
        Self { key, kid, issuer, client_id, fetches: Arc::default() }
    }

    /// The claims of an ordinary identity token of `user`.
    pub fn claims(&self, user: &str) -> Value {
        json!({
            "sub": user, "email": email(user), "email_verified": true, "cognito:username": user, "token_use": "id",
            "iss": self.issuer, "aud": self.client_id, "iat": now(), "exp": now() + 3600,
        })
    }

    /// An ordinary identity token.
    pub fn token(&self, user: &str) -> String {
        self.sign(&self.claims(user))
    }

    /// A token with these claims and the ordinary header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid }), claims)
    }

    /// A token with this header and these claims, always signed with RS256.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let head = format!("{}.{}", encode(&header.to_string()), encode(&claims.to_string()));
        let signature = SigningKey::<Sha256>::new(self.key.clone()).sign(head.as_bytes());
        format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// The key set a server fetches.
    pub fn key_set(&self) -> Value {
        let part = |n: &rsa::BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
        json!({ "keys": [{ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid, "n": part(self.key.n()), "e": part(self.key.e()) }] })
    }

    /// Serves the key set on loopback for the life of the process, and where an OIDC issuer tells it.
    pub fn serve(&self, port: u16) {
        let keys = self.key_set().to_string();
        let address = format!("http://127.0.0.1:{port}/jwks.json");
        let discovery = json!({ "issuer": self.issuer, "jwks_uri": address }).to_string();
        let fetches = Arc::clone(&self.fetches);
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the key set's port is free");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keys, discovery) = (keys.clone(), discovery.clone());
                let fetches = Arc::clone(&fetches);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut request = [0_u8; 4096];
                    if stream.read(&mut request).is_ok() {
                        let body = if request.starts_with(DISCOVERY) { discovery } else { keys };
                        fetches.fetch_add(1, Ordering::Relaxed);
                        let _closed_early = write!(
                            stream,
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        );
                    }
                });
            }
        });
    }
}

/// base64url without padding.
pub fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The e-mail address in `user`'s tokens.
pub fn email(user: &str) -> String {
    format!("{user}@example.test")
}
