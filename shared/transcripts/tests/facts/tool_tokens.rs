//! Tool tokens (pg-sync.md 4.12).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use transcripts::limits::TOOL_TOKEN_S;
use transcripts::run_token::{Claims as RunClaims, RunTokens, TokenError, is_run_token};
use transcripts::tool_token::{Claims, is_tool_token};

const NOW_S: i64 = 1_800_000_000;
const NOW: i64 = NOW_S * 1_000;

fn claims() -> Claims {
    Claims::new("ann", "s/1", 3, NOW_S)
}

fn keys(text: &[(&str, u8)]) -> RunTokens {
    let text: Vec<String> = text.iter().map(|(kid, byte)| format!("{kid}:{}", STANDARD.encode([*byte; 32]))).collect();
    RunTokens::parse(&text.join(",")).unwrap()
}

#[test]
fn a_token_says_what_was_put_into_it_and_can_be_said_again() {
    let keys = keys(&[("k1", 1)]);
    let token = claims().token(&keys).unwrap();
    assert!(is_tool_token(&token));
    assert_eq!(Claims::verify(&keys, &token, NOW), Ok(claims()));
    assert_eq!(claims().token(&keys).unwrap(), token, "nothing of it is random");
    assert_ne!(Claims::new("ann", "s/1", 4, NOW_S).token(&keys).unwrap(), token);
    let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let expected =
        json!({"sub": "ann", "sid": "s/1", "scope": ["tools:call"], "gen": 3, "iat": NOW_S, "exp": NOW_S + 86_400});
    assert_eq!(said, expected);
}

/// Neither kind is taken for the other, though the same keys sign both.
#[test]
fn a_run_token_is_another_kind() {
    let keys = keys(&[("k1", 1)]);
    let tool = claims().token(&keys).unwrap();
    assert!(!is_run_token(&tool));
    assert_eq!(keys.verify(&tool, NOW).err(), Some(TokenError::Unknown));
    let run = json!({"sub": "ann", "sid": "s/1", "scope": ["tools:call"], "iat": NOW_S, "exp": NOW_S + 900, "jti": "j", "gen": 3});
    let run: RunClaims = serde_json::from_value(run).unwrap();
    let run = keys.issue(&run).unwrap();
    assert!(is_run_token(&run) && !is_tool_token(&run));
    assert_eq!(Claims::verify(&keys, &run, NOW), Err(TokenError::Unknown));
    // The same words under the other name are signed by nobody.
    let rest = run.split_once('.').unwrap().1;
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "tool", "kid": "k1"}).to_string());
    assert_eq!(Claims::verify(&keys, &format!("{header}.{rest}"), NOW), Err(TokenError::Unknown));
    for text in ["", "a.b.c", "eyJhbGciOiJIUzI1NiJ9.e30.x", "obs1_1_x"] {
        assert!(!is_tool_token(text), "{text}");
    }
}

#[test]
fn times_have_edges() {
    let keys = keys(&[("k1", 1)]);
    for (iat, exp, expected) in [
        (NOW_S + 30, NOW_S + 30 + TOOL_TOKEN_S, None),
        (NOW_S + 31, NOW_S + 31 + TOOL_TOKEN_S, Some(TokenError::Future)),
        (NOW_S - TOOL_TOKEN_S, NOW_S, Some(TokenError::Expired)),
        (NOW_S - TOOL_TOKEN_S + 1, NOW_S + 1, None),
        (NOW_S, NOW_S + TOOL_TOKEN_S + 1, Some(TokenError::Expired)),
        (i64::MIN, i64::MAX, Some(TokenError::Expired)),
    ] {
        let token = Claims { iat, exp, ..claims() }.token(&keys).unwrap();
        assert_eq!(Claims::verify(&keys, &token, NOW).err(), expected, "{iat} {exp}");
    }
    let scope = vec!["transcript:read".to_owned()];
    let token = Claims { scope, ..claims() }.token(&keys).unwrap();
    assert_eq!(Claims::verify(&keys, &token, NOW), Err(TokenError::Unknown), "another scope");
}

#[test]
fn every_byte_counts() {
    let keys = keys(&[("k1", 1)]);
    let token = claims().token(&keys).unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(Claims::verify(&keys, &String::from_utf8(bytes).unwrap(), NOW).is_err(), "{at}");
    }
}

#[test]
fn each_key_has_its_token() {
    let (old, both) = (keys(&[("k1", 1)]), keys(&[("k2", 2), ("k1", 1)]));
    let token = claims().token(&old).unwrap();
    assert!(Claims::verify(&both, &token, NOW).is_ok());
    let all: Vec<String> = claims().tokens(&both).collect();
    assert_eq!((all.len(), &all[1], &all[0]), (2, &token, &claims().token(&both).unwrap()));
    assert_eq!(Claims::verify(&keys(&[("k2", 2)]), &token, NOW), Err(TokenError::Unknown));
}
