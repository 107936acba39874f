//! Registering with the user's token, and the runner's own token, which is asked with from then on (docs/spec/session-mailbox.md 7.2).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::driver::Driver;
use crate::api::{Api, Refused};
use crate::failure::Failure;
use crate::program::{on_path, write_once};
use crate::settings::Settings;

/// A token of this age is replaced.
pub(crate) const AGE: Duration = Duration::from_hours(24);

/// The file of the runner's token.
pub(crate) fn token_file(state: &Path) -> PathBuf {
    state.join("token")
}

/// The token that is stored, and how old it is.
///
/// # Errors
/// What the system refuses.
pub(crate) fn stored(state: &Path) -> Result<Option<(String, Duration)>, Failure> {
    let path = token_file(state);
    let wrong = |error| Failure::other(path.display(), error);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(wrong)?;
            Ok(Some((text.trim().to_owned(), changed.elapsed().unwrap_or_default())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error)),
    }
}

/// Stores a token, to the disk, before it is used.
///
/// # Errors
/// What the system refuses.
pub(crate) fn store(state: &Path, token: &str) -> Result<(), Failure> {
    let path = token_file(state);
    write_once(&path, token).map_err(|error| Failure::other(path.display(), error))
}

/// Forgets the token.
///
/// # Errors
/// What the system refuses.
pub(crate) fn forget(state: &Path) -> Result<(), Failure> {
    let path = token_file(state);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::other(path.display(), error)),
        _ => Ok(()),
    }
}

/// What a registration gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// The runner's token.
    Token(String),
    /// The worker offers no mailbox; why.
    NotOffered(String),
}

/// Registers the runner.
pub(crate) async fn register(api: &Api<'_>, instance: &str, driver: &Driver) -> Result<Registered, Refused> {
    let body = registration(api.settings, instance, driver).to_string();
    let answer = api.ask(Method::POST, "/runners", Some(body)).await.map_err(Refused::Later)?;
    let token = || Some(answer.body.as_ref()?.get("runner-token")?.as_str()?.to_owned());
    let text = answer.body.as_ref().and_then(|body| body.get("error")?.as_str()).unwrap_or_default();
    match (answer.status, text) {
        (StatusCode::OK, _) => {
            let none = || "it answers without a token for the runner".to_owned();
            Ok(token().map_or_else(|| Registered::NotOffered(none()), Registered::Token))
        }
        (StatusCode::BAD_REQUEST, _) | (StatusCode::CONFLICT, "mailbox transport is off") => {
            Ok(Registered::NotOffered(answer.refusal()))
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            Err(Refused::ForGood(Failure::Unauthorized(answer.refusal())))
        }
        (status, _) if matches!(status.as_u16(), 408 | 429 | 500..=599) => Err(Refused::Later(answer.refusal())),
        _ => Err(Refused::ForGood(Failure::Other(format!("the registration is refused: {}", answer.refusal())))),
    }
}

fn registration(settings: &Settings, instance: &str, driver: &Driver) -> Value {
    let agents = settings.tables.names().into_iter().filter_map(|id| {
        let agent = settings.tables.agent(&id)?;
        let is_there = Path::new(&agent.command).is_absolute() || on_path(&agent.command).is_some();
        is_there.then(|| json!({"id": id, "ready": true}))
    });
    json!({
        "runner-id": settings.runner_id,
        "transport": "mailbox",
        "instance-id": instance,
        "max-sessions": settings.max_sessions,
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "drivers": [driver.name()],
        "agents": agents.collect::<Vec<_>>(),
        "capabilities": ["push"],
        "replace": settings.mailbox.replace,
    })
}

/// The shim, at the place where sessions see it. A newer one takes the place of an older one.
///
/// # Errors
/// When there is none.
pub(crate) fn share(settings: &Settings, state: &Path) -> Result<PathBuf, Failure> {
    const NAME: &str = "agent-shim";
    let share = state.join("share");
    let wrong = |error: std::io::Error| Failure::other(share.display(), error);
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(NAME));
    let shared = share.join(NAME);
    let found = settings
        .mailbox
        .shim
        .clone()
        .or_else(|| beside().filter(|path| path.is_file()))
        .or_else(|| Some(shared.clone()).filter(|path| path.is_file()))
        .or_else(|| on_path(NAME));
    let found = found.ok_or_else(|| {
        Failure::Configuration("RUNNER_SHIM: agent-shim is neither beside this program nor on the path".to_owned())
    })?;
    std::fs::create_dir_all(&share).map_err(wrong)?;
    if found != shared {
        let content = std::fs::read(&found)
            .map_err(|error| Failure::Configuration(format!("RUNNER_SHIM: {}: {error}", found.display())))?;
        if std::fs::read(&shared).ok().as_ref() != Some(&content) {
            use std::os::unix::fs::PermissionsExt as _;
            // Aside first: a process may run the old one.
            let aside = share.join("agent-shim.new");
            std::fs::write(&aside, content).map_err(wrong)?;
            std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).map_err(wrong)?;
            std::fs::rename(&aside, &shared).map_err(wrong)?;
        }
    }
    Ok(share)
}
