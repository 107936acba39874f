//! Files of a session and what it changed (agents.md 20.2). The runtime is asked for each answer; nothing is kept of it here.

use std::rc::Rc;

use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response};
use serde_json::json;
use web::{ResponseBody as _, url};

use super::caller::CallerKind;
use super::{Caller, ok};
use crate::command;
use crate::error::{CORS, Error};
use crate::object::{Platform, Session};
use crate::runtime::{Provider, Runtime, RuntimeError};
use crate::session::decide;
use crate::workspace::{
    Diff, Found, MAX_CHANGED, MAX_ENTRIES, MAX_FILE_BYTES, MAX_OUTPUT_BYTES, MAX_PATCH_BYTES, RelativePath,
};

/// Questions about the tree that one object asks at the same time.
pub(in crate::object) const LOOKS: usize = 2;

pub(super) async fn files<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    let path = RelativePath::parse(&url::query(request.uri(), "path").unwrap_or_default())?;
    let _place = session.looks.enter().ok_or(Error::RateLimited(1))?;
    let runtime = awake(session, caller, request).await?;
    let list = command::list(&runtime.directory, &path, MAX_ENTRIES + 1);
    let said = session.said(&runtime, list, MAX_OUTPUT_BYTES).await.map_err(unread)?;
    match Found::parse(&said).ok_or_else(|| Error::Failed(UNREADABLE.to_owned()))? {
        Found::Missing => Err(Error::NotFound),
        Found::Outside => Err(Error::Forbidden),
        Found::File(size) if size > MAX_FILE_BYTES as u64 => Err(Error::FileTooLarge),
        Found::File(_) => file(session, &runtime, &path).await,
        Found::Folder(mut entries, truncated) => {
            // At most MAX_ENTRIES.
            for entry in &mut entries {
                clean(session, &mut entry.name)?;
            }
            Ok(ok::<P>(&json!({"path": path.as_str(), "entries": entries, "truncated": truncated})))
        }
    }
}

/// The bytes of a file, for no browser to make anything of. Whoever works in the sandbox may put another file in its place meanwhile:
/// that is no more than they could have written into it.
async fn file<P: Platform>(
    session: &Rc<Session<P>>,
    runtime: &Runtime,
    path: &RelativePath,
) -> Result<Response<P::Response>, Error> {
    let whole = format!("{}/{}", runtime.directory, path.as_str());
    let read = session.platform.runtimes(runtime.provider).read_file(runtime, &whole, MAX_FILE_BYTES).await;
    let bytes = read.map_err(unread)?.ok_or(Error::NotFound)?;
    let mut response = Response::new(P::Response::full(bytes));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    CORS.allow(headers);
    Ok(response)
}

pub(super) async fn diff<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    let _place = session.looks.enter().ok_or(Error::RateLimited(1))?;
    let runtime = awake(session, caller, request).await?;
    let base = session.look(|core| core.task.base_branch().map(str::to_owned))?;
    let asked = command::diff(&runtime.directory, base.as_deref(), MAX_CHANGED + 1, MAX_PATCH_BYTES + 1);
    let said = session.said(&runtime, asked, MAX_OUTPUT_BYTES).await.map_err(unread)?;
    let Some(mut diff) = Diff::parse(&said) else {
        let has_none = said.lines().any(|line| line == "agent-tree none");
        return Err(if has_none { Error::NotFound } else { Error::Failed(UNREADABLE.to_owned()) });
    };
    clean(session, &mut diff.patch)?;
    // At most MAX_CHANGED.
    for file in &mut diff.files {
        clean(session, &mut file.path)?;
    }
    let shown = serde_json::to_value(&diff).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(ok::<P>(&shown))
}

const UNREADABLE: &str = "the files could not be read";

fn clean<P: Platform>(session: &Rc<Session<P>>, text: &mut String) -> Result<(), Error> {
    if let Some(clean) = session.look(|core| core.redactor.clean(text))? {
        *text = clean;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn unread(error: RuntimeError) -> Error {
    match error {
        RuntimeError::SandboxMissing(_)
        | RuntimeError::Unavailable(_)
        | RuntimeError::RunnerOffline(_)
        | RuntimeError::RunnerRefused => Error::RuntimeUnavailable,
        _ => Error::Failed(UNREADABLE.to_owned()),
    }
}

/// The runtime, which is not paused. A paused one is resumed only for a person who asks for it.
async fn awake<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Runtime, Error> {
    let (runtime, is_paused) = bound(session)?;
    if !is_paused {
        return Ok(runtime);
    }
    if url::query(request.uri(), "wake").as_deref() != Some("1") {
        return Err(Error::RuntimePaused);
    }
    if caller.kind != CallerKind::User {
        return Err(Error::Forbidden);
    }
    session.steered_by(caller).await?;
    // Whoever is pausing it comes to an end first.
    let _alone = session.saving.lock().await;
    let (mut runtime, is_paused) = bound(session)?;
    if !is_paused {
        return Ok(runtime);
    }
    if session.look(|core| core.state.ending.is_some())? {
        return Err(Error::RequestInProgress);
    }
    session.platform.runtimes(runtime.provider).resume(&mut runtime).await.map_err(unread)?;
    session.compare_tree(&runtime).await?;
    session.change(|core, decide| decide::on_resumed(&mut core.state, decide, &runtime))?;
    Ok(runtime)
}

/// The runtime, and whether it is paused or about to be. The files of a runner are there as long as it is.
fn bound<P: Platform>(session: &Session<P>) -> Result<(Runtime, bool), Error> {
    let found = session.look(|core| {
        let is_left = !core.state.runtime_active || core.state.ending.is_some();
        core.state.runtime.clone().map(|runtime| (runtime, is_left))
    })?;
    let (runtime, is_left) = found.ok_or(Error::RuntimeUnavailable)?;
    if runtime.is_mailbox() {
        // Nobody can ask such a runner anything.
        return Err(Error::RuntimeUnavailable);
    }
    let is_paused = is_left && runtime.sandbox_id.is_some();
    Ok((runtime, is_paused))
}
