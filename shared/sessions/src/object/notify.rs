//! Notifications are sent (agents.md 20.3). Each attempt is written down before it is made; what is lost with the object is made again
//! when the alarm says so, under the same name.

use futures_util::StreamExt as _;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use web::Fetch as _;
use web::address::{self, AddressRules};

use super::jobs::JobError;
use super::{Platform, Session};
use crate::access;
use crate::error::Error;
use crate::registry::webhooks::{self, Webhook};
use crate::session::decide;
use crate::session::store::{Delivery, DeliveryState, NewDelivery, Outbox, Outcome};
use crate::webhook::{delivery_id, signature};

/// How long a receiver may take, in milliseconds.
const ANSWER_MS: u32 = 10_000;
/// How long after that an attempt counts as lost.
const SLACK_MS: i64 = 5_000;
/// Attempts that go on at the same time. A platform opens few connections at once.
const AT_ONCE: usize = 4;
/// Notices and deliveries that are looked at in one round.
const IN_ROUND: usize = 40;
/// Rounds of one run. The alarm goes on with what is left.
const MAX_ROUNDS: usize = 50;

impl<P: Platform> Session<P> {
    /// Sends what is due. One run at a time; what comes meanwhile is taken up by it.
    pub(super) async fn notify(&self) -> Result<(), JobError> {
        if self.is_notifying.replace(true) {
            return Ok(());
        }
        let sent = self.notify_rounds().await;
        // From here on nothing is awaited: what comes next begins a run of its own.
        self.is_notifying.set(false);
        if self.is_gone() {
            return Ok(());
        }
        let (outbox, now) = (Outbox(self.platform.sql()), self.platform.now_ms());
        let next = match sent {
            // Others have their turn; then it goes on.
            Ok(false) => Some(now),
            Ok(true) => {
                outbox.forget_old(now).map_err(Error::from)?;
                outbox.next_at().map_err(Error::from)?
            }
            Err(error) => {
                self.warn("agents/notifications-not-sent", &error);
                Some(now.saturating_add(self.times.notifying()))
            }
        };
        self.change(|core, _| decide::on_notified(&mut core.state, next))?;
        Ok(())
    }

    /// Whether nothing is due any more.
    async fn notify_rounds(&self) -> Result<bool, Error> {
        // Each round takes up what came during the one before.
        for _ in 0..MAX_ROUNDS {
            self.tell_deliveries().await?;
            if self.is_gone() {
                return Ok(true);
            }
            let notices = self.expand().await?;
            let due = Outbox(self.platform.sql()).due(self.platform.now_ms(), IN_ROUND)?;
            if notices == 0 && due.is_empty() {
                return Ok(true);
            }
            futures_util::stream::iter(due).for_each_concurrent(AT_ONCE, |delivery| self.deliver(delivery)).await;
        }
        Ok(false)
    }

    /// Whether the session is being removed, or was.
    fn is_gone(&self) -> bool {
        self.look(|core| core.state.removal.is_some()).unwrap_or(true)
    }

    /// Makes deliveries of notices. Gives the number of notices.
    async fn expand(&self) -> Result<usize, Error> {
        let outbox = Outbox(self.platform.sql());
        let notices = outbox.notices(IN_ROUND)?;
        if notices.is_empty() {
            return Ok(0);
        }
        let (creator, graph) =
            self.look(|core| (core.state.requested_by.clone(), core.task.graph_id().map(str::to_owned)))?;
        let webhooks = match self.platform.db() {
            Some(db) => webhooks::of_session(&*db, &creator, graph.as_deref()).await?,
            None => Vec::new(),
        };
        if self.is_gone() {
            return Ok(0);
        }
        let mut deliveries = Vec::new();
        // At most IN_ROUND notices, and MAX_OF_SESSION webhooks.
        for (event_id, notice) in &notices {
            for webhook in &webhooks {
                if webhook.topics.iter().any(|topic| topic.as_str() == notice.topic) {
                    let id = delivery_id(event_id, &webhook.webhook_id);
                    let (webhook_id, topic) = (webhook.webhook_id.clone(), notice.topic.clone());
                    deliveries.push(NewDelivery { body: notice.body(&id), id, webhook_id, topic });
                }
            }
        }
        let events: Vec<&str> = notices.iter().map(|(event_id, _)| event_id.as_str()).collect();
        let now = self.platform.now_ms();
        outbox.expand(&events, &deliveries, now, now.saturating_add(self.times.kept_delivery()))?;
        Ok(notices.len())
    }

    /// Tries a delivery. Nothing that fails here keeps others from being tried.
    async fn deliver(&self, delivery: Delivery) {
        if let Err(error) = self.deliver_once(&delivery).await {
            self.warn("agents/notification-not-sent", &error);
            let later = self.platform.now_ms().saturating_add(self.times.notifying());
            if !self.is_gone()
                && let Err(error) = Outbox(self.platform.sql()).postpone(&delivery, later)
            {
                self.warn("agents/notification-not-sent", &error);
            }
        }
    }

