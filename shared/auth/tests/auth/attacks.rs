//! Forged, malformed and misused tokens: refused without a panic, and before a key is looked for where possible.

use crate::support::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jwt_compact::alg::Rsa;
use serde_json::{Value, json};
use sha2::Sha256;

/// Asserts that each token is refused, and that a good one passes before and after.
fn refused<'a>(keys: &[Value], tokens: impl IntoIterator<Item = (&'a str, String)>) {
    let world = World::new(keys);
    let authenticator = authenticator(&world, &[]);
    let good = KEY_A.sign(&header("a"), &claims());
    assert_eq!(verdict(&authenticator, &good), Ok(true));
    for (what, token) in tokens {
        assert_eq!(verdict(&authenticator, &token), Ok(false), "{what}");
    }
    assert_eq!(verdict(&authenticator, &good), Ok(true));
}

#[test]
fn the_algorithm_is_fixed() {
    let with_alg = |alg: &str| json!({"alg": alg, "kid": "a"}).to_string();
    let payload = claims().to_string();
    let hmac = |alg: &str, key: &[u8]| {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(with_alg(alg)), URL_SAFE_NO_PAD.encode(&payload));
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let good = KEY_A.sign(&header("a"), &claims());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(with_alg("none")), URL_SAFE_NO_PAD.encode(&payload));
    let jwk = KEY_A.jwk("a");
    refused(
        &[KEY_A.jwk("a")],
        [
            ("none, empty signature", none.clone()),
            ("none, some signature", none + "AA"),
            ("none, signed", KEY_A.sign_with(Rsa::rs256(), &with_alg("none"), &payload)),
            ("RS256, empty signature", format!("{unsigned}.")),
            ("HS256 with the modulus", hmac("HS256", &KEY_A.modulus())),
            ("HS256 with the public key", hmac("HS256", jwk.to_string().as_bytes())),
            ("HMAC under RS256", hmac("RS256", &KEY_A.modulus())),
            ("HS256 with an empty key", hmac("HS256", b"")),
            ("PS256", KEY_A.sign_with(Rsa::ps256(), &with_alg("PS256"), &payload)),
            ("PS256 signature under RS256", KEY_A.sign_with(Rsa::ps256(), &with_alg("RS256"), &payload)),
            ("RS384", KEY_A.sign_with(Rsa::rs384(), &with_alg("RS384"), &payload)),
            ("RS384 signature under RS256", KEY_A.sign_with(Rsa::rs384(), &with_alg("RS256"), &payload)),
            ("lower case", KEY_A.sign_with(Rsa::rs256(), &with_alg("rs256"), &payload)),
            ("no alg", KEY_A.sign(&json!({"kid": "a"}), &claims())),
            ("alg no text", KEY_A.sign(&json!({"alg": ["RS256"], "kid": "a"}), &claims())),
            ("alg twice", KEY_A.sign_with(Rsa::rs256(), r#"{"alg":"none","alg":"RS256","kid":"a"}"#, &payload)),
        ],
    );
}

#[test]
fn the_key_comes_from_the_configured_set_alone() {
    let with = |extra: Value| {
        let mut header = header("b");
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        KEY_B.sign(&header, &claims())
    };
    refused(
        &[KEY_A.jwk("a")],
        [
            ("other key under a known name", KEY_B.sign(&header("a"), &claims())),
            ("unknown name", KEY_B.sign(&header("b"), &claims())),
            ("no name", KEY_A.sign(&json!({"alg": "RS256"}), &claims())),
            ("name no text", KEY_A.sign(&json!({"alg": "RS256", "kid": 1}), &claims())),
            ("name null", KEY_A.sign(&json!({"alg": "RS256", "kid": null}), &claims())),
            ("empty name", KEY_A.sign(&header(""), &claims())),
            (
                "name twice",
                KEY_A.sign_with(Rsa::rs256(), r#"{"alg":"RS256","kid":"b","kid":"a"}"#, &claims().to_string()),
            ),
            ("path", KEY_B.sign(&header("../../etc/passwd"), &claims())),
            ("URL", KEY_B.sign(&header("https://evil.test/jwks.json"), &claims())),
            ("SQL", KEY_B.sign(&header("a' OR '1'='1"), &claims())),
            ("jku", with(json!({"jku": "https://evil.test/jwks.json"}))),
            ("x5u", with(json!({"x5u": "https://evil.test/cert.pem"}))),
            ("jwk", with(json!({"jwk": KEY_B.jwk("b")}))),
            ("jwk under a known name", with(json!({"kid": "a", "jwk": KEY_B.jwk("a")}))),
            (
                "critical extension",
                KEY_A.sign(&json!({"alg": "RS256", "kid": "a", "crit": ["exp"], "exp": 1}), &claims()),
            ),
        ],
    );
}

#[test]
fn only_strong_rsa_keys_for_signatures_count() {
    let changed = |changes: Value| {
        let mut jwk = KEY_A.jwk("a");
        jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        jwk
    };
    let unusable = [
        ("for encryption", changed(json!({"use": "enc"}))),
        ("for another algorithm", changed(json!({"alg": "RS512"}))),
        ("of another kind", changed(json!({"kty": "EC"}))),
        ("symmetric", json!({"kty": "oct", "kid": "a", "k": "AAAA"})),
        ("even exponent", changed(json!({"e": "Ag"}))),
        ("zero modulus", changed(json!({"n": "AA"}))),
        ("empty modulus", changed(json!({"n": ""}))),
        ("no modulus", changed(json!({"n": null}))),
        ("modulus no base64", changed(json!({"n": "!!"}))),
        ("unnamed", changed(json!({"kid": null}))),
        ("no object", json!(5)),
    ];
    for (what, jwk) in unusable {
        let world = World::new(&[jwk]);
        let authenticator = authenticator(&world, &[]);
        assert_eq!(verdict(&authenticator, &KEY_A.sign(&header("a"), &claims())), Ok(false), "{what}");
    }
    let world = World::new(&[KEY_WEAK.jwk("weak")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &KEY_WEAK.sign(&header("weak"), &claims())), Ok(false), "1024 bits");
}

#[test]
fn one_name_for_two_keys_is_no_name() {
    let keys = [KEY_A.jwk("twice"), KEY_B.jwk("twice"), KEY_A.jwk("a")];
    refused(
        &keys,
        [("first", KEY_A.sign(&header("twice"), &claims())), ("second", KEY_B.sign(&header("twice"), &claims()))],
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    let good = KEY_A.sign(&header("a"), &claims());
    let step = good.len() / 60;
    let changed = (0..good.len()).step_by(step).chain([good.len() - 1]).map(|at| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        ("changed", String::from_utf8(bytes).unwrap())
    });
    refused(&[KEY_A.jwk("a")], changed);
}

#[test]
fn malformed_tokens_are_refused() {
    let good = KEY_A.sign(&header("a"), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = |header: &str, payload: &str| KEY_A.sign_with(Rsa::rs256(), header, payload);
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let head = header("a").to_string();
    refused(
        &[KEY_A.jwk("a")],
        [
            ("empty", String::new()),
            ("blank", " ".to_owned()),
            ("garbage", "garbage".to_owned()),
            ("dots", "..".to_owned()),
            ("many dots", ".".repeat(10_000)),
            ("two parts", parts[..2].join(".")),
            ("four parts", format!("{good}.{}", parts[2])),
            ("leading dot", format!(".{good}")),
            ("trailing dot", format!("{good}.")),
            ("leading blank", format!(" {good}")),
            ("line break", format!("{good}\n")),
            ("padding", format!("{good}==")),
            ("padded parts", parts.iter().map(|part| format!("{part}=")).collect::<Vec<_>>().join(".")),
            ("standard alphabet", format!("{}.{}.{}+/", parts[0], parts[1], standard.encode(&signature))),
            ("truncated signature", good[..good.len() - 1].to_owned()),
            ("half a signature", good[..good.len() - parts[2].len() / 2].to_owned()),
            ("longer signature", format!("{good}AAAA")),
            ("huge signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(8_000))),
            ("header no base64", format!("!!.{}.{}", parts[1], parts[2])),
            ("payload no base64", format!("{}.!!!!.{}", parts[0], parts[2])),
            ("not ASCII", format!("{}.日本.{}", parts[0], parts[2])),
            ("header no JSON", signed("{", &claims().to_string())),
            ("header no object", signed("[]", &claims().to_string())),
            ("header null", signed("null", &claims().to_string())),
            ("payload no JSON", signed(&head, "{\"sub\"")),
            ("payload no object", signed(&head, "[1]")),
            ("payload null", signed(&head, "null")),
            ("payload deep", signed(&head, &"[".repeat(5_000))),
            ("header deep", format!("{}.{}.{}", encode(&"{\"a\":".repeat(1_000)), parts[1], parts[2])),
            ("1 MB header", format!("{}.{}.{}", encode(&" ".repeat(1 << 20)), parts[1], parts[2])),
            ("1 MB of dots", ".".repeat(1 << 20)),
            ("1 MB", "x".repeat(1 << 20)),
        ],
    );
}

#[test]
fn a_token_has_16_kib() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let token = |padding: usize| KEY_A.sign(&header("a"), &claims_with(&json!({"name": "n".repeat(padding)})));
    let limit = protocol::limits::TOKEN_BYTES;
    // Three bytes more of payload are four more of token.
    let padding = (limit - token(0).len()) / 4 * 3 - 3;
    let (fits, too_long) = (token(padding), token(padding + 12));
    assert!(fits.len() <= limit && too_long.len() > limit);
    assert_eq!((verdict(&authenticator, &fits), verdict(&authenticator, &too_long)), (Ok(true), Ok(false)));
}

#[test]
fn claims_must_be_made_out_to_this_server() {
    let signed = |changes: Value| KEY_A.sign(&header("a"), &claims_with(&changes));
    let twice =
        claims().to_string().replace(CLIENT, "other").replace('}', &format!(",\"x\":{{\"aud\":\"{CLIENT}\"}}}}"));
    refused(
        &[KEY_A.jwk("a")],
        [
            ("other issuer", signed(json!({"iss": "https://elsewhere.test"}))),
            ("issuer with a slash", signed(json!({"iss": format!("{ISSUER}/")}))),
            ("no issuer", signed(json!({"iss": null}))),
            ("issuer list", signed(json!({"iss": [ISSUER]}))),
            ("other audience", signed(json!({"aud": "someone-else"}))),
            ("audience list", signed(json!({"aud": [CLIENT]}))),
            ("empty audience", signed(json!({"aud": ""}))),
            ("no audience", signed(json!({"aud": null}))),
            ("other audience, right client", signed(json!({"aud": "other", "client_id": CLIENT}))),
            ("audience list, right client", signed(json!({"aud": [CLIENT], "client_id": CLIENT}))),
            ("other client", signed(json!({"aud": null, "client_id": "other"}))),
            ("client no text", signed(json!({"aud": null, "client_id": 1}))),
            ("audience further down", KEY_A.sign_with(Rsa::rs256(), &header("a").to_string(), &twice)),
        ],
    );
}

#[test]
fn expired_tokens_cost_nothing() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    for exp in [json!(NOW - 10), json!(NOW), json!(1_754_999_999.5), json!(0), json!(-1), json!(-1e300)] {
        let token = KEY_A.sign(&header("a"), &claims_with(&json!({"exp": exp})));
        assert_eq!(verdict(&authenticator, &token), Ok(false), "{exp}");
    }
    let wrong = KEY_A.sign(&header("a"), &claims_with(&json!({"aud": "other"})));
    assert_eq!(verdict(&authenticator, &wrong), Ok(false));
    assert_eq!(world.fetches.get(), 0, "no key was looked for");
}
