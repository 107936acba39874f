//! Webhooks of users, and what became of what was sent to them (agents.md 20.3). Sessions own their deliveries; what is told here is
//! for their users to see.

use database::{Database, DbError, Param, ReadFrom, Row};
use serde_json::{Value, json};

use super::cursor::Cursor;
use crate::error::Error;
use crate::request::NewWebhook;
use crate::secrets::Seal;
use crate::session::store::{Delivery, DeliveryState};
use crate::webhook::{Secret, Topic};

/// Webhooks that a user may have.
pub const MAX_WEBHOOKS: usize = 10;
/// Deliveries in one page.
pub const PAGE: usize = 50;
/// Webhooks that one session tells: those of its creator, and of as many people of its graph as find a place.
pub const MAX_OF_SESSION: usize = 100;
/// So many dead deliveries in a row disable a webhook.
pub const MOST_DEAD: i64 = 20;
/// How long a delivery is shown, in milliseconds: seven days, after a last attempt that may be some hours late.
const KEPT_MS: i64 = 8 * 24 * 60 * 60_000;

macro_rules! columns {
    () => {
        "SELECT h.webhook_id, h.user_id, h.graph_id, h.url, h.events, h.secret, h.created_at, h.disabled_at \
         FROM agent_webhooks AS h "
    };
}

// The condition counts the webhooks of the user: one more than allowed is not inserted.
const ADD: &str = "INSERT INTO agent_webhooks (webhook_id, user_id, graph_id, url, events, secret, created_at) \
    SELECT ?, ?, ?, ?, ?, ?, ? WHERE (SELECT COUNT(*) FROM agent_webhooks WHERE user_id = ?) < ? \
    ON CONFLICT(webhook_id) DO NOTHING";
const GET: &str = concat!(columns!(), "WHERE h.webhook_id = ?");
const LIST: &str = concat!(columns!(), "WHERE h.user_id = ? ORDER BY h.created_at, h.webhook_id LIMIT ?");
// The creator's own for all of their sessions, and those that name the graph of the session, of whoever may use it.
const OF_SESSION: &str = concat!(
    columns!(),
    "WHERE h.disabled_at IS NULL AND ((h.user_id = ? AND h.graph_id IS NULL) OR (h.graph_id = ? AND (h.user_id = ? OR ",
    index::with_access!("h.graph_id", "h.user_id"),
    "))) ORDER BY h.user_id <> ?, h.created_at, h.webhook_id LIMIT ?"
);
const DELETE: &str = "DELETE FROM agent_webhooks WHERE webhook_id = ? AND user_id = ?";
const DELETE_DELIVERIES: &str = "DELETE FROM webhook_deliveries WHERE webhook_id = ? \
    AND NOT EXISTS (SELECT 1 FROM agent_webhooks AS h WHERE h.webhook_id = webhook_deliveries.webhook_id)";

const DELIVERIES: &str = "SELECT delivery_id, session_id, type, attempts, state, last_status, next_at, created_at \
    FROM webhook_deliveries WHERE webhook_id = ? AND (created_at < ? OR (created_at = ? AND delivery_id < ?)) \
    ORDER BY created_at DESC, delivery_id DESC LIMIT ?";
const SESSION_OF: &str = "SELECT session_id FROM webhook_deliveries WHERE delivery_id = ? AND webhook_id = ?";
// A webhook that is gone leaves no rows behind.
const TELL: &str = "INSERT INTO webhook_deliveries (delivery_id, webhook_id, session_id, type, attempts, state, last_status, \
    next_at, created_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM agent_webhooks WHERE webhook_id = ?) \
    ON CONFLICT(delivery_id) DO UPDATE SET attempts = excluded.attempts, state = excluded.state, \
    last_status = excluded.last_status, next_at = excluded.next_at";
// Counted before the delivery is told, and not again when it is told again.
const COUNT_DEAD: &str = "UPDATE agent_webhooks SET dead_in_row = dead_in_row + 1, disabled_at = CASE \
    WHEN disabled_at IS NULL AND dead_in_row + 1 >= ? THEN ? ELSE disabled_at END WHERE webhook_id = ? \
    AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE delivery_id = ? AND state = 'dead')";
const DISABLE: &str = "UPDATE agent_webhooks SET disabled_at = ? WHERE webhook_id = ? AND disabled_at IS NULL";
const COUNT_DONE: &str = "UPDATE agent_webhooks SET dead_in_row = 0 WHERE webhook_id = ? AND dead_in_row > 0";
const FORGET: &str = "DELETE FROM webhook_deliveries WHERE delivery_id = ?";
const FORGET_SESSION: &str = "DELETE FROM webhook_deliveries WHERE session_id = ?";
const FORGET_OLD: &str = "DELETE FROM webhook_deliveries WHERE created_at < ?";

