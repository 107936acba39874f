//! Run tokens (facts 15, 25 and 26 of transcripts.md 3; "Tokens" of transcripts.md 6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, json};
use transcripts::limits::TOKEN_S;
use transcripts::run_token::{Claims, KeysError, READ, Run, RunTokens, TokenError, WRITE, is_run_token};

const NOW_S: i64 = 1_800_000_000;
const NOW: i64 = NOW_S * 1_000;

fn claims() -> Claims {
    let mut rest = Map::new();
    rest.insert("later".into(), json!({"kept": true}));
    Claims {
        sub: "ann".into(),
        sid: "s/1".into(),
        run: Some(Run { run: "run-7".into(), seq: 7 }),
        att: 1,
        ep: 2,
        scope: vec![READ.into(), WRITE.into()],
        iat: NOW_S,
        exp: NOW_S + TOKEN_S,
        jti: "j".into(),
        rest,
    }
}

fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn tokens(text: &str) -> RunTokens {
    RunTokens::parse(text).unwrap()
}

#[test]
fn a_token_says_what_was_put_into_it() {
    let tokens = tokens(&format!("k1:{}", key(1)));
    let token = tokens.issue(&claims()).unwrap();
    assert!(is_run_token(&token));
    assert_eq!(tokens.verify(&token, NOW), Ok(claims()));
    let reader = Claims { run: None, ..claims() };
    let token = tokens.issue(&reader).unwrap();
    assert_eq!(tokens.verify(&token, NOW).unwrap().run, None);
    assert!(!format!("{tokens:?}").contains(&key(1)));
}

/// Fact 25.
#[test]
fn times_have_edges() {
    let tokens = RunTokens::development();
    for (iat, exp, expected) in [
        (NOW_S + 29, NOW_S + 29 + TOKEN_S, None),
        (NOW_S + 30, NOW_S + 30 + TOKEN_S, None),
        (NOW_S + 31, NOW_S + 31 + TOKEN_S, Some(TokenError::Future)),
        (NOW_S - TOKEN_S, NOW_S, Some(TokenError::Expired)),
        (NOW_S - TOKEN_S + 1, NOW_S + 1, None),
        (NOW_S, NOW_S + TOKEN_S + 1, Some(TokenError::Expired)),
        (i64::MIN, i64::MAX, Some(TokenError::Expired)),
        (i64::MAX, i64::MIN, Some(TokenError::Future)),
    ] {
        let token = tokens.issue(&Claims { iat, exp, ..claims() }).unwrap();
        assert_eq!(tokens.verify(&token, NOW).err(), expected, "{iat} {exp}");
    }
}

#[test]
fn every_byte_counts() {
    let tokens = RunTokens::development();
    let token = tokens.issue(&claims()).unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(tokens.verify(&changed, NOW).is_err(), "{at}");
    }
    for broken in ["", "..", "a.b.c", &format!("{token}.x"), &token.replace('.', ""), &"a.".repeat(3_000)] {
        assert_eq!(tokens.verify(broken, NOW), Err(TokenError::Unknown), "{broken}");
    }
}

#[test]
fn keys_are_rotated() {
    let old = tokens(&format!("k1:{}", key(1)));
    let both = tokens(&format!("k2:{}, k1:{}", key(2), key(1)));
    let new = tokens(&format!("k2:{}", key(2)));
    let token = old.issue(&claims()).unwrap();
    assert!(both.verify(&token, NOW).is_ok());
    assert_eq!(new.verify(&token, NOW), Err(TokenError::Unknown));
    let token = both.issue(&claims()).unwrap();
    assert!(new.verify(&token, NOW).is_ok() && old.verify(&token, NOW).is_err(), "the first key signs");
    // A known name with another key is another key.
    assert!(tokens(&format!("k2:{}", key(1))).verify(&token, NOW).is_err());
    for (text, error) in [
        (String::new(), KeysError::Form),
        ("k".into(), KeysError::Form),
        (format!("k:{}", STANDARD.encode([1; 31])), KeysError::Form),
        (format!(":{}", key(1)), KeysError::Form),
        (format!("k k:{}", key(1)), KeysError::Form),
        (format!("k:{},", key(1)), KeysError::Form),
        (format!("k:{},k:{}", key(1), key(2)), KeysError::Names),
        ((0..9).map(|n| format!("k{n}:{}", key(n))).collect::<Vec<_>>().join(","), KeysError::Names),
    ] {
        assert_eq!(RunTokens::parse(&text).err(), Some(error), "{text}");
    }
}

/// A token of an identity provider is none of these, whatever key it names.
#[test]
fn other_kinds_are_others() {
    let tokens = RunTokens::development();
    let token = tokens.issue(&claims()).unwrap();
    let rest = token.split_once('.').unwrap().1.to_owned();
    for header in [
        json!({"alg": "HS256", "typ": "JWT", "kid": "development"}),
        json!({"alg": "none", "typ": "run", "kid": "development"}),
        json!({"alg": "RS256", "typ": "run", "kid": "development"}),
        json!({"alg": "HS256", "typ": "run"}),
        json!(null),
    ] {
        let other = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(tokens.verify(&other, NOW), Err(TokenError::Unknown), "{header}");
    }
    for text in ["", "obs1_1_x", "a.b", "token-of-the-only-user", "eyJhbGciOiJSUzI1NiJ9.e30.x"] {
        assert!(!is_run_token(text), "{text}");
    }
}

/// Fact 26, as far as the token goes: nothing changes but its times and its name.
#[test]
fn a_renewed_token_says_the_same() {
    let later = NOW + 600_000;
    let renewed = claims().renewed(later, "k".into());
    assert_eq!((renewed.iat, renewed.exp, renewed.jti.as_str()), (NOW_S + 600, NOW_S + 600 + TOKEN_S, "k"));
    assert_eq!(Claims { iat: NOW_S, exp: NOW_S + TOKEN_S, jti: "j".into(), ..renewed }, claims());
}
