//! Bodies of HTTP requests (sync.md 2.6, 4, 5.2).

use protocol::bodies::graphs::CreateGraph;
use protocol::bodies::keys::{GrantAccess, SetGraphKey, UserKeys};
use protocol::bodies::members::{AddMember, ChangeRole, MemberTarget, Role};
use protocol::{BodyError, TxBatch, body_text};

/// The refusal of a text by every route, with what it makes of a schema failure.
fn refusals(text: &str) -> [Result<(), BodyError>; 7] {
    [
        CreateGraph::parse(text).map(drop),
        AddMember::parse(text).map(drop),
        ChangeRole::parse(text).map(drop),
        UserKeys::parse(text).map(drop),
        SetGraphKey::parse(text).map(drop),
        GrantAccess::parse(text).map(drop),
        TxBatch::parse(text).map(drop),
    ]
}

#[test]
fn missing_invalid_and_ill_shaped_are_told_apart() {
    for text in ["", "null", " null "] {
        assert!(refusals(text).iter().all(|refusal| *refusal == Err(BodyError::Missing)), "{text}");
    }
    for text in [" ", "{", "nope", "{\"graph-name\":", "{} {}", "{'a':1}", "{\"t-before\":5,\"txs\":5", "\"\u{1}\""] {
        assert!(refusals(text).iter().all(|refusal| *refusal == Err(BodyError::Syntax)), "{text}");
    }
    for text in ["{}", "[]", "[\"x\",null]", "5", "\"x\"", "false", "1e999", "\"\\ud800\""] {
        let [index @ .., tx] = refusals(text);
        assert!(index.iter().all(|refusal| *refusal == Err(BodyError::Schema("invalid body"))), "{text}");
        assert_eq!(tx, Err(BodyError::Schema("invalid tx")), "{text}");
    }
    assert_eq!(BodyError::Missing.to_string(), "missing body");
    assert_eq!(BodyError::Syntax.to_string(), "invalid body");
    assert_eq!(BodyError::Schema("invalid tx").to_string(), "invalid tx");
}

/// A body whose field `name` has the text `value`, besides what its route needs.
fn body(rest: &str, name: &str, value: &str) -> String {
    format!("{{{rest}\"{name}\":\"{value}\"}}")
}

#[test]
fn grants_have_a_limit() {
    let grants = |count: usize| {
        let one = r#"{"email":"a@b.c","encrypted-aes-key":"k"}"#;
        GrantAccess::parse(&format!(
            r#"{{"target-user-email+encrypted-aes-key-coll":[{}]}}"#,
            vec![one; count].join(",")
        ))
        .map(|body| body.grants.len())
    };
    assert_eq!(grants(500), Ok(500));
    assert_eq!(grants(501), Err(BodyError::Schema("invalid body")));
}

#[test]
fn texts_have_limits() {
    type Route = fn(&str) -> Result<(), BodyError>;
    let create: Route = |text| CreateGraph::parse(text).map(drop);
    let add: Route = |text| AddMember::parse(text).map(drop);
    let user_keys: Route = |text| UserKeys::parse(text).map(drop);
    let graph_key: Route = |text| SetGraphKey::parse(text).map(drop);
    // Characters are counted, whatever their bytes and however JSON writes them; keys in bytes.
    for (route, rest, name, characters) in [
        (create, "", "graph-name", 1_024),
        (create, "\"graph-name\":\"x\",", "schema-version", 32),
        (add, "", "user-id", 512),
        (add, "", "email", 320),
    ] {
        for character in ["a", "é", "😀", "\\u0061", "\\n"] {
            assert_eq!(route(&body(rest, name, &character.repeat(characters))), Ok(()), "{name} {character}");
            let beyond = route(&body(rest, name, &character.repeat(characters + 1)));
            assert_eq!(beyond, Err(BodyError::Schema("invalid body")), "{name} {character}");
        }
    }
    for (route, rest, name) in [
        (user_keys, "\"encrypted-private-key\":\"e\",", "public-key"),
        (user_keys, "\"public-key\":\"p\",", "encrypted-private-key"),
        (graph_key, "", "encrypted-aes-key"),
    ] {
        assert_eq!(route(&body(rest, name, &"k".repeat(64 << 10))), Ok(()), "{name}");
        for beyond in ["k".repeat((64 << 10) + 1), "é".repeat((32 << 10) + 1)] {
            assert_eq!(route(&body(rest, name, &beyond)), Err(BodyError::Schema("invalid body")), "{name}");
        }
    }
    let grant = |email: usize, key: usize| {
        let (email, key) = ("m".repeat(email), "k".repeat(key));
        let grant = format!("{{\"email\":\"{email}\",\"encrypted-aes-key\":\"{key}\"}}");
        let fine = "{\"email\":\"e\",\"encrypted-aes-key\":\"k\"}";
        GrantAccess::parse(&format!("{{\"target-user-email+encrypted-aes-key-coll\":[{fine},{grant}]}}")).map(drop)
    };
    assert_eq!(grant(320, 64 << 10), Ok(()));
    assert_eq!(grant(321, 1), Err(BodyError::Schema("invalid body")));
    assert_eq!(grant(1, (64 << 10) + 1), Err(BodyError::Schema("invalid body")));
    let long = "r".repeat(1 << 20);
    let (role, id) = (body("", "role", &long), body("\"email\":\"e\",", "user-id", &long));
    assert_eq!(ChangeRole::parse(&role).map(drop), Err(BodyError::Schema("invalid body")));
    let refused = AddMember::parse(&id).map(drop);
    assert_eq!(refused, Err(BodyError::Schema("invalid body")), "an address beside it does not help");
}

