//! Settings of authentication.

use crate::issuers::Issuers;
use crate::{AllowList, Claims, Guests, Oidc, Secret, StoredTokens, jwt};
use protocol::limits::TOKEN_BYTES;
use serde_json::{Map, Value};
use std::sync::Arc;

/// How callers are authenticated, and the secrets beside tokens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who vouches for callers.
    pub driver: Driver,
    /// Further identity providers, which may change while the server runs.
    pub issuers: Issuers,
    /// The tokens of users whom the server itself knows; they count beside those of every driver but `none`.
    pub stored: Option<Arc<dyn StoredTokens>>,
    /// Which of those may enter for whom an issuer vouches.
    pub allow: AllowList,
    /// `DB_SYNC_ADMIN_TOKEN`: the operator's token (sync.md 3.5).
    pub admin_token: Option<Secret>,
    /// `ASSET_LINK_SECRET`: signs links to assets (sync.md 6.4).
    pub asset_link_secret: Option<Secret>,
}

/// Who vouches for callers: `DB_SYNC_AUTH_DRIVER` (sync.md 3.6).
#[derive(Clone, Debug)]
pub enum Driver {
    /// `cognito`, the default: tokens of an identity provider.
    Cognito(Provider),
    /// `static`: whoever has the one token is the one user.
    Static {
        /// `DB_SYNC_AUTH_TOKEN`.
        token: Secret,
        /// Who that is.
        identity: Identity,
    },
    /// Several of the above at once.
    Several {
        /// The identity providers; none vouches for what another has issued.
        providers: Vec<Provider>,
        /// The one token and whose it is.
        fixed: Option<(Secret, Identity)>,
    },
    /// `none`: everybody is the one user.
    None {
        /// Who that is.
        identity: Identity,
        /// Whose web pages may speak for that user.
        guests: Guests,
    },
}

impl Driver {
    /// The identity providers whose tokens count.
    fn providers(&self) -> &[Provider] {
        match self {
            Self::Cognito(provider) => std::slice::from_ref(provider),
            Self::Several { providers, .. } => providers,
            Self::Static { .. } | Self::None { .. } => &[],
        }
    }

    /// The one token, and whose it is.
    fn fixed(&self) -> Option<(&Secret, &Identity)> {
        match self {
            Self::Static { token, identity } => Some((token, identity)),
            Self::Several { fixed, .. } => fixed.as_ref().map(|(token, identity)| (token, identity)),
            Self::Cognito(_) | Self::None { .. } => None,
        }
    }
}

/// The identity provider whose tokens count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// `COGNITO_ISSUER`: the `iss` of its tokens. None: no token counts.
    pub issuer: Option<String>,
    /// `COGNITO_CLIENT_ID` and `COGNITO_CLIENT_IDS`: who its tokens may be made out to. Empty: no token counts.
    pub client_ids: Vec<String>,
    /// `COGNITO_JWKS_URL`: its public keys.
    pub jwks_url: Option<String>,
    /// `DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS`: tokens count unverified while the keys cannot be fetched (sync.md 3.2).
    pub allow_unverified: bool,
    /// How its tokens are read where it is no Cognito pool; without an address of its keys it is asked for that.
    pub oidc: Option<Oidc>,
}

/// The only user of the `static` and `none` drivers.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity(Claims);

impl Identity {
    /// A user of that id.
    pub fn new(user_id: &str, email: Option<&str>, username: Option<&str>) -> Self {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), Value::from(user_id));
        if let Some(email) = email {
            claims.insert("email".to_owned(), Value::from(email));
        }
        if let Some(username) = username {
            claims.insert("username".to_owned(), Value::from(username));
            // The claim that the index stores.
            claims.insert("cognito:username".to_owned(), Value::from(username));
        }
        Self(Claims::own(claims))
    }

    pub(crate) fn claims(&self) -> Claims {
        self.0.clone()
    }
}

