//! Issuers of tokens as the server meets them (self-host.md 6.3): their keys change, they go away, and two of them call somebody the same.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conformance::tokens::Issuer;
use serde_json::{Value, json};

use crate::support::{Server, binary};

const AUDIENCE: &str = "our-client";

/// An issuer that answers for as long as the process lives, unless it is said to be away.
struct Served {
    url: String,
    /// The key set; none: it answers nobody.
    keys: Arc<Mutex<Option<Value>>>,
}

impl Served {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::<Mutex<Option<Value>>>::default();
        let (issuer, published) = (url.clone(), Arc::clone(&keys));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or_default();
                let keys = published.lock().unwrap().clone();
                let Some(keys) = keys else { continue };
                let is_description = request[..length].starts_with(b"GET /.well-known/");
                let description = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
                let body = if is_description { description } else { keys }.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                let _closed_early = write!(stream, "{head} {}\r\n\r\n{body}", body.len());
            }
        });
        Self { url, keys }
    }

    /// A key of this issuer, which it does not publish yet.
    fn key(&self) -> Issuer {
        Issuer::new(None, self.url.clone(), AUDIENCE.to_owned())
    }

    /// Publishes these keys and no others.
    fn publish(&self, keys: &[&Issuer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.key_set()["keys"][0].clone()).collect();
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    fn goes_away(&self) {
        *self.keys.lock().unwrap() = None;
    }
}

/// A server that believes these issuers, with what stands before the user ids of each.
fn serve(folder: &std::path::Path, issuers: &[(&Served, &str)], settings: &[(&str, &str)]) -> Server {
    let tables: Vec<String> = issuers
        .iter()
        .map(|(issuer, prefix)| {
            format!("[[oidc]]\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\nsub_prefix = \"{prefix}\"\n", issuer.url)
        })
        .collect();
    let config = folder.join("server.toml");
    std::fs::write(&config, tables.concat()).unwrap();
    let mut command = binary(&folder.join("data"));
    command.args(["serve", "--port", "0", "--bind", "127.0.0.1", "--json", "--config"]).arg(config);
    command.env("DB_SYNC_AUTH_DRIVER", "oidc").envs(settings.iter().copied());
    Server::of(command)
}

/// How a token is answered.
fn enters(server: &Server, token: &str) -> u16 {
    server.ask("GET", "/graphs", token, "").0
}

#[test]
fn a_key_is_taken_up_while_the_server_runs_and_one_that_is_gone_counts_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Served::new();
    let (old, new) = (issuer.key(), issuer.key());
    issuer.publish(&[&old]);
    let server = serve(folder.path(), &[(&issuer, "")], &[]);
    assert_eq!(enters(&server, &old.token("ann")), 200);
    assert_eq!(enters(&server, &old.stranger().token("ann")), 401, "another key of the same name");

    // Both at first, as issuers do it.
    issuer.publish(&[&old, &new]);
    assert_eq!(enters(&server, &new.token("ann")), 200, "a key that was not known is asked for");
    assert_eq!(enters(&server, &old.token("ben")), 200);

    // A newer key than those that are known makes the server read the set again, and the old one is not in it any more.
    let newest = issuer.key();
    issuer.publish(&[&new, &newest]);
    assert_eq!(enters(&server, &newest.token("ann")), 200);
    assert_eq!(enters(&server, &old.token("cid")), 401, "a token that was not seen before");

    // Without its issuer, the keys that are known go on.
    issuer.goes_away();
    assert_eq!(enters(&server, &new.token("cid")), 200);
}

#[test]
fn a_token_whose_issuer_does_not_answer_is_no_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Served::new();
    let key = issuer.key();
    let server = serve(folder.path(), &[(&issuer, "")], &[]);
    assert_eq!(enters(&server, &key.token("ann")), 500);
    // It is asked again after a second.
    issuer.publish(&[&key]);
    let begun = Instant::now();
    while enters(&server, &key.token("ann")) != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never asked again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn whom_two_issuers_call_the_same_are_two_people() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Served::new(), Served::new());
    let (ann, other) = (first.key(), second.key());
    first.publish(&[&ann]);
    second.publish(&[&other]);
    let server = serve(folder.path(), &[(&first, ""), (&second, "b:")], &[]);
    let graph_id = server.create_graph(&ann.token("42"), "notes");
    let (_, hers) = server.ask("GET", "/graphs", &ann.token("42"), "");
    assert_eq!(hers["graphs"][0]["graph-id"], graph_id.as_str());
    let (status, his) = server.ask("GET", "/graphs", &other.token("42"), "");
    assert_eq!((status, &his["graphs"]), (200, &json!([])));
    let (status, _) = server.ask("GET", &format!("/sync/{graph_id}/pull"), &other.token("42"), "");
    assert_eq!(status, 403);

    // The prefix is no name that one may give oneself, and a key counts for its own issuer alone.
    let mut claims = other.claims("42");
    claims["iss"] = ann.issuer.as_str().into();
    assert_eq!(enters(&server, &other.sign(&claims)), 401);
    assert_eq!(enters(&server, &ann.token("b:42")), 401);
}

#[test]
fn of_an_issuers_users_those_enter_who_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Served::new();
    let key = issuer.key();
    issuer.publish(&[&key]);
    let settings = [("DB_SYNC_ALLOW_SUBS", "ann,ben"), ("DB_SYNC_ALLOW_EMAILS", "*@example.org")];
    let server = serve(folder.path(), &[(&issuer, "")], &settings);
    let with_email = |email: &str, verified: bool| {
        let mut claims = key.claims("cid");
        (claims["email"], claims["email_verified"]) = (email.into(), verified.into());
        key.sign(&claims)
    };
    for token in [key.token("ann"), with_email("Cid@Example.org", true)] {
        assert_eq!(enters(&server, &token), 200);
    }
    for token in [key.token("dan"), with_email("cid@example.org", false), with_email("cid@example.org.evil.test", true)]
    {
        let (status, answer) = server.ask("GET", "/graphs", &token, "");
        assert_eq!((status, &answer["error"]), (403, &json!("not allowed on this server")));
    }
}
