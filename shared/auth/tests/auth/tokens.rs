//! Tokens that count, the drivers, and what is read out of claims (sync.md 3, 7.1, 22).

use crate::support::*;
use auth::{AuthError, FetchError, token_from_request};
use protocol::PresenceUser;
use serde_json::json;

#[test]
fn tokens_that_count() {
    let world = World::new(&[KEY_B.jwk("b"), KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[("COGNITO_CLIENT_IDS", " client-2 ,, client-3")]);
    let cases = [
        ("id token", json!({})),
        ("access token", json!({"aud": null, "client_id": CLIENT, "token_use": "access", "email": null})),
        ("second client", json!({"aud": "client-2"})),
        ("third client", json!({"aud": null, "client_id": "client-3"})),
        ("no exp", json!({"exp": null})),
        ("exp as text", json!({"exp": "4102444800"})),
        ("exp as old text", json!({"exp": "1"})),
        ("exp in a second", json!({"exp": NOW + 1})),
        ("exp with a fraction", json!({"exp": 1_755_000_000.5})),
        ("nbf in the future", json!({"nbf": 4_102_444_800_i64})),
        ("iat in the future", json!({"iat": 4_102_444_800_i64})),
        ("any use", json!({"token_use": "refresh"})),
        ("no sub", json!({"sub": null})),
        ("sub no text", json!({"sub": 7})),
    ];
    for (what, changes) in cases {
        let claims = ask(&authenticator, Some(&KEY_A.sign(&header("a"), &claims_with(&changes)))).unwrap();
        let sub = if changes.get("sub").is_some() { None } else { Some("user-1") };
        assert_eq!(claims.as_ref().map(|claims| claims.sub()), Some(sub), "{what}");
    }
    assert_eq!(verdict(&authenticator, &KEY_B.sign(&header("b"), &claims())), Ok(true));
    assert_eq!(world.fetches.get(), 1);
}

#[test]
fn without_a_token_there_are_no_claims() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(ask(&authenticator, None), Ok(None));
    assert_eq!(ask(&authenticator, Some("")), Ok(None));
    assert_eq!(world.fetches.get(), 0);
}

#[test]
fn missing_settings_refuse_everything() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let token = KEY_A.sign(&header("a"), &claims());
    for setting in ["COGNITO_ISSUER", "COGNITO_CLIENT_ID"] {
        assert_eq!(verdict(&authenticator(&world, &[(setting, "")]), &token), Ok(false), "{setting}");
    }
    let no_issuer = KEY_A.sign(&header("a"), &claims_with(&json!({"iss": null})));
    assert_eq!(verdict(&authenticator(&world, &[("COGNITO_ISSUER", "")]), &no_issuer), Ok(false));
    let no_url = authenticator(&world, &[("COGNITO_JWKS_URL", "")]);
    assert_eq!(ask(&no_url, Some(&token)), Err(AuthError::KeySet(FetchError::NoUrl)));
}

#[test]
fn a_verified_token_is_verified_once() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let hours = |n: i64| n * 3_600_000;
    let token = KEY_A.sign(&header("a"), &claims_with(&json!({"exp": NOW + 10 * 3600})));
    let short = KEY_A.sign(&header("a"), &claims_with(&json!({"exp": NOW + 60})));
    assert_eq!((verdict(&authenticator, &token), verdict(&authenticator, &short)), (Ok(true), Ok(true)));
    world.pass_ms(59_999);
    assert_eq!(verdict(&authenticator, &short), Ok(true));
    world.pass_ms(1);
    assert_eq!(verdict(&authenticator, &short), Ok(false), "expired since");
    // The key is withdrawn. A token that was verified before counts for the rest of its hour, even when the key set is
    // too old.
    world.publish(&[KEY_B.jwk("b")]);
    assert_eq!(verdict(&authenticator, &KEY_B.sign(&header("b"), &claims())), Ok(true));
    world.pass_ms(hours(1) - 60_001);
    assert_eq!(verdict(&authenticator, &token), Ok(true));
    world.pass_ms(1);
    assert_eq!(verdict(&authenticator, &token), Ok(false));
}

#[test]
fn tokens_without_a_numeric_end_are_not_remembered() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let token = KEY_A.sign(&header("a"), &claims_with(&json!({"exp": null})));
    assert_eq!(verdict(&authenticator, &token), Ok(true));
    world.publish(&[KEY_B.jwk("b")]);
    assert_eq!(verdict(&authenticator, &KEY_A.sign(&header("unknown"), &claims())), Ok(false), "fetches again");
    assert_eq!(verdict(&authenticator, &token), Ok(false));
}

