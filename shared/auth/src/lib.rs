//! Who is asking: JWT verification, key sets, static and none drivers, admin token, signed links.
//!
//! An [`Authenticator`] turns the token of a request into [`Claims`] (sync.md 3). What it needs of its platform is two
//! ports: a [`Clock`] and a [`KeySetSource`]. It owns the caches, so a process or isolate keeps one for as long as it
//! lives. Whether the user may use a graph is decided elsewhere; [`AccessCache`] remembers the answers.
//!
//! No lock is held while a key set is fetched, and no `Debug` output shows a token, a key or a secret.

mod allow_list;
pub mod asset_link;
mod authenticator;
mod caches;
mod claims;
mod config;
mod guests;
mod issuers;
mod jwt;
mod key_cache;
mod key_set;
mod oidc;
mod refusal;
mod secret;
mod stored;

pub use allow_list::{AllowList, Verdict};
pub use authenticator::{AuthError, Authenticator, Clock, KeySetSource, token_from_request};
pub use caches::AccessCache;
pub use claims::Claims;
pub use config::{Config, ConfigError, Driver, Identity, Provider};
pub use guests::Guests;
pub use issuers::Issuers;
pub use key_set::{FetchError, KEY_SET_BYTES};
pub use oidc::Oidc;
pub use refusal::Refusal;
pub use secret::Secret;
pub use stored::StoredTokens;