/// Why the settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `DB_SYNC_AUTH_DRIVER` names none of the drivers.
    #[error("DB_SYNC_AUTH_DRIVER must be cognito, static or none, not {0:?}")]
    UnknownDriver(String),
    /// The `static` driver has no token to compare with.
    #[error("DB_SYNC_AUTH_DRIVER=static needs DB_SYNC_AUTH_TOKEN")]
    MissingToken,
    /// The configured token is longer than a request's token may be.
    #[error("DB_SYNC_AUTH_TOKEN is longer than {TOKEN_BYTES} bytes")]
    TokenTooLong,
    /// `COGNITO_JWKS_URL` is nothing that can be fetched.
    #[error("COGNITO_JWKS_URL must be an address such as https://keys.example/jwks.json, not {0:?}")]
    NoKeysUrl(String),
    /// An entry of `DB_SYNC_ALLOW_ORIGINS` is no origin.
    #[error("DB_SYNC_ALLOW_ORIGINS must list origins such as https://notes.example, not {0:?}")]
    NoOrigin(String),
    /// An entry of `DB_SYNC_ALLOW_HOSTS` is no host.
    #[error("DB_SYNC_ALLOW_HOSTS must list host names such as notes.example, not {0:?}")]
    NoHost(String),
}

impl Config {
    /// Reads the settings by their names. An empty value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let secret = |name: &str| get(name).and_then(Secret::new);
        let identity = || {
            let user_id = get("DB_SYNC_STATIC_USER_ID");
            Identity::new(
                user_id.as_deref().unwrap_or("user"),
                get("DB_SYNC_STATIC_EMAIL").as_deref(),
                get("DB_SYNC_STATIC_USERNAME").as_deref(),
            )
        };
        let cognito = || -> Result<Provider, ConfigError> {
            Ok(Provider {
                issuer: get("COGNITO_ISSUER"),
                client_ids: client_ids(get("COGNITO_CLIENT_ID"), get("COGNITO_CLIENT_IDS")),
                jwks_url: get("COGNITO_JWKS_URL").map(keys_url).transpose()?,
                allow_unverified: get("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS").is_some_and(|value| is_truthy(&value)),
                oidc: None,
            })
        };
        let fixed = || {
            let token = get("DB_SYNC_AUTH_TOKEN").ok_or(ConfigError::MissingToken)?;
            if token.len() > TOKEN_BYTES {
                return Err(ConfigError::TokenTooLong);
            }
            Ok((Secret::new(token).ok_or(ConfigError::MissingToken)?, identity()))
        };
        let driver = match get("DB_SYNC_AUTH_DRIVER").map(|name| name.to_lowercase()).as_deref() {
            None | Some("cognito") => Driver::Cognito(cognito()?),
            Some("static") => {
                let (token, identity) = fixed()?;
                Driver::Static { token, identity }
            }
            // Nobody but users whom the server itself knows.
            Some("stored") => Driver::Several { providers: Vec::new(), fixed: None },
            Some("cognito,static" | "static,cognito") => {
                Driver::Several { providers: vec![cognito()?], fixed: Some(fixed()?) }
            }
            Some("none") => {
                let list = |name| get(name).unwrap_or_default();
                let guests = Guests::parse(&list("DB_SYNC_ALLOW_ORIGINS"), &list("DB_SYNC_ALLOW_HOSTS"))?;
                Driver::None { identity: identity(), guests }
            }
            Some(other) => return Err(ConfigError::UnknownDriver(other.to_owned())),
        };
        let issuers = Issuers::new(driver.providers().to_vec());
        Ok(Self {
            driver,
            issuers,
            stored: None,
            allow: AllowList::parse(
                &get("DB_SYNC_ALLOW_SUBS").unwrap_or_default(),
                &get("DB_SYNC_ALLOW_EMAILS").unwrap_or_default(),
            ),
            admin_token: secret("DB_SYNC_ADMIN_TOKEN"),
            asset_link_secret: secret("ASSET_LINK_SECRET"),
        })
    }

    /// Whether the header `x-db-sync-admin-token` is the operator's token.
    pub fn is_admin(&self, header: Option<&str>) -> bool {
        match (&self.admin_token, header) {
            (Some(token), Some(header)) => token.matches(header),
            _ => false,
        }
    }

    /// The warning to log at the start when callers are let in without a verified token.
    pub fn warning(&self) -> Option<&'static str> {
        match &self.driver {
            Driver::Cognito(Provider { allow_unverified: true, .. }) => {
                Some("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS: forged tokens count while the key set cannot be fetched")
            }
            Driver::Cognito(_) | Driver::Several { .. } => None,
            Driver::Static { .. } => Some("DB_SYNC_AUTH_DRIVER=static: whoever has the token is the one user"),
            Driver::None { .. } => Some("DB_SYNC_AUTH_DRIVER=none: every caller is the one user"),
        }
    }

    /// Which web pages are let in, for the driver `none`. None for the other drivers: they go by the token.
    pub fn guests(&self) -> Option<&Guests> {
        match &self.driver {
            Driver::None { guests, .. } => Some(guests),
            Driver::Cognito(_) | Driver::Static { .. } | Driver::Several { .. } => None,
        }
    }

    /// Whether a request without a token may have claims.
    pub fn accepts_missing_token(&self) -> bool {
        matches!(self.driver, Driver::None { .. })
    }

    /// The claims of a token that the front worker has verified already (sync.md 2.3, 7.1). Its signature is not
    /// checked again, so this must never decide whether a request is let in.
    pub fn verified_before(&self, token: Option<&str>) -> Option<Claims> {
        if let Driver::None { identity, .. } = &self.driver {
            return Some(identity.claims());
        }
        let token = token?;
        if let Some(own) = self.own_claims(token) {
            return Some(own);
        }
        let claims = jwt::payload(token)?;
        let issuers = self.issuers.get();
        match issuers.iter().find(|issuer| issuer.provider.has_issued(&claims)) {
            Some(issuer) => Some(issuer.provider.read(claims)),
            // Of a single pool nothing is compared again.
            None => (matches!(self.driver, Driver::Cognito(_)) && issuers.len() == 1).then_some(claims),
        }
    }

    /// Where the keys of each identity provider are, or where it says where they are.
    pub fn key_addresses(&self) -> Vec<String> {
        let address = |provider: &Provider| {
            let issuer = provider.issuer.as_deref().map(crate::oidc::discovery_url);
            provider.jwks_url.clone().or(issuer)
        };
        self.issuers.get().iter().filter_map(|issuer| address(&issuer.provider)).collect()
    }

    /// Lets these identity providers vouch beside the driver's own, in place of those that were added before. Where nobody is asked
    /// for a token there are none.
    pub fn set_providers(&self, more: Vec<Provider>) {
        if !matches!(self.driver, Driver::None { .. }) {
            self.issuers.replace([self.driver.providers().to_vec(), more].concat());
        }
    }

    /// The claims of a token that the server itself has given out, or was configured with.
    pub fn own_claims(&self, token: &str) -> Option<Claims> {
        let fixed = self.driver.fixed().filter(|(secret, _)| secret.matches(token));
        fixed.map(|(_, identity)| identity.claims()).or_else(|| self.stored.as_ref()?.claims(token))
    }
}

