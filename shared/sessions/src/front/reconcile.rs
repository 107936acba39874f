//! Sandboxes that nobody owns any more are found and ended (agents.md 6.7).

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use keyed::Set;
use web::{Event, Forward, Level, Objects as _, url};

use super::platform::Platform;
use super::service::Service;
use crate::registry::intents::{self, Intent, IntentState};
use crate::registry::operator;

/// Sandboxes that one run looks at at most.
pub const MAX_SANDBOXES: usize = 1_000;
/// Sandboxes that one run ends at most.
pub const MAX_KILLS: usize = 50;
/// Pages that one run asks for at most: of an answer that never ends, empty pages too.
pub const MAX_PAGES: usize = 20;
/// A younger sandbox may still be on its way to its session, in milliseconds.
pub const GRACE_MS: i64 = 15 * 60_000;
/// How long rows of ended sandboxes are kept, in milliseconds.
const ENDED_KEPT_MS: i64 = 7 * 24 * 60 * 60_000;
const DAY_MS: i64 = 24 * 60 * 60_000;
/// Header in which an object is told from when on a use of a sandbox counts, in milliseconds since 1970.
pub(crate) const UNUSED_SINCE: &str = "x-unused-since";

/// A sandbox of this service and environment, as its provider lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its name there.
    pub id: String,
    /// The session that it was made for, as its metadata say.
    pub session_id: Option<String>,
    /// The name under which it was asked for.
    pub intent_id: Option<String>,
    /// When it was started, in milliseconds since 1970; none where that is not told.
    pub started_at: Option<i64>,
    /// Whether it is paused.
    pub is_paused: bool,
}

/// A page of sandboxes.
#[derive(Clone, Debug, Default)]
pub struct SandboxPage {
    /// The sandboxes.
    pub sandboxes: Vec<Listed>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// The sandboxes of this service and environment at their provider, and no others.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Sandboxes {
    /// A page of them, running and paused. The error is for logs.
    async fn page(&self, next: Option<&str>) -> Result<SandboxPage, String>;

    /// Ends one. One that is gone already is no failure. The error is for logs.
    async fn kill(&self, id: &str) -> Result<(), String>;
}

/// What the object of a session says of a sandbox. Its status alone says it: a platform passes on what an object answers without
/// reading more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// There is no such session, or the sandbox is not its own.
    NotBound,
    /// It is, and was used lately.
    InUse,
    /// It is, and nobody used it for long.
    Unused,
    /// Nothing that could be relied on.
    Unclear,
}

impl Said {
    /// The statuses are those of the object's `disown`.
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotBound,
            StatusCode::OK => Self::InUse,
            StatusCode::ACCEPTED => Self::Unused,
            _ => Self::Unclear,
        }
    }
}

/// Goes once through all sandboxes. Without a name of the environment nothing is done: two nameless deployments under one key
/// would end each other's sandboxes.
pub async fn reconcile<P: Platform>(platform: &P, service: &Service<P::Keys>, sandboxes: &impl Sandboxes) {
    let runtime = &service.settings.runtime;
    let (Some(db), Some(environment)) = (platform.db(), runtime.environment.as_deref()) else { return };
    let ttl_ms = runtime.sandbox_ttl_days.saturating_mul(DAY_MS);
    let run = Run { platform, db, sandboxes, environment, ttl_ms, now: platform.now_ms() };
    if let Err(failure) = run.go().await {
        platform.report(&Event::new(Level::Error, "agents/reconcile-failed").with_error(&failure));
    }
}

struct Run<'a, P: Platform, S> {
    platform: &'a P,
    db: &'a P::Db,
    sandboxes: &'a S,
    environment: &'a str,
    ttl_ms: i64,
    now: i64,
}

