//! What changes while the server runs: its configuration with SIGHUP, and its certificate (self-host.md 3.3).

use super::fronts::Shared;
use super::tls::Tls;
use crate::config::Config;
use crate::log::Log;

/// The keys that take effect with SIGHUP; all others need another start.
const RELOADED: [&str; 6] =
    ["log.level", "auth.allow_subs", "auth.allow_emails", "proxy.trusted", "metrics.allow", "min_free_mib"];

/// Whether a key takes effect with SIGHUP.
pub(crate) fn is_reloaded(name: &str) -> bool {
    RELOADED.contains(&name) || name.starts_with("limits.") || name.starts_with("oidc.")
}

/// A configuration that was read again.
pub(crate) struct Reload {
    /// All of it.
    pub(crate) config: Config,
    /// Keys that changed and need another start.
    pub(crate) later: Vec<&'static str>,
}

/// Takes a new certificate into use.
pub(super) fn refresh(shared: &Shared, log: &Log) {
    match shared.tls.as_ref().map(Tls::refresh) {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => log.info("the certificate was read again"),
        Some(Err(error)) => log.warn(&format!("the certificate stays as it is: {error}")),
    }
}

/// Applies what can change while the server runs. A configuration that is wrong changes nothing.
pub(super) fn apply(shared: &Shared, log: &Log, reload: Result<Reload, String>) {
    let Reload { config, later } = match reload {
        Ok(reload) => reload,
        Err(problems) => return log.warn(&format!("the configuration stays as it is: {problems}")),
    };
    log.set_threshold(config.log_level);
    let auth = &shared.service.settings.auth;
    auth.allow.replace(&config.settings.auth.allow);
    auth.set_providers(config.providers);
    shared.trusted.replace(config.trusted);
    shared.metrics_allow.replace(config.metrics_allow);
    shared.space.reserve.replace(config.min_free);
    shared.bounds.change(config.limits);
    shared.places.limit.replace(config.limits.per_address);
    shared.strikes.limit.replace(config.limits.failed_logins);
    shared.service.forget_tokens();
    if later.is_empty() {
        log.info("the configuration was read again");
    } else {
        log.warn(&format!("the configuration was read again; these need another start: {}", later.join(", ")));
    }
}