/// A webhook. Its secret is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub webhook_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The graph whose sessions it is told of; none for all sessions of its user.
    pub graph_id: Option<String>,
    /// Where notifications go.
    pub url: String,
    /// What it is told of.
    pub topics: Vec<Topic>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Since when it is told nothing any more.
    pub disabled_at: Option<i64>,
    sealed: String,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Webhook").field("webhook_id", &self.webhook_id).finish_non_exhaustive()
    }
}

impl Webhook {
    /// As its user sees it.
    pub fn shown(&self) -> Value {
        let events: Vec<&str> = self.topics.iter().map(|topic| topic.as_str()).collect();
        let mut shown = json!({
            "webhook-id": self.webhook_id,
            "url": self.url,
            "events": events,
            "created-at": self.created_at,
        });
        if let Some(members) = shown.as_object_mut() {
            members.extend(self.graph_id.as_deref().map(|graph| ("graph-id".to_owned(), graph.into())));
            members.extend(self.disabled_at.map(|at| ("disabled-at".to_owned(), at.into())));
        }
        shown
    }

    /// What it is signed with.
    ///
    /// # Errors
    /// [`Error::Internal`] when the stored text does not open.
    pub fn secret(&self, seal: &Seal) -> Result<Secret, Error> {
        seal.open(&self.sealed, &bound_to(&self.user_id, &self.webhook_id)).map(Secret::of_text)
    }
}

/// What a sealed secret is bound to.
fn bound_to(user: &str, webhook_id: &str) -> String {
    format!("{user}\n{webhook_id}")
}

/// A delivery as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub delivery_id: String,
    session_id: String,
    topic: String,
    attempts: i64,
    state: String,
    last_status: Option<i64>,
    next_at: Option<i64>,
    created_at: i64,
}

impl Told {
    /// On the wire.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.delivery_id,
            "type": self.topic,
            "session-id": self.session_id,
            "attempts": self.attempts,
            "state": self.state,
            "last-status": self.last_status,
            "next-at": self.next_at,
        })
    }
}

/// Adds a webhook under a name that no other one has, with a new secret. One that has the name already, wants the same and is the
/// user's is given again: its request was repeated.
///
/// # Errors
/// [`Error::TooManyWebhooks`], [`Error::KeyReused`] when the one of that name wants something else, [`Error::SecretsKey`],
/// [`Error::Internal`].
pub async fn add(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    webhook_id: &str,
    wanted: &NewWebhook,
    now: i64,
) -> Result<(Webhook, Secret), Error> {
    let secret = Secret::random()?;
    let sealed = seal.seal(secret.text(), &bound_to(user, webhook_id))?;
    let events: Vec<&str> = wanted.topics.iter().map(|topic| topic.as_str()).collect();
    let events = json!(events).to_string();
    let row = [
        Param::Text(webhook_id),
        Param::Text(user),
        Param::opt(wanted.graph_id.as_deref()),
        Param::Text(&wanted.url),
        Param::Text(&events),
        Param::Text(&sealed),
        Param::Int(now),
        Param::Text(user),
        Param::count(MAX_WEBHOOKS),
    ];
    let is_new = db.execute(ADD, &row).await? > 0;
    let found = get(db, webhook_id).await?.filter(|found| found.user_id == user).ok_or(Error::TooManyWebhooks)?;
    let is_same = found.url == wanted.url && found.graph_id == wanted.graph_id && found.topics == wanted.topics;
    if !is_new && !is_same {
        return Err(Error::KeyReused);
    }
    let secret = found.secret(seal)?;
    Ok((found, secret))
}

/// A webhook by its name, whoever's it is.
pub async fn get(db: &impl Database, webhook_id: &str) -> Result<Option<Webhook>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(webhook_id)]).await?;
    Ok(rows.first().and_then(webhook_of))
}

/// The webhooks of a user, in the order in which they were made.
pub async fn list(db: &impl Database, user: &str) -> Result<Vec<Webhook>, DbError> {
    let rows = db.query(ReadFrom::Primary, LIST, &[Param::Text(user), Param::count(MAX_WEBHOOKS)]).await?;
    Ok(rows.iter().filter_map(webhook_of).collect())
}

/// The webhooks that are told of a session, at most [`MAX_OF_SESSION`]; the creator's come first.
pub async fn of_session(db: &impl Database, creator: &str, graph_id: Option<&str>) -> Result<Vec<Webhook>, DbError> {
    let (user, graph) = (Param::Text(creator), Param::opt(graph_id));
    let rows =
        db.query(ReadFrom::Primary, OF_SESSION, &[user, graph, user, user, Param::count(MAX_OF_SESSION)]).await?;
    Ok(rows.iter().filter_map(webhook_of).collect())
}

