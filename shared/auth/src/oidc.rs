//! Identity providers that follow the discovery and claims of OIDC, beside Cognito.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::key_set::FetchError;
use crate::{Claims, Provider, Refusal};

/// Bytes of a user id that a provider may give.
const SUB_BYTES: usize = 255;

/// How long the place of the keys counts before it is asked again, in milliseconds.
const DISCOVERY_MS: i64 = 24 * 60 * 60 * 1000;

/// What such a provider's tokens are read by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Seconds that the provider's clock may differ from ours.
    pub clock_skew_s: u32,
    /// The claim that holds the e-mail address.
    pub email_claim: String,
    /// The claim that holds the name to show.
    pub username_claim: String,
    /// What stands before the provider's `sub` in user ids: two providers may give equal ones.
    pub sub_prefix: String,
    /// Keys may come over plain HTTP from another machine.
    pub allow_http: bool,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            clock_skew_s: 60,
            email_claim: "email".into(),
            username_claim: "preferred_username".into(),
            sub_prefix: String::new(),
            allow_http: false,
        }
    }
}

impl Oidc {
    /// Why the claims count for nothing: they are not made out to one of these, or not valid at `now_s`, in seconds since the epoch.
    /// Their issuer was compared before.
    pub(crate) fn refusal(&self, claims: &Claims, audience: &[String], now_s: f64) -> Option<Refusal> {
        let ours = |id: &Value| id.as_str().is_some_and(|id| audience.iter().any(|ours| ours == id));
        let made_out_to_us = match claims.get("aud") {
            Some(Value::Array(ids)) if ids.len() > 1 => ids.iter().any(ours) && claims.get("azp").is_some_and(ours),
            Some(Value::Array(ids)) => ids.iter().any(ours),
            Some(id) => ours(id),
            None => false,
        };
        let skew = f64::from(self.clock_skew_s);
        let not_before = |name| match claims.get(name) {
            Some(at) => at.as_f64().is_some_and(|at| at <= now_s + skew),
            None => true,
        };
        let has_sub = claims.text("sub").is_some_and(|sub| !sub.is_empty() && sub.len() <= SUB_BYTES);
        let current = claims.exp().is_some_and(|exp| exp + skew > now_s);
        if !current || !not_before("nbf") || !not_before("iat") {
            Some(Refusal::Expired)
        } else if !made_out_to_us {
            Some(Refusal::Audience)
        } else {
            (!has_sub).then_some(Refusal::Malformed)
        }
    }

    /// The claims as everything else reads them.
    pub(crate) fn read(&self, claims: &Claims) -> Claims {
        let set = [
            ("sub", claims.text("sub").map(|sub| format!("{}{sub}", self.sub_prefix))),
            ("email", claims.text(&self.email_claim).map(str::to_owned)),
            ("preferred_username", claims.text(&self.username_claim).map(str::to_owned)),
            // The claim that the index stores.
            ("cognito:username", claims.text(&self.username_claim).map(str::to_owned)),
        ];
        claims.with(set.into_iter().map(|(name, text)| (name, text.map(Value::from))))
    }
}

/// What a provider publishes about itself, as far as it is read.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where a provider's keys are, once it was asked.
#[derive(Debug, Default)]
pub(crate) struct Discovery(Mutex<Option<(String, i64)>>);

impl Discovery {
    /// The address of the keys, if it was found out less than a day before `now_ms`.
    pub(crate) fn known(&self, now_ms: i64) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: &i64| (0..DISCOVERY_MS).contains(&(now_ms - at));
        known.as_ref().filter(|(_, at)| fresh(at)).map(|(url, _)| url.clone())
    }

    /// Reads what the provider publishes.
    pub(crate) fn learn(&self, provider: &Provider, text: &str, now_ms: i64) -> Result<String, FetchError> {
        let url = jwks_uri(provider, text)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((url.clone(), now_ms));
        Ok(url)
    }
}

/// Where a provider says where its keys are.
pub(crate) fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

fn jwks_uri(provider: &Provider, text: &str) -> Result<String, FetchError> {
    let document: Document = serde_json::from_str(text).map_err(|_| FetchError::Malformed)?;
    if Some(&*document.issuer) != provider.issuer.as_deref() {
        return Err(FetchError::Transport("the discovery document names another issuer".into()));
    }
    let plain = document.jwks_uri.strip_prefix("http://");
    let allowed = provider.oidc.as_ref().is_some_and(|oidc| oidc.allow_http);
    let is_safe = match plain {
        Some(rest) => allowed || is_loopback(rest),
        None => document.jwks_uri.starts_with("https://"),
    };
    if is_safe {
        Ok(document.jwks_uri)
    } else {
        Err(FetchError::Transport("the keys are not published over HTTPS".into()))
    }
}

fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(claims) => Claims::new(claims),
            _ => panic!("an object"),
        }
    }

    fn accepts(value: Value) -> bool {
        Oidc::default().refusal(&claims(value), &["a".into(), "b".into()], 1_000.0).is_none()
    }

    #[test]
    fn a_token_is_made_out_to_us_and_valid_now() {
        let whole = json!({ "sub": "u", "aud": "a", "exp": 1_001, "iat": 1_000, "nbf": 1_000 });
        assert!(accepts(whole.clone()));
        for (name, value, expected) in [
            ("aud", json!("c"), false),
            ("aud", json!(["b"]), true),
            ("aud", json!(["b", "c"]), false),
            ("aud", json!([]), false),
            ("aud", json!(null), false),
            ("exp", json!(941), true),
            ("exp", json!(940), false),
            ("exp", json!("2000"), false),
            ("exp", json!(null), false),
            ("nbf", json!(1_060), true),
            ("nbf", json!(1_061), false),
            ("iat", json!(1_061), false),
            ("iat", json!("now"), false),
            ("sub", json!(""), false),
            ("sub", json!("x".repeat(256)), false),
            ("sub", json!(1), false),
        ] {
            let mut changed = whole.clone();
            changed[name] = value.clone();
            assert_eq!(accepts(changed), expected, "{name}: {value}");
        }
        let mut several = whole.clone();
        several["aud"] = json!(["c", "b"]);
        several["azp"] = json!("b");
        assert!(accepts(several.clone()));
        several["azp"] = json!("c");
        assert!(!accepts(several), "made out to us, but asked for by another");
        let mut without = whole;
        without.as_object_mut().unwrap().remove("exp");
        assert!(!accepts(without));
    }

    #[test]
    fn claims_are_read_by_their_names() {
        let oidc = Oidc {
            sub_prefix: "kc:".into(),
            email_claim: "mail".into(),
            username_claim: "nick".into(),
            ..Oidc::default()
        };
        let read = oidc.read(&claims(json!({
            "sub": "u", "mail": "a@b", "email": "other@b", "email_verified": true, "nick": "ann", "cognito:username": "forged",
        })));
        assert_eq!((read.sub(), read.email(), read.username()), (Some("kc:u"), Some("a@b"), Some("ann")));
        assert_eq!(read.email_verified(), Some(true));
        let bare = oidc.read(&claims(json!({ "sub": "u", "email": "other@b", "cognito:username": "forged" })));
        assert_eq!((bare.email(), bare.username()), (None, None), "what another claim says is not taken");
    }

    #[test]
    fn keys_are_where_the_issuer_says() {
        let provider = |allow_http| Provider {
            issuer: Some("https://id.example/realm".into()),
            oidc: Some(Oidc { allow_http, ..Oidc::default() }),
            ..Provider::default()
        };
        let document = |issuer: &str, uri: &str| json!({ "issuer": issuer, "jwks_uri": uri }).to_string();
        let learn = |allow_http, issuer: &str, uri: &str| {
            let discovery = Discovery::default();
            let learnt = discovery.learn(&provider(allow_http), &document(issuer, uri), 0).ok();
            assert_eq!(discovery.known(DISCOVERY_MS - 1), learnt);
            assert_eq!(discovery.known(DISCOVERY_MS), None);
            learnt.is_some()
        };
        let issuer = "https://id.example/realm";
        assert!(learn(false, issuer, "https://keys.example/k"));
        assert!(learn(false, issuer, "http://127.0.0.1:8/k") && learn(false, issuer, "http://[::1]/k"));
        assert!(learn(true, issuer, "http://id.lan/k"));
        for (issuer, uri) in [
            ("https://id.example/realm/", "https://keys.example/k"),
            (issuer, "http://id.lan/k"),
            (issuer, "http://127.0.0.1.evil.example/k"),
            (issuer, "http://127.0.0.1@evil.example/k"),
            (issuer, "file:///k"),
        ] {
            assert!(!learn(false, issuer, uri), "{issuer} {uri}");
        }
        assert_eq!(discovery_url(issuer), "https://id.example/realm/.well-known/openid-configuration");
    }
}
