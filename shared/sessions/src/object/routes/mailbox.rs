//! What the object of a runner asks, and what the runner itself says of the session (session-mailbox.md 7.3–7.6).

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use transcripts::limits::TOKEN_S;
use transcripts::run_token::{Claims, GIT, READ, Run, WRITE};

use super::caller::CallerKind;
use super::{Caller, body};
use crate::error::{CORS, Error};
use crate::mailbox::Presence;
use crate::mailbox::answer::add_tools;
use crate::mailbox::desk::{self, Claim, Desk, Given, ItemKind, Verdict};
use crate::mailbox::store::MailboxRows;
use crate::object::core::Core;
use crate::object::mailbox::at_desk;
use crate::object::{Platform, Session};
use crate::request::mailbox::{Report, acks_of, events};
use crate::runner_object::{KEY, presence_of};
use crate::session::decide::Decide;
use crate::session::git_access::HELD_UNDER;
use crate::session::transcript::run_name;

/// What a runner may do for a run that goes on.
const OF_RUN: &[&str] = &[READ, WRITE, GIT];

/// A runner, as its object says.
pub(in crate::object) struct Runner {
    key: String,
    presence: Option<Presence>,
}

impl Runner {
    /// The key of its object.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The runner of a request. Only objects of the service are let in.
    pub(in crate::object) fn of<B>(caller: &Caller, request: &Request<B>) -> Result<Self, Error> {
        let key = request.headers().get(KEY).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let key = key.filter(|_| caller.kind == CallerKind::Service).ok_or(Error::NotFound)?;
        Ok(Self { key, presence: presence_of(request) })
    }
}

impl<P: Platform> Session<P> {
    /// Something that a runner, or its object, does to the desk. That the runner is there is heard first. None where nobody has the session
    /// but others.
    pub(in crate::object) fn at_desk_of<R>(
        &self,
        runner: &Runner,
        happens: impl FnOnce(&mut Desk, &mut desk::Decide<'_>) -> R,
    ) -> Result<Option<R>, Error> {
        let new_id = || self.platform.random_uuid().to_string();
        self.change(|core, decide| {
            if let Some(presence) = runner.presence {
                at_desk(core, decide, &new_id, |desk, at| desk::on_presence(desk, at, &runner.key, presence));
            }
            at_desk(core, decide, &new_id, happens)
        })
    }

    fn is_held_by(&self, runner: &Runner) -> Result<bool, Error> {
        self.look(|core| core.state.holder().is_some_and(|holder| holder.runner_key == runner.key))
    }
}

fn answer<P: Platform>((status, said): (StatusCode, Value)) -> Response<P::Response> {
    web::json(&CORS, status, said.to_string())
}

pub(super) async fn handle<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
    verb: &str,
) -> Result<Response<P::Response>, Error> {
    let runner = Runner::of(caller, request)?;
    // A session that is removed is told to its runner, which answers.
    let leaves = |core: &Core| core.state.desk.as_ref().is_some_and(|desk| desk.closing.is_some());
    let is_heard = session.is_there()? || session.is_being_removed()? && session.look(leaves)?;
    if !is_heard {
        return Err(Error::NotFound);
    }
    let said = match verb {
        "presence" => {
            session.at_desk_of(&runner, |_, _| ())?;
            (StatusCode::OK, json!({"held": session.is_held_by(&runner)?}))
        }
        "attach" => attach(session, &runner, request).await?,
        "acks" => {
            let (said, _): (Value, _) = body::<P, _>(request).await?;
            let acks = acks_of(&said)?;
            session.at_desk_of(&runner, |desk, at| {
                // As many as one request of the runner may have.
                for ack in &acks {
                    desk::on_ack(desk, at, &runner.key, &ack.ack);
                }
            })?;
            (StatusCode::OK, json!({}))
        }
        "fetch" => fetch(session, &runner, request).await?,
        "lease" => lease(session, &runner, request).await?,
        "events" => take(session, &runner, request).await?,
        "notice" => notice(session, &runner, request).await?,
        _ => return Err(Error::NotFound),
    };
    Ok(answer::<P>(said))
}