/// Removes a webhook of a user with what is shown of it. False when there was none.
pub async fn delete(db: &impl Database, user: &str, webhook_id: &str) -> Result<bool, DbError> {
    let id = Param::Text(webhook_id);
    let (webhook, deliveries) = ([id, Param::Text(user)], [id]);
    let changed = db.batch(&[(DELETE, &webhook), (DELETE_DELIVERIES, &deliveries)]).await?;
    Ok(changed.first().is_some_and(|rows| *rows > 0))
}

/// A page of what was sent to a webhook, the newest first, and where the next page begins, if there is one.
pub async fn deliveries(
    db: &impl Database,
    webhook_id: &str,
    after: Option<&Cursor>,
) -> Result<(Vec<Told>, Option<Cursor>), DbError> {
    let first = Cursor::first();
    let after = after.unwrap_or(&first);
    let at = Param::Int(after.updated_at);
    // One more than is shown tells whether there is a next page.
    let params =
        [Param::Text(webhook_id), at, at, Param::Text(&after.session_id), Param::count(PAGE.saturating_add(1))];
    let rows = db.query(ReadFrom::Nearest, DELIVERIES, &params).await?;
    let page: Vec<Told> = rows.iter().take(PAGE).filter_map(told_of).collect();
    let last = page.last().filter(|_| rows.len() > PAGE);
    // The place of a row here: its time and its name.
    let next = last.map(|last| Cursor { updated_at: last.created_at, session_id: last.delivery_id.clone() });
    Ok((page, next))
}

/// The session that a delivery of a webhook belongs to.
pub async fn session_of(db: &impl Database, webhook_id: &str, delivery_id: &str) -> Result<Option<String>, DbError> {
    let params = [Param::Text(delivery_id), Param::Text(webhook_id)];
    let rows = db.query(ReadFrom::Primary, SESSION_OF, &params).await?;
    Ok(rows.first().and_then(|row| row.string(0)))
}

/// Tells how far a delivery of a session is, and what follows for its webhook. Told again, nothing changes.
pub async fn tell(db: &impl Database, session_id: &str, delivery: &Delivery, now: i64) -> Result<(), DbError> {
    let (id, webhook, at) = (Param::Text(&delivery.id), Param::Text(&delivery.webhook_id), Param::Int(now));
    let next_at = if delivery.state == DeliveryState::Pending { Param::Int(delivery.at) } else { Param::Null };
    let row = [
        id,
        webhook,
        Param::Text(session_id),
        Param::Text(&delivery.topic),
        Param::Int(delivery.attempts.into()),
        Param::Text(delivery.state.as_str()),
        delivery.last_status.map_or(Param::Null, |status| Param::Int(status.into())),
        next_at,
        Param::Int(delivery.created_at),
        webhook,
    ];
    let (dead, disabled, done) = ([Param::Int(MOST_DEAD), at, webhook, id], [at, webhook], [webhook]);
    let mut statements: Vec<database::Statement<'_>> = match delivery.state {
        DeliveryState::Pending => Vec::new(),
        DeliveryState::Done => vec![(COUNT_DONE, &done)],
        DeliveryState::Dead if delivery.last_status == Some(410) => vec![(COUNT_DEAD, &dead), (DISABLE, &disabled)],
        DeliveryState::Dead => vec![(COUNT_DEAD, &dead)],
    };
    statements.push((TELL, &row));
    db.batch(&statements).await?;
    Ok(())
}

/// Forgets a delivery that nobody is to get any more.
pub async fn forget(db: &impl Database, delivery_id: &str) -> Result<(), DbError> {
    db.execute(FORGET, &[Param::Text(delivery_id)]).await?;
    Ok(())
}

/// Forgets the deliveries of a session that is removed.
pub async fn forget_session(db: &impl Database, session_id: &str) -> Result<(), DbError> {
    db.execute(FORGET_SESSION, &[Param::Text(session_id)]).await?;
    Ok(())
}

/// Forgets deliveries that are not shown any more.
pub async fn forget_old(db: &impl Database, now: i64) -> Result<(), DbError> {
    db.execute(FORGET_OLD, &[Param::Int(now.saturating_sub(KEPT_MS))]).await?;
    Ok(())
}

fn webhook_of(row: &Row) -> Option<Webhook> {
    let events: Vec<String> = serde_json::from_str(row.text(4)?).ok()?;
    Some(Webhook {
        webhook_id: row.string(0)?,
        user_id: row.string(1)?,
        graph_id: row.string(2),
        url: row.string(3)?,
        topics: events.iter().filter_map(|name| Topic::parse(name)).collect(),
        sealed: row.string(5)?,
        created_at: row.int(6)?,
        disabled_at: row.int(7),
    })
}

fn told_of(row: &Row) -> Option<Told> {
    Some(Told {
        delivery_id: row.string(0)?,
        session_id: row.string(1)?,
        topic: row.string(2)?,
        attempts: row.int(3)?,
        state: row.string(4)?,
        last_status: row.int(5),
        next_at: row.int(6),
        created_at: row.int(7)?,
    })
}
