//! Verbs that list sessions, or say farewell, without a running runner (docs/spec/session-mailbox.md 8.1).

use std::fmt::Write as _;

use http::Method;
use mailbox::host::{HostMailbox as _, Settings as HostSettings};
use mailbox::{FileHost, Places};
use serde_json::{Value, json};

use crate::api::Api;
use crate::failure::Failure;
use crate::http::Client;
use crate::relay::process::Identity;
use crate::relay::records::{self, Session, Spawn};
use crate::relay::register;
use crate::settings::Settings;

/// The columns of a table.
const HEAD: [&str; 8] = ["SESSION", "STATE", "GEN", "DRIVER", "QUEUED", "UNSENT", "PID", "LAST"];
/// Outputs that are counted.
const COUNTED: usize = 1_000;

/// What is told of a session.
struct Told {
    session: String,
    state: String,
    generation: i64,
    driver: &'static str,
    queued: usize,
    unsent: usize,
    pid: Option<u32>,
    last: Option<i64>,
}

impl Told {
    fn of(settings: &Settings, places: &Places, session: String) -> Result<Self, mailbox::Error> {
        let host = FileHost::look_at(
            places.clone(),
            HostSettings { max_bytes: settings.mailbox.max_bytes, ..HostSettings::default() },
        )?;
        let known = Session::read(places).unwrap_or_default();
        let spawn = Spawn::read(places).ok().flatten();
        let pid = spawn.as_ref().and_then(|spawn| spawn.process.as_ref()).filter(|it| it.lives()).map(Identity::pid);
        let seen = host.seen(&[]).ok().flatten().unwrap_or_default();
        let phase = seen.state.as_ref().filter(|_| pid.is_some()).map(|state| state.phase.as_str());
        let state = match (known.closed_at, &known.closing, phase) {
            (Some(_), ..) => "closed",
            (_, Some(_), _) => "closing",
            (.., Some(phase)) => phase,
            _ => "stopped",
        };
        Ok(Self {
            session,
            state: state.to_owned(),
            generation: host.control()?.generation,
            driver: spawn.map_or("-", |spawn| spawn.driver.name()),
            queued: host.unfinished()?.len(),
            unsent: host.unsent(COUNTED).unwrap_or_default(),
            pid,
            last: seen.state.and_then(|state| state.progress_at),
        })
    }

    fn cells(&self) -> [String; 8] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            self.session.clone(),
            self.state.clone(),
            self.generation.to_string(),
            self.driver.to_owned(),
            self.queued.to_string(),
            self.unsent.to_string(),
            or_none(self.pid.map(|pid| pid.to_string())),
            or_none(self.last.and_then(time)),
        ]
    }

    fn as_json(&self) -> Value {
        json!({
            "session-id": self.session, "state": self.state, "generation": self.generation, "driver": self.driver,
            "queued": self.queued, "unsent": self.unsent, "pid": self.pid, "last-at": self.last,
        })
    }
}

fn time(ms: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(ms / 1_000).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}

/// The sessions of this machine, as a table or as JSON; with `all` also those that were ended.
pub(crate) fn sessions(settings: &Settings, all: bool, as_json: bool) -> Result<String, Failure> {
    let state = match settings.state_dir.canonicalize() {
        Ok(state) => state,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(table(&[], as_json)),
        Err(error) => return Err(Failure::other(settings.state_dir.display(), error)),
    };
    let wrong = |error: std::io::Error| Failure::other(state.display(), error);
    let mut told = Vec::new();
    // As many as the runner has made.
    for session in records::sessions(&state).map_err(wrong)? {
        let places = Places::of(&state, &session);
        match Told::of(settings, &places, session.clone()) {
            Ok(one) if all || one.state != "closed" => told.push(one),
            Ok(_) => {}
            Err(error) => told.push(Told {
                session,
                state: error.code().to_owned(),
                generation: 0,
                driver: "-",
                queued: 0,
                unsent: 0,
                pid: None,
                last: None,
            }),
        }
    }
    Ok(table(&told, as_json))
}

fn table(told: &[Told], as_json: bool) -> String {
    if as_json {
        let sessions: Vec<Value> = told.iter().map(Told::as_json).collect();
        return format!("{}\n", json!({"status": "ok", "data": {"sessions": sessions}}));
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(told.iter().map(Told::cells));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _infallible = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    let _infallible = writeln!(text, "Count: {}", told.len());
    text
}

/// Deletes the runner at the worker, and its token here. True when the worker knew it.
pub(crate) async fn unregister(settings: &Settings) -> Result<bool, Failure> {
    let client = Client::new();
    let stored = register::stored(&settings.state_dir)?;
    let token = stored.map_or_else(|| settings.token.clone(), |(token, _)| token);
    let as_runner = Settings { token, ..settings.clone() };
    let path = format!("/runners/{}", web::url::encode(&settings.runner_id));
    let asked = Api { client: &client, settings: &as_runner }.ask(Method::DELETE, &path, None).await;
    let mut answer = asked.map_err(Failure::Unreachable)?;
    if answer.status == http::StatusCode::UNAUTHORIZED {
        // A token that counts no more: the user's does.
        let asked = Api { client: &client, settings }.ask(Method::DELETE, &path, None).await;
        answer = asked.map_err(Failure::Unreachable)?;
    }
    match answer.status.as_u16() {
        200..=299 | 404 => {
            register::forget(&settings.state_dir)?;
            Ok(answer.status != http::StatusCode::NOT_FOUND)
        }
        401 | 403 => Err(Failure::Unauthorized(answer.refusal())),
        _ => Err(Failure::Other(format!("the worker does not delete the runner: {}", answer.refusal()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_with_a_count() {
        assert_eq!(table(&[], false), "SESSION  STATE  GEN  DRIVER  QUEUED  UNSENT  PID  LAST\nCount: 0\n");
        let told = Told {
            session: "s1".into(),
            state: "running".into(),
            generation: 2,
            driver: "plain",
            queued: 1,
            unsent: 0,
            pid: Some(7),
            last: Some(0),
        };
        let text = table(&[told], false);
        assert!(
            text.contains("s1       running  2    plain   1       0       7    1970-01-01T00:00:00Z\nCount: 1\n"),
            "{text}"
        );
    }
}