    async fn deliver_once(&self, delivery: &Delivery) -> Result<(), Error> {
        let Some(db) = self.platform.db() else { return Err(Error::Internal("no database".to_owned())) };
        let webhook = webhooks::get(&*db, &delivery.webhook_id).await?;
        let webhook = match webhook {
            Some(webhook) if self.may_tell(&db, &webhook).await? => webhook,
            _ => {
                webhooks::forget(&*db, &delivery.id).await?;
                return if self.is_gone() { Ok(()) } else { Ok(Outbox(self.platform.sql()).forget(&delivery.id)?) };
            }
        };
        if self.is_gone() {
            return Ok(());
        }
        let (outbox, now) = (Outbox(self.platform.sql()), self.platform.now_ms());
        let begun = delivery.attempts.saturating_add(1);
        let kept_until = now.saturating_add(self.times.kept_delivery());
        let is_over = delivery.attempts > 0 && self.times.next_delivery(delivery.attempts).is_none();
        if is_over || webhook.disabled_at.is_some() {
            // The last attempt was lost with its object, or nobody listens any more.
            let dead = Outcome { state: DeliveryState::Dead, status: delivery.last_status, at: kept_until };
            return Ok(outbox.end(&delivery.id, delivery.attempts, &dead)?);
        }
        // What the check gave is what is called.
        let rules =
            AddressRules { allow_private: self.settings.runtime.runner_allow_private, ..AddressRules::default() };
        let call = match address::checked(&webhook.url, &rules) {
            Ok(url) => self.call(&webhook, url.into(), delivery, now),
            Err(error) => Err(Error::Internal(error.to_string())),
        };
        // What cannot be sent is an attempt as well, so that it comes to an end.
        let call = call.inspect_err(|error| self.warn("agents/notification-not-sent", error)).ok();
        let lost_at = now.saturating_add(ANSWER_MS.into()).saturating_add(SLACK_MS);
        let pause = self.times.next_delivery(begun);
        outbox.begin(delivery, lost_at.saturating_add(pause.unwrap_or_default()))?;
        let status = match call {
            // The body of the answer is nobody's business: dropping it closes the connection.
            Some(call) => self.platform.fetch().fetch(call).await.ok().map(|reply| reply.status),
            None => None,
        };
        if self.is_gone() {
            return Ok(());
        }
        let now = self.platform.now_ms();
        let kept_until = now.saturating_add(self.times.kept_delivery());
        let is_done = status.is_some_and(|status| status.is_success());
        let is_refused = status == Some(http::StatusCode::GONE);
        let (state, at) = match pause {
            _ if is_done => (DeliveryState::Done, kept_until),
            Some(pause) if !is_refused => (DeliveryState::Pending, now.saturating_add(pause)),
            _ => (DeliveryState::Dead, kept_until),
        };
        let outcome = Outcome { state, status: status.map(|status| status.as_u16()), at };
        Ok(outbox.end(&delivery.id, begun, &outcome)?)
    }

    /// Whether the user of a webhook may still know of this session.
    async fn may_tell(&self, db: &P::Db, webhook: &Webhook) -> Result<bool, Error> {
        let (creator, graph) =
            self.look(|core| (core.state.requested_by.clone(), core.task.graph_id().map(str::to_owned)))?;
        if webhook.graph_id.is_none() || webhook.user_id == creator {
            return Ok(webhook.user_id == creator);
        }
        // The session stays with its graph, and so does the webhook.
        let user = Some(webhook.user_id.as_str());
        match access::may(Some(db), self.settings.strict_access, user, &creator, graph.as_deref()).await {
            Ok(()) => Ok(webhook.graph_id == graph),
            Err(Error::Forbidden | Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn call(&self, webhook: &Webhook, url: String, delivery: &Delivery, now: i64) -> Result<web::Call, Error> {
        let secret = webhook.secret(&self.settings.seal())?;
        let seconds = now.div_euclid(1_000);
        let signed = signature(&secret, &delivery.id, seconds, &delivery.body);
        let signed = signed.ok_or_else(|| Error::Internal("a stored secret is none".to_owned()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("logseq-agents"));
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
        for (name, value) in [("webhook-id", &delivery.id), ("webhook-signature", &signed)] {
            let value = HeaderValue::from_str(value).map_err(|error| Error::Internal(error.to_string()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = delivery.body.clone().into_bytes();
        Ok(web::Call { headers, body, limit_ms: Some(ANSWER_MS), ..web::Call::new(Method::POST, url) })
    }

    /// Tells the index what became of deliveries. What fails is told with the next run.
    async fn tell_deliveries(&self) -> Result<(), Error> {
        let Some(db) = self.platform.db() else { return Ok(()) };
        // Each round tells some; what cannot be told ends it.
        while !self.is_gone() {
            let outbox = Outbox(self.platform.sql());
            let untold = outbox.untold(IN_ROUND)?;
            if untold.is_empty() {
                break;
            }
            let id = self.look(|core| core.state.id.clone())?;
            for delivery in &untold {
                webhooks::tell(&*db, &id, delivery, self.platform.now_ms()).await?;
                if self.is_gone() {
                    return Ok(());
                }
                outbox.told(delivery)?;
            }
        }
        Ok(())
    }
}