#[test]
fn create_graph() {
    let graph = CreateGraph::parse(r#"{"graph-name":"one"}"#).unwrap();
    assert_eq!((graph.graph_name.as_ref(), graph.schema_version), ("one", None));
    assert!(graph.graph_e2ee && graph.graph_ready_for_use);
    let text = r#"{"graph-name":"","schema-version":"65","graph-e2ee?":false,"graph-ready-for-use?":false,"more":[]}"#;
    let graph = CreateGraph::parse(text).unwrap();
    assert_eq!(graph.schema_version.as_deref(), Some("65"));
    assert!(!graph.graph_e2ee && !graph.graph_ready_for_use);
    assert!(CreateGraph::parse(r#"{"graph-name":"x","schema-version":null}"#).is_ok());
    for text in [
        r#"{"graph-name":5}"#,
        r#"{"graph-name":null}"#,
        r#"{"graph-name":"x","graph-e2ee?":"no"}"#,
        r#"{"graph-name":"x","graph-e2ee?":null}"#,
        r#"{"graph-name":"x","schema-version":65}"#,
        r#"{"graph-name":"x","graph-ready-for-use?":1}"#,
        r#"{"graph-name":"x","graph-name":1}"#,
    ] {
        assert!(CreateGraph::parse(text).is_err(), "{text}");
    }
}

#[test]
fn add_member() {
    let target = |text| AddMember::parse(text).map(|body| (body.target, body.role)).unwrap();
    let by_id = MemberTarget::UserId("u".into());
    let by_email = MemberTarget::Email("e".into());
    assert_eq!(target(r#"{"user-id":"u"}"#), (by_id.clone(), Role::Member));
    assert_eq!(target(r#"{"email":"e","role":"manager"}"#), (by_email.clone(), Role::Manager));
    assert_eq!(target(r#"{"email":"e","user-id":"u","role":"member"}"#), (by_id.clone(), Role::Member));
    assert_eq!(target(r#"{"email":5,"user-id":"u"}"#), (by_id, Role::Member));
    assert_eq!(target(r#"{"email":"e","user-id":null}"#), (by_email, Role::Member));
    for text in [
        r#"{"email":5}"#,
        r#"{"user-id":null}"#,
        r#"{"role":"member"}"#,
        r#"{"email":"e","role":"owner"}"#,
        r#"{"email":"e","role":null}"#,
        r#"{"email":"e","role":"Member"}"#,
    ] {
        assert!(AddMember::parse(text).is_err(), "{text}");
    }
}

#[test]
fn change_role() {
    assert_eq!(ChangeRole::parse(r#"{"role":"manager"}"#), Ok(ChangeRole { role: Role::Manager }));
    for text in [r#"{"role":"boss"}"#, r#"{"role":null}"#, r#"{"role":1}"#] {
        assert!(ChangeRole::parse(text).is_err(), "{text}");
    }
    for role in [Role::Manager, Role::Member] {
        assert_eq!(Role::from_text(role.as_str()), Some(role));
    }
}

#[test]
fn keys() {
    let text = r#"{"public-key":"p","encrypted-private-key":"s","reset-private-key":true}"#;
    let keys = UserKeys::parse(text).unwrap();
    assert_eq!((keys.public_key.as_ref(), keys.encrypted_private_key.as_ref()), ("p", "s"));
    for text in [
        r#"{"public-key":"x"}"#,
        r#"{"public-key":1,"encrypted-private-key":"y"}"#,
        r#"{"public-key":"x","encrypted-private-key":"y","reset-private-key":"yes"}"#,
        r#"{"public-key":"x","encrypted-private-key":"y","reset-private-key":null}"#,
    ] {
        assert!(UserKeys::parse(text).is_err(), "{text}");
    }
    assert_eq!(SetGraphKey::parse(r#"{"encrypted-aes-key":"k"}"#).unwrap().encrypted_aes_key, "k");
    for text in [r#"{"encrypted-aes-key":null}"#, r#"{"encrypted-aes-key":4}"#] {
        assert!(SetGraphKey::parse(text).is_err(), "{text}");
    }
}

#[test]
fn grants() {
    let list = |inner: &str| format!(r#"{{"target-user-email+encrypted-aes-key-coll":{inner}}}"#);
    let text = list(r#"[{"email":"a","encrypted-aes-key":"k"},{"encrypted-aes-key":"l","email":"b","more":1}]"#);
    let grants = GrantAccess::parse(&text).unwrap().grants;
    let pairs: Vec<_> = grants.iter().map(|grant| (&*grant.email, &*grant.encrypted_aes_key)).collect();
    assert_eq!(pairs, [("a", "k"), ("b", "l")]);
    assert!(GrantAccess::parse(&list("[]")).unwrap().grants.is_empty());
    for inner in [
        "{}",
        "null",
        "[null]",
        r#"["x"]"#,
        r#"[{"email":"a"}]"#,
        r#"[{"user/email":"a","encrypted-aes-key":"k"}]"#,
        r#"[{"email":"a","encrypted-aes-key":"k"},{}]"#,
    ] {
        assert!(GrantAccess::parse(&list(inner)).is_err(), "{inner}");
    }
}

#[test]
fn bytes_become_text_as_in_a_browser() {
    assert_eq!(body_text(b"\xEF\xBB\xBF{}"), "{}");
    assert_eq!(body_text(b"\"\xFF\""), "\"\u{fffd}\"");
    assert_eq!(body_text("é".as_bytes()), "é");
}