impl<P: Platform, S: Sandboxes> Run<'_, P, S> {
    async fn go(&self) -> Result<(), String> {
        let (mut seen, mut kills, mut next) = (Set::<String>::default(), 0, None::<String>);
        let mut is_whole = false;
        // Bounded by MAX_PAGES, and within by MAX_SANDBOXES and MAX_KILLS.
        'pages: for _ in 0..MAX_PAGES {
            let page = self.sandboxes.page(next.as_deref()).await?;
            for sandbox in page.sandboxes {
                if seen.len() >= MAX_SANDBOXES || kills >= MAX_KILLS {
                    break 'pages;
                }
                if self.is_to_end(&sandbox).await? {
                    kills += 1;
                    self.end(&sandbox).await?;
                }
                seen.insert(sandbox.id);
            }
            next = page.next;
            if next.is_none() {
                is_whole = true;
                break;
            }
        }
        // What a cut list leaves out is not gone.
        if is_whole {
            self.end_rows(&seen).await?;
        }
        intents::delete_ended(self.db, self.now.saturating_sub(ENDED_KEPT_MS)).await.map_err(text).map(drop)
    }

    async fn is_to_end(&self, sandbox: &Listed) -> Result<bool, String> {
        let intent = self.intent_of(sandbox).await?;
        let session = intent.as_ref().map(|intent| intent.session_id.as_str()).or(sandbox.session_id.as_deref());
        let (Some(session), Some(started_at)) = (session, sandbox.started_at) else { return Ok(false) };
        let is_own = intent.as_ref().is_some_and(|intent| {
            intent.state == IntentState::Bound && intent.sandbox_id.as_deref() == Some(sandbox.id.as_str())
        });
        let unused_since = self.now.saturating_sub(self.ttl_ms);
        if is_own {
            // A row is as old as its sandbox: a young one was used lately.
            let may_be_old =
                sandbox.is_paused && intent.as_ref().is_some_and(|intent| intent.updated_at < unused_since);
            return Ok(may_be_old && self.has_expired(session, &sandbox.id).await);
        }
        let is_in_the_making =
            intent.as_ref().is_some_and(|intent| intent.state == IntentState::Creating && self.now < intent.deadline);
        if is_in_the_making || self.now.saturating_sub(started_at) <= GRACE_MS {
            return Ok(false);
        }
        Ok(match self.ask("disown", session, &sandbox.id).await {
            Said::NotBound => true,
            Said::Unused => sandbox.is_paused && self.has_expired(session, &sandbox.id).await,
            Said::InUse | Said::Unclear => false,
        })
    }

    /// Whether the session gave up a sandbox that was unused for long. One that it began to use meanwhile stays.
    async fn has_expired(&self, session: &str, sandbox: &str) -> bool {
        match self.ask("disown", session, sandbox).await {
            Said::NotBound => true,
            Said::Unused => {
                self.ask("expire", session, sandbox).await;
                self.ask("disown", session, sandbox).await == Said::NotBound
            }
            Said::InUse | Said::Unclear => false,
        }
    }

    async fn intent_of(&self, sandbox: &Listed) -> Result<Option<Intent>, String> {
        if let Some(id) = &sandbox.intent_id
            && let Some(intent) = intents::get(self.db, id, self.environment).await.map_err(text)?
        {
            return Ok(Some(intent));
        }
        intents::of_sandbox(self.db, &sandbox.id, self.environment).await.map_err(text)
    }

    /// One that cannot be ended is tried again by the next run.
    async fn end(&self, sandbox: &Listed) -> Result<(), String> {
        if let Err(failure) = self.sandboxes.kill(&sandbox.id).await {
            self.platform.report(&Event::new(Level::Warning, "agents/orphan-not-ended").with_error(&failure));
            return Ok(());
        }
        operator::count_orphan(self.db).await.map_err(text)?;
        match self.intent_of(sandbox).await? {
            Some(intent) => intents::end(self.db, &intent.intent_id, self.now).await.map_err(text),
            None => Ok(()),
        }
    }

    /// Notes as ended what the provider does not list any more.
    async fn end_rows(&self, seen: &Set<String>) -> Result<(), String> {
        let before = self.now.saturating_sub(GRACE_MS);
        let mut rows = intents::bound(self.db, self.environment, before).await.map_err(text)?;
        rows.extend(intents::overdue(self.db, self.environment, self.now).await.map_err(text)?);
        // Bounded by LISTED_AT_ONCE of each kind.
        for row in rows {
            if !row.sandbox_id.as_ref().is_some_and(|id| seen.contains(id)) {
                intents::end(self.db, &row.intent_id, self.now).await.map_err(text)?;
            }
        }
        Ok(())
    }

    /// Asks the object of a session. Only a clear answer counts.
    async fn ask(&self, verb: &str, session: &str, sandbox: &str) -> Said {
        let address = format!("{}{verb}/{}", super::forward::ORIGIN, url::encode(sandbox));
        let (Ok(uri), Ok(id)) = (address.parse::<Uri>(), HeaderValue::from_str(&url::encode(session))) else {
            return Said::Unclear;
        };
        let mut request = Forward::new(Method::POST, uri);
        request.set_header(HeaderName::from_static("x-session-id"), id);
        request.set_header(HeaderName::from_static("x-caller"), HeaderValue::from_static("service"));
        let unused_since = HeaderValue::from(self.now.saturating_sub(self.ttl_ms));
        request.set_header(HeaderName::from_static(UNUSED_SINCE), unused_since);
        let answer = self.platform.objects().send(session, request).await;
        answer.map_or(Said::Unclear, |answer| Said::of(answer.status()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn text(error: database::DbError) -> String {
    error.to_string()
}
