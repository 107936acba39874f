//! `[[oidc]]`: issuers beside Cognito (self-host.md 6.3).

use auth::{Oidc, Provider};
use serde::Deserialize;

use super::gather::{Problem, Resolved};
use super::value::Value;

/// One of them, as the file has it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    issuer: String,
    audience: Audience,
    jwks_url: Option<String>,
    clock_skew_s: Option<u32>,
    email_claim: Option<String>,
    username_claim: Option<String>,
    sub_prefix: Option<String>,
    allow_http: Option<bool>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Reads an entry of the file; an error says what is wrong with it.
pub(super) fn read(value: &toml::Value) -> Result<Entry, String> {
    Entry::deserialize(value.clone()).map_err(|error| error.message().to_owned())
}

impl Entry {
    fn provider(self) -> Provider {
        let defaults = Oidc::default();
        Provider {
            issuer: Some(self.issuer),
            client_ids: match self.audience {
                Audience::One(audience) => vec![audience],
                Audience::Several(audiences) => audiences,
            },
            jwks_url: self.jwks_url,
            allow_unverified: false,
            oidc: Some(Oidc {
                clock_skew_s: self.clock_skew_s.unwrap_or(defaults.clock_skew_s),
                email_claim: self.email_claim.unwrap_or(defaults.email_claim),
                username_claim: self.username_claim.unwrap_or(defaults.username_claim),
                sub_prefix: self.sub_prefix.unwrap_or_default(),
                allow_http: self.allow_http.unwrap_or_default(),
            }),
        }
    }
}

/// The issuers of file and variables. Whoever could be taken for somebody else's user is refused.
pub(super) fn providers(resolved: &Resolved, has_cognito: bool, problems: &mut Vec<Problem>) -> Vec<Provider> {
    let mut entries = resolved.oidc.clone();
    if let Some(Value::Text(issuer)) = resolved.value("oidc.issuer") {
        let audience = match resolved.value("oidc.audience") {
            Some(Value::List(audience)) => audience.clone(),
            _ => Vec::new(),
        };
        entries.push(Entry {
            issuer: issuer.clone(),
            audience: Audience::Several(audience),
            jwks_url: None,
            clock_skew_s: None,
            email_claim: None,
            username_claim: None,
            sub_prefix: None,
            allow_http: None,
        });
    }
    let providers: Vec<Provider> = entries.into_iter().map(Entry::provider).collect();
    let mut wrong = |text: String| problems.push(Problem { name: "oidc".into(), place: String::new(), text });
    for provider in &providers {
        let issuer = provider.issuer.clone().unwrap_or_default();
        if provider.client_ids.is_empty() {
            wrong(format!("{issuer} has no audience: its tokens would be made out to nobody"));
        }
        if issuer.parse::<http::Uri>().ok().and_then(|uri| uri.scheme_str().map(|it| it == "https" || it == "http"))
            != Some(true)
        {
            wrong(format!("{issuer:?} is no address of an issuer"));
        }
    }
    let prefixes = providers.iter().filter_map(|provider| provider.oidc.as_ref()).map(|oidc| oidc.sub_prefix.as_str());
    let mut prefixes: Vec<&str> = has_cognito.then_some("").into_iter().chain(prefixes).collect();
    let all = prefixes.len();
    prefixes.sort_unstable();
    prefixes.dedup();
    if prefixes.len() < all {
        wrong("two issuers have the same sub_prefix, and might call two people the same (Cognito's is empty)".into());
    }
    providers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Sources, gather};

    fn found(file: &str, set: &[(&str, &str)], has_cognito: bool) -> Result<Vec<Provider>, Vec<String>> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let environment: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let sources = Sources { flags: &BTreeMap::new(), environment: &environment, file: Some(path.path()) };
        let resolved = gather(&sources).map_err(|(_, problems)| texts(problems))?;
        let mut problems = Vec::new();
        let providers = providers(&resolved, has_cognito, &mut problems);
        if problems.is_empty() { Ok(providers) } else { Err(texts(problems)) }
    }

    #[test]
    fn issuers_are_read_from_file_and_variables() {
        let file = "[[oidc]]\nissuer = \"https://a.example\"\naudience = \"x\"\nsub_prefix = \"a:\"\nclock_skew_s = 5\n\
            [[oidc]]\nissuer = \"https://b.example\"\naudience = [\"y\", \"z\"]\nsub_prefix = \"b:\"\n";
        let set = [("DB_SYNC_OIDC_ISSUER", "https://c.example"), ("DB_SYNC_OIDC_AUDIENCE", "p,q")];
        let providers = found(file, &set, false).unwrap();
        let issuers: Vec<_> = providers.iter().filter_map(|it| it.issuer.as_deref()).collect();
        assert_eq!(issuers, ["https://a.example", "https://b.example", "https://c.example"]);
        assert_eq!(providers[0].oidc.as_ref().unwrap().clock_skew_s, 5);
        assert_eq!((providers[1].client_ids.len(), providers[2].client_ids.len()), (2, 2));
    }

    #[test]
    fn issuers_that_could_be_confused_are_refused() {
        let one = "[[oidc]]\nissuer = \"https://a.example\"\naudience = \"x\"\n";
        assert!(found(one, &[], false).is_ok());
        assert!(found(one, &[], true).unwrap_err()[0].contains("sub_prefix"));
        assert!(found(&format!("{one}{one}"), &[], false).unwrap_err()[0].contains("sub_prefix"));
        assert!(
            found("[[oidc]]\nissuer = \"https://a\"\naudience = []\n", &[], false).unwrap_err()[0].contains("audience")
        );
        assert!(
            found("[[oidc]]\nissuer = \"a\"\naudience = \"x\"\n", &[], false).unwrap_err()[0].contains("no address")
        );
        let unknown = found("[[oidc]]\nissuer = \"https://a\"\naudience = \"x\"\nskew = 1\n", &[], false).unwrap_err();
        assert!(unknown[0].starts_with("oidc[0] (file): unknown field `skew`"), "{unknown:?}");
    }
}