async fn attach<P: Platform>(
    session: &Rc<Session<P>>,
    runner: &Runner,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    #[derive(Deserialize)]
    struct Asked {
        claim: Option<Claimed>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Claimed {
        mailbox_id: String,
        lease: u64,
        work_seq: u64,
        out_seq: u64,
        generation: u64,
    }
    let (asked, _): (Asked, _) = body::<P, _>(request).await?;
    let claim = asked.claim.map(|claimed| Claim {
        mailbox_id: claimed.mailbox_id,
        lease: claimed.lease,
        work_seq: claimed.work_seq,
        out_seq: claimed.out_seq,
        generation: claimed.generation,
    });
    let verdict = session.at_desk_of(runner, |desk, at| desk::on_attach(desk, at, &runner.key, claim.as_ref()))?;
    let gone = desk::Verdicted { verdict: Verdict::Gone, lease: 0, accepted_seq: 0, work_seq: 0, generation: 0 };
    let verdict = verdict.unwrap_or(gone);
    let id = session.look(|core| core.state.id.clone())?;
    Ok((StatusCode::OK, json!({"held": session.is_held_by(runner)?, "session": verdict.shown(&id)})))
}

async fn fetch<P: Platform>(
    session: &Rc<Session<P>>,
    runner: &Runner,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Asked {
        max_items: usize,
        max_bytes: usize,
    }
    let (asked, _): (Asked, _) = body::<P, _>(request).await?;
    if let Some(shelf) = session.shelf()
        && let Err(error) = session.epoch(&shelf).await
    {
        // A token of an epoch that is over is refused, and the runner asks for another one.
        session.warn("agents/epoch-not-read", &error);
    }
    let given = session.at_desk_of(runner, |desk, at| {
        let given = desk::fetch(desk, at, &runner.key, asked.max_items, asked.max_bytes);
        // Where there was no room for all, the runner asks again at once.
        given.map(|given| (given.len() >= asked.max_items.min(crate::mailbox::limits::MAX_SESSION_ITEMS), given))
    })?;
    let Some((more, given)) = given.flatten() else { return Ok((StatusCode::OK, json!({"held": false}))) };
    let (id, number) = session.look(|core| (core.state.id.clone(), core.state.transcript.number))?;
    let rows = MailboxRows(session.platform.sql());
    let has_keys = session.settings.transcripts.tokens.is_some();
    let is_brokered = has_keys && session.look(|core| session.is_brokered(&core.task))?;
    let mut items = Vec::new();
    // At most MAX_SESSION_ITEMS.
    for given in given {
        let stored = rows.body(&given.item.id)?.unwrap_or_else(|| "{}".to_owned());
        let token = match given.run {
            Some(run) => run_token(session, Some(run), OF_RUN)?,
            // The runner has no run yet, and the conversation to fetch.
            None if given.item.kind == ItemKind::Open
                && session.look(|core| core.state.transcript.kept.is_some())? =>
            {
                run_token(session, None, &[READ])?
            }
            None => None,
        };
        let token = token.as_deref().map(|token| (token, TOKEN_S.saturating_mul(1_000)));
        let mut shown = Given::shown(&given, &id, &stored, token, number);
        if is_brokered && let Some(body) = shown.as_mut().and_then(|shown| opening(&given, shown)) {
            body.insert("git-credentials".to_owned(), true.into());
        }
        if let (Some(shown), ItemKind::Open | ItemKind::Prompt) = (&mut shown, given.item.kind)
            && let Some(tools) = session.tools_at_desk(given.item.kind == ItemKind::Open)?
        {
            add_tools(shown, &tools);
        }
        items.extend(shown);
    }
    Ok((StatusCode::OK, json!({"held": true, "items": items, "more": more})))
}

/// The body of an item that opens the agent's session.
fn opening<'a>(given: &Given, shown: &'a mut Value) -> Option<&'a mut serde_json::Map<String, Value>> {
    if given.item.kind != ItemKind::Open {
        return None;
    }
    shown.get_mut("body")?.as_object_mut()
}

/// A token for a run that the runner was given, or for none; none where no key is set.
fn run_token<P: Platform>(
    session: &Session<P>,
    run: Option<(u64, u64)>,
    scope: &[&str],
) -> Result<Option<String>, Error> {
    let Some(tokens) = &session.settings.transcripts.tokens else { return Ok(None) };
    let claims = session.look(|core| Claims {
        sub: core.state.requested_by.clone(),
        sid: core.state.id.clone(),
        run: run.map(|(run, _)| Run { run: run_name(run), seq: run }),
        att: run.map_or(0, |(_, attempt)| attempt),
        ep: core.state.transcript.epoch.unwrap_or_default(),
        scope: scope.iter().map(|word| (*word).to_owned()).collect(),
        iat: 0,
        exp: 0,
        jti: String::new(),
        rest: lease_of(core),
    })?;
    let claims = claims.renewed(session.platform.now_ms(), session.platform.random_uuid().to_string());
    let token = tokens.issue(&claims).map_err(|error| Error::Internal(error.to_string()))?;
    session.change(|core, _| core.redactor.learn(&token))?;
    Ok(Some(token))
}

/// The claim by which a token for git counts no more once somebody else has the session (agents.md 20.6).
fn lease_of(core: &Core) -> serde_json::Map<String, Value> {
    core.state.desk.iter().map(|desk| (HELD_UNDER.to_owned(), desk.lease.into())).collect()
}

