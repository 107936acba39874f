//! Creating a session, or finding it again (agents.md 3.6).

use std::rc::Rc;

use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::repeated::{self, Repeat};
use super::status::runtime_members;
use super::{Caller, body, ok};
use crate::error::Error;
use crate::event::Draft;
use crate::object::{Platform, Session};
use crate::repository::BranchName;
use crate::runtime::{ProviderKind, RuntimeError};
use crate::session::State;
use crate::session::budget::Budget;
use crate::session::decide::{self, Provisioned};
use crate::session::store::Rows;
use crate::task::{Task, TaskSecrets};

/// How often, and for how long, a creation waits for another one of the same session, in milliseconds.
const LOOK_MS: u32 = 50;
const WAIT_MS: u32 = 60_000;

#[derive(Deserialize)]
struct Init {
    task: Task,
    #[serde(default)]
    secrets: TaskSecrets,
    /// What the session may use.
    #[serde(default)]
    budget: Option<Budget>,
    /// The snapshot that the client knows of (B3).
    #[serde(default, rename = "snapshot-id")]
    snapshot_id: Option<String>,
}

pub(super) async fn create<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?.to_owned();
    let base =
        request.headers().get("x-stream-base").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (init, bytes): (Init, _) = body::<P, _>(request).await?;
    if init.task.id().is_empty() {
        return Err(Error::InvalidSessionId);
    }
    wait_for_others(session).await?;
    let is_new = !session.load()?;
    if is_new {
        let _creating = session.creating();
        make(session, &user, init, &base).await?;
    } else {
        session.seen_by(caller).await?;
    }
    let taken = match repeated::begin(session, caller, request, &bytes)? {
        Repeat::Answered(response) => return Ok(response),
        Repeat::First(taken) => Some(taken),
        Repeat::Unkeyed => None,
    };
    let answer = provided(session, &base).await;
    if let Some(taken) = taken {
        taken.finish(session, &answer)?;
    }
    Ok(ok::<P>(&answer?))
}

/// Somebody else may be creating the same session, or an earlier one of its name may still be going away.
async fn wait_for_others<P: Platform>(session: &Rc<Session<P>>) -> Result<(), Error> {
    let mut waited = 0;
    while session.is_being_created() || session.is_being_removed()? {
        if waited >= WAIT_MS {
            return Err(Error::RequestInProgress);
        }
        session.platform.sleep_ms(LOOK_MS).await;
        waited = waited.saturating_add(LOOK_MS);
    }
    Ok(())
}

async fn make<P: Platform>(session: &Rc<Session<P>>, user: &str, init: Init, origin: &str) -> Result<(), Error> {
    let Init { mut task, mut secrets, budget, snapshot_id } = init;
    let budget = budget.unwrap_or_else(|| session.settings.session.budget_session.clone());
    session.admit_graph(user, &task).await?;
    session.check_active_sessions(user).await?;
    session.check_seal(&task)?;
    session.check_broker(&task)?;
    session.check_installation(&task).await?;
    let wish = ["base-branch", "branch"].into_iter().find_map(|key| task.project().get(key)?.as_str());
    let asked = BranchName::wish(wish);
    let branch_asked = asked.is_some();
    let base = match asked {
        Some(branch) => Some(branch),
        // A task without a repository has no branch.
        None if task.repo_url().is_none() => None,
        None => session.default_branch(&task).await.or_else(|| BranchName::wish(Some("main"))),
    };
    if let Some(base) = &base {
        task.set_base_branch(base);
    }
    let now = session.platform.now_ms();
    let service_url = Some(origin.to_owned()).filter(|origin| !origin.is_empty());
    let state =
        State { branch_asked, snapshot_hint: snapshot_id, budget, service_url, ..State::new(task.id(), user, now) };
    session.take_secret_variables(&mut task, &mut secrets);
    store(session, user, &state, &task, &secrets)
}

fn store<P: Platform>(
    session: &Rc<Session<P>>,
    user: &str,
    state: &State,
    task: &Task,
    secrets: &TaskSecrets,
) -> Result<(), Error> {
    let sealed = session.seal_task_secrets(state, secrets)?;
    let sql = session.platform.sql();
    let rows = Rows(sql);
    database::local::Sql::transaction(sql, &mut || {
        rows.create()?;
        rows.put_json("state", state)?;
        rows.put_json("task", task)?;
        match &sealed {
            Some(sealed) => rows.put("secrets", sealed),
            None => Ok(()),
        }
    })?;
    session.forget();
    session.load()?;
    session.change(|core, decide| {
        let attachments = core.task.attachments();
        let draft = Draft::session_created(user, core.task.project(), core.task.agent(), &attachments);
        decide.append(&mut core.state, draft);
    })?;
    Ok(())
}

/// The answer, once there is a runtime, or its template is being built.
async fn provided<P: Platform>(session: &Rc<Session<P>>, base: &str) -> Result<Value, Error> {
    let work = session.change(|core, decide| {
        let state = &mut core.state;
        if state.runtime.is_some() || state.build.is_some() {
            return None;
        }
        let running = state.provisioning.map(|work| work.lease.generation);
        Some(running.unwrap_or_else(|| decide::begin_provisioning(state, decide, false)))
    })?;
    if let Some(generation) = work {
        let outcome = session.outcome(generation).await.unwrap_or(Provisioned::Late);
        match outcome {
            Provisioned::Ready => session.wait_for_opening().await?,
            Provisioned::Building => {}
            Provisioned::Late => return Err(Error::RequestInProgress),
            Provisioned::Failed(error) => return Err(refused(error)),
        }
    } else {
        session.attach();
    }
    session.look(|core| {
        let mut answer = runtime_members(core);
        let is_wanted = session.settings.runtime.egress.is_some() || core.task.egress().is_some();
        let provider = core.state.runtime.as_ref().map(|runtime| runtime.provider);
        let is_in_sandbox = provider.unwrap_or_else(|| session.provider_kind(&core.task)) == ProviderKind::E2b;
        let is_done = session.settings.runtime.egress.is_some() && is_in_sandbox;
        if is_wanted && !is_done {
            answer.insert("egress".to_owned(), "unrestricted".into());
        }
        if core.state.build.is_some() {
            let kind = ProviderKind::E2b;
            answer.insert("runtime-provider".to_owned(), kind.as_str().into());
            answer.insert("terminal-enabled".to_owned(), kind.has_terminal().into());
        }
        let id = &core.state.id;
        answer.insert("session-id".to_owned(), id.as_str().into());
        answer.insert("status".to_owned(), core.state.status.as_str().into());
        answer.insert("stream-url".to_owned(), json!(format!("{base}/sessions/{id}/stream")));
        Value::Object(answer)
    })
}

/// Why there is no runtime, for whoever creates a session.
fn refused(error: RuntimeError) -> Error {
    match error {
        RuntimeError::Setting("local-runner-unavailable") => Error::RunnerUnavailable,
        other => Error::Internal(other.to_string()),
    }
}