/// An address that keys can be fetched from: a scheme and a host at least.
fn keys_url(text: String) -> Result<String, ConfigError> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => Ok(text),
        _ => Err(ConfigError::NoKeysUrl(text)),
    }
}

/// The allow-list of client ids: entries of the list are trimmed, blank ones ignored.
fn client_ids(one: Option<String>, list: Option<String>) -> Vec<String> {
    let list = list.unwrap_or_default();
    let listed = list.split(',').map(str::trim).map(str::to_owned);
    one.into_iter().chain(listed).filter(|id| !id.trim().is_empty()).collect()
}

fn is_truthy(value: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn provider(settings: &[(&str, &str)]) -> Provider {
        match config(settings).unwrap().driver {
            Driver::Cognito(provider) => provider,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn client_ids_are_trimmed_and_fail_closed() {
        let ids = |settings: &[(&str, &str)]| provider(settings).client_ids;
        assert_eq!(ids(&[("COGNITO_CLIENT_ID", "a"), ("COGNITO_CLIENT_IDS", " b ,, c,  ")]), ["a", "b", "c"]);
        assert_eq!(ids(&[("COGNITO_CLIENT_IDS", "b")]), ["b"]);
        assert!(ids(&[]).is_empty());
        assert!(ids(&[("COGNITO_CLIENT_ID", " "), ("COGNITO_CLIENT_IDS", " , ")]).is_empty());
    }

    #[test]
    fn drivers_are_chosen_explicitly() {
        assert!(matches!(config(&[]).unwrap().driver, Driver::Cognito(_)));
        assert!(matches!(config(&[("DB_SYNC_AUTH_DRIVER", "")]).unwrap().driver, Driver::Cognito(_)));
        assert!(matches!(config(&[("DB_SYNC_AUTH_DRIVER", "None")]).unwrap().driver, Driver::None { .. }));
        let token = ("DB_SYNC_AUTH_TOKEN", "t");
        assert!(matches!(config(&[("DB_SYNC_AUTH_DRIVER", "STATIC"), token]).unwrap().driver, Driver::Static { .. }));
        let error = |settings: &[(&str, &str)]| config(settings).unwrap_err();
        assert_eq!(error(&[("DB_SYNC_AUTH_DRIVER", "static")]), ConfigError::MissingToken);
        assert_eq!(error(&[("DB_SYNC_AUTH_DRIVER", "Ldap"), token]), ConfigError::UnknownDriver("ldap".to_owned()));
        let long = "x".repeat(TOKEN_BYTES + 1);
        let long = [("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", &*long)];
        assert_eq!(error(&long), ConfigError::TokenTooLong);
    }

    #[test]
    fn keys_come_from_an_address() {
        let url = |text| config(&[("COGNITO_JWKS_URL", text)]).map(|_| ());
        for right in ["", "https://keys.example/jwks.json", "http://127.0.0.1:8799/jwks.json"] {
            assert_eq!(url(right), Ok(()), "{right}");
        }
        for wrong in
            ["keys.example", "https://", "https:///jwks.json", "ftp://keys.example", "https://keys.example/a b"]
        {
            assert_eq!(url(wrong), Err(ConfigError::NoKeysUrl(wrong.to_owned())));
        }
    }

    #[test]
    fn lists_of_guests_are_read_where_nobody_has_a_token() {
        let origins = ("DB_SYNC_ALLOW_ORIGINS", "https://notes.example");
        let guests = |driver| config(&[("DB_SYNC_AUTH_DRIVER", driver), origins]).unwrap().guests().cloned();
        assert!(guests("none").unwrap().admits_origin("https://notes.example"));
        assert_eq!(guests("cognito"), None);
        let wrong = config(&[("DB_SYNC_AUTH_DRIVER", "none"), ("DB_SYNC_ALLOW_ORIGINS", "*")]).unwrap_err();
        assert_eq!(wrong, ConfigError::NoOrigin("*".to_owned()));
    }

    #[test]
    fn the_unverified_flag_must_be_said_plainly() {
        let flag = |value| provider(&[("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", value)]).allow_unverified;
        assert!(["1", "true", "TRUE", "yes", "On"].into_iter().all(flag));
        assert!(!["", "0", "false", "no", "off", "2", "true "].into_iter().any(flag));
        assert!(config(&[("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", "1")]).unwrap().warning().is_some());
        assert!(config(&[]).unwrap().warning().is_none());
    }

    #[test]
    fn the_admin_token_is_compared_whole() {
        let config_with = config(&[("DB_SYNC_ADMIN_TOKEN", "admin-secret")]).unwrap();
        assert!(config_with.is_admin(Some("admin-secret")));
        for header in [None, Some(""), Some("admin-secre"), Some("admin-secret "), Some("Admin-secret")] {
            assert!(!config_with.is_admin(header), "{header:?}");
        }
        for header in [None, Some(""), Some("x")] {
            assert!(
                !config(&[]).unwrap().is_admin(header)
                    && !config(&[("DB_SYNC_ADMIN_TOKEN", "")]).unwrap().is_admin(header)
            );
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let settings = [
            ("DB_SYNC_AUTH_DRIVER", "static"),
            ("DB_SYNC_AUTH_TOKEN", "hidden-1"),
            ("DB_SYNC_ADMIN_TOKEN", "hidden-2"),
            ("ASSET_LINK_SECRET", "hidden-3"),
            ("DB_SYNC_STATIC_EMAIL", "hidden@example.com"),
        ];
        let printed = format!("{:?}", config(&settings).unwrap());
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