#[test]
fn unverified_claims_count_only_while_the_keys_are_out_of_reach() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let lenient = authenticator(&world, &[("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", "true")]);
    let strict = authenticator(&world, &[]);
    world.go_down();
    let forged = KEY_B.sign(&header("a"), &claims());
    assert_eq!(ask(&lenient, Some(&forged)).unwrap().unwrap().sub(), Some("user-1"));
    assert_eq!(ask(&strict, Some(&forged)), Err(AuthError::KeySet(FetchError::Status(503))));
    for changes in [json!({"exp": NOW}), json!({"iss": "other"}), json!({"aud": "other"})] {
        assert_eq!(verdict(&lenient, &KEY_B.sign(&header("a"), &claims_with(&changes))), Ok(false), "{changes}");
    }
    assert_eq!(verdict(&lenient, "garbage"), Ok(false));
    world.publish(&[KEY_A.jwk("a")]);
    world.pass_ms(1_000);
    assert_eq!(verdict(&lenient, &forged), Ok(false), "was not remembered as verified");
}

#[test]
fn the_static_driver_knows_one_token() {
    let world = World::new(&[]);
    let settings = [
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", "t0ken"),
        ("DB_SYNC_STATIC_EMAIL", "me@example.com"),
    ];
    let authenticator = authenticator(&world, &settings);
    let claims = ask(&authenticator, Some("t0ken")).unwrap().unwrap();
    assert_eq!((claims.sub(), claims.email(), claims.username()), (Some("user"), Some("me@example.com"), None));
    for token in [None, Some(""), Some("t0ke"), Some("t0ken "), Some("T0ken")] {
        assert_eq!(ask(&authenticator, token), Ok(None), "{token:?}");
    }
    assert!(!authenticator.config().accepts_missing_token());
    assert_eq!(authenticator.config().verified_before(Some("t0ken")), Some(claims));
    assert_eq!(authenticator.config().verified_before(Some("other")), None);
    assert_eq!(authenticator.config().verified_before(None), None);
}

#[test]
fn the_none_driver_refuses_nobody() {
    let world = World::new(&[]);
    let settings =
        [("DB_SYNC_AUTH_DRIVER", "none"), ("DB_SYNC_STATIC_USER_ID", "me"), ("DB_SYNC_STATIC_USERNAME", "Me")];
    let authenticator = authenticator(&world, &settings);
    for token in [None, Some(""), Some("anything")] {
        let claims = ask(&authenticator, token).unwrap().unwrap();
        assert_eq!((claims.sub(), claims.email(), claims.username()), (Some("me"), None, Some("Me")));
        assert_eq!(authenticator.config().verified_before(token), Some(claims));
    }
    assert!(authenticator.config().accepts_missing_token());
}

#[test]
fn presence_comes_from_the_claims() {
    let config = config(&[]);
    let user = |changes| config.verified_before(Some(&KEY_A.sign(&header("a"), &changes)))?.presence_user();
    let named = |email: Option<&str>, username: Option<&str>, name: Option<&str>| {
        let mut user = PresenceUser::new("u");
        user.email = email.map(str::to_owned);
        user.username = username.map(str::to_owned);
        user.name = name.map(str::to_owned);
        Some(user)
    };
    assert_eq!(
        user(json!({"sub": "u", "email": "e", "name": "N", "cognito:username": "c", "username": "n"})),
        named(Some("e"), Some("c"), Some("N"))
    );
    assert_eq!(
        user(json!({"sub": "u", "preferred_username": "p", "cognito:username": "c"})),
        named(None, Some("p"), None)
    );
    assert_eq!(user(json!({"sub": "u", "username": "n", "email": 1, "name": null})), named(None, Some("n"), None));
    assert_eq!(user(json!({"sub": "u", "preferred_username": 5, "username": "n"})), named(None, Some("n"), None));
    assert_eq!(user(json!({"sub": 1, "email": "e"})), None);
    assert_eq!(user(json!({})), None);
    for token in [None, Some(""), Some("a.b"), Some("a.b.c"), Some("a.e30.c")] {
        assert_eq!(config.verified_before(token).and_then(|claims| claims.presence_user()), None, "{token:?}");
    }
}

#[test]
fn claims_of_the_index() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let claims = ask(&authenticator, Some(&KEY_A.sign(&header("a"), &claims()))).unwrap().unwrap();
    assert_eq!(claims.email(), Some("a@example.com"));
    assert_eq!(claims.email_verified(), Some(true));
    assert_eq!(claims.username(), Some("alice"));
    let printed = format!("{claims:?} {authenticator:?}");
    assert!(printed.contains("user-1") && !printed.contains("example.com"), "{printed}");
}

#[test]
fn the_header_goes_before_the_query() {
    assert_eq!(token_from_request(Some("Bearer a"), Some("b")), Some("a"));
    assert_eq!(token_from_request(Some("Bearer "), Some("b")), Some(""));
    for header in [None, Some("bearer a"), Some("Basic a"), Some("Bearer"), Some(" Bearer a"), Some("")] {
        assert_eq!(token_from_request(header, Some("b")), Some("b"), "{header:?}");
        assert_eq!(token_from_request(header, None), None, "{header:?}");
    }
}