async fn lease<P: Platform>(
    session: &Rc<Session<P>>,
    runner: &Runner,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    #[derive(Deserialize)]
    struct Asked {
        lease: u64,
        run: Option<u64>,
        attempt: Option<u64>,
    }
    let (asked, _): (Asked, _) = body::<P, _>(request).await?;
    let wanted = asked.run.map(|run| (run, asked.attempt.unwrap_or(1)));
    let renewed = session.at_desk_of(runner, |desk, at| desk::renew(desk, at, &runner.key, asked.lease, wanted))?;
    let renewed = renewed.unwrap_or(desk::Renewed::Lost);
    let now = session.platform.now_ms();
    let is_late = |run| session.look(|core| core.state.transcript.is_late(run, asked.lease, now));
    let (renewed, scope): (_, &[&str]) = match (renewed, wanted) {
        // Whoever had no line to us when its turn ended has the conversation of it until now.
        (desk::Renewed::Held { expires_in_ms, token_for: None }, Some(run)) if is_late(run.0)? => {
            (desk::Renewed::Held { expires_in_ms, token_for: Some(run) }, &[WRITE])
        }
        (renewed, _) => (renewed, OF_RUN),
    };
    let token = match renewed {
        desk::Renewed::Held { token_for: Some(run), .. } => run_token(session, Some(run), scope)?,
        desk::Renewed::Held { token_for: None, .. } | desk::Renewed::Lost => None,
    };
    if matches!(renewed, desk::Renewed::Held { .. }) {
        session.change(|core, decide| renew(core, decide))?;
    }
    let id = session.look(|core| core.state.id.clone())?;
    Ok((StatusCode::OK, renewed.shown(&id, token.as_deref())))
}

/// Whoever renews has the conversation too.
fn renew(core: &mut Core, decide: &Decide<'_>) {
    if let Some(lease) = &mut core.state.transcript.lease {
        lease.renew(decide.now);
    }
}

async fn take<P: Platform>(
    session: &Rc<Session<P>>,
    runner: &Runner,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    let bytes = super::bytes::<P>(request).await?;
    let mut batch = events(&bytes)?;
    if !session.is_held_by(runner)? {
        return Ok(desk::Refused::NotHeld.answer());
    }
    let rows = MailboxRows(session.platform.sql());
    // As many as one batch may have.
    for event in batch.events.iter_mut().filter(|event| event.kind == "file") {
        let digest = event.data.get("sha256").and_then(Value::as_str).unwrap_or_default().to_owned();
        event.has_file = rows.name_file(&digest)?;
    }
    let (from, to) = (batch.events.first(), batch.events.last());
    let known = match (from, to) {
        (Some(from), Some(to)) => rows.fingerprints(from.seq.min(to.seq), from.seq.max(to.seq))?,
        _ => std::collections::BTreeMap::new(),
    };
    let taken = session.at_desk_of(runner, |desk, at| desk::on_batch(desk, at, &runner.key, batch, &known))?;
    Ok(match taken {
        Some(Ok(taken)) => taken.answer(),
        Some(Err(refused)) => refused.answer(),
        None => desk::Refused::NotHeld.answer(),
    })
}

async fn notice<P: Platform>(
    session: &Rc<Session<P>>,
    runner: &Runner,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    let bytes = super::bytes::<P>(request).await?;
    let report = Report::read(&bytes)?;
    if !session.is_held_by(runner)? {
        return Ok(desk::Refused::NotHeld.answer());
    }
    let rows = MailboxRows(session.platform.sql());
    let now = session.platform.now_ms();
    if rows.knows_notice(&report.id, now)? {
        return Ok((StatusCode::OK, json!({"ok": true})));
    }
    let new_id = || session.platform.random_uuid().to_string();
    let refused = std::cell::Cell::new(true);
    let taken = session.change_with(
        |core, decide| {
            if let Some(presence) = runner.presence {
                at_desk(core, decide, &new_id, |desk, at| desk::on_presence(desk, at, &runner.key, presence));
            }
            let taken =
                at_desk(core, decide, &new_id, |desk, at| desk::on_notice(desk, at, &runner.key, report.notice));
            refused.set(!matches!(taken, Some(Ok(()))));
            taken
        },
        // What was refused is not to be remembered.
        &|rows| {
            if refused.get() {
                return Ok(());
            }
            MailboxRows(rows.0).note_notice(&report.id, now).map(drop)
        },
    )?;
    Ok(match taken {
        Some(Ok(())) => (StatusCode::OK, json!({"ok": true})),
        Some(Err(refused)) => refused.answer(),
        None => desk::Refused::NotHeld.answer(),
    })
}
