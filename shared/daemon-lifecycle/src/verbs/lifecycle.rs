//! `start`, `stop` and `restart`.

use std::fmt::Write as _;

use serde_json::json;

use super::{Common, Outcome, Start, Stop, Surroundings, limits};
use crate::ensure::{self, Request, Runtime};
use crate::{Error, Limits, Owner, Scope, directory, process, stop};

pub(super) fn start(args: &Start, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let scope = prepared(&args.common, around)?;
    let runtime = ensure(args, &scope, around)?;
    let words = words(&runtime);
    Ok(Outcome { data: data(&scope, &runtime), words, exit: 0 })
}

pub(super) fn restart(args: &Start, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let scope = prepared(&args.common, around)?;
    let stopped = match stop_daemon(&scope, args.common.owner, &limits()) {
        Ok(stopped) => Some(stopped.pid),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let runtime = ensure(args, &scope, around)?;
    let mut data = data(&scope, &runtime);
    if let Some(members) = data.as_object_mut() {
        members.insert("stopped_pid".to_owned(), json!(stopped));
    }
    let address = runtime.record.listen.first().unwrap_or(&runtime.record.endpoint);
    let words = format!("restarted, pid {}, {address}", runtime.record.pid);
    Ok(Outcome { data, words, exit: 0 })
}

pub(super) fn stop(args: &Stop, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let scope = around.scope(&args.common)?;
    let stopped = stop_daemon(&scope, args.common.owner, &Limits { own_end: args.timeout, ..limits() })?;
    let ms = u64::try_from(stopped.took.as_millis()).unwrap_or(u64::MAX);
    let data = json!({ "repo": scope.name(), "pid": stopped.pid, "ended_by": stopped.ended_by.name(), "ms": ms });
    Ok(Outcome { data, words: format!("stopped, pid {} ({})", stopped.pid, stopped.ended_by.name()), exit: 0 })
}

fn stop_daemon(scope: &Scope, requester: Owner, limits: &Limits) -> Result<stop::Stopped, Error> {
    let here = process::here().map_err(process::failed)?;
    stop::stop(scope, requester, &here, limits)
}

/// The scope, with its data directory checked as it was given: what is behind a link is another question than the link.
fn prepared(common: &Common, around: &Surroundings<'_>) -> Result<Scope, Error> {
    // A name that none may have is told before anything is made.
    around.scope(common)?;
    directory::prepare(around.given(common))?;
    around.scope(common)
}

fn ensure(args: &Start, scope: &Scope, around: &Surroundings<'_>) -> Result<Runtime, Error> {
    let runtime = ensure::ensure(&Request {
        scope,
        requester: args.common.owner,
        program: around.program,
        flags: &args.serve,
        limits: Limits { silence: args.timeout, hang: args.hang_limit, ..limits() },
        take_over: args.take_over,
        force: args.force,
        // This process ends at once: a desktop app that wants its daemon attached starts it itself.
        attached: false,
    })?;
    if let Some(registry) = &around.registry {
        // A hint: without it `list` has to be told the directory.
        let _ = registry.add(scope.directory());
    }
    Ok(runtime)
}

fn data(scope: &Scope, runtime: &Runtime) -> serde_json::Value {
    let record = &runtime.record;
    json!({
        "repo": scope.name(), "owned": runtime.owned, "started": runtime.started, "pid": record.pid,
        "owner": record.owner, "endpoint": record.endpoint, "listen": record.listen, "revision": record.revision,
        "recovered_pids": runtime.recovered, "replaced_pid": runtime.replaced.as_ref().map(|stopped| stopped.pid),
    })
}

fn words(runtime: &Runtime) -> String {
    let record = &runtime.record;
    let address = record.listen.first().unwrap_or(&record.endpoint);
    let mut words = if runtime.started {
        format!("started, pid {}, {address}", record.pid)
    } else {
        format!("already running, pid {}, owner {}, {address}", record.pid, record.owner)
    };
    if !runtime.recovered.is_empty() {
        let pids: Vec<String> = runtime.recovered.iter().map(u32::to_string).collect();
        let _ = write!(words, "\nended without a lock: pid {}", pids.join(", "));
    }
    words
}
