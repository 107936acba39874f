//! A session observes databases: what is asked of bridges, and what becomes of what they send (pg-sync.md 4.2, 4.9, 4.15).
//!
//! A subscription is written down before a bridge is asked for it. Whatever dies in between, the alarm asks again: a bridge takes
//! the same twice for once.

use std::cell::Cell;

use database::DbError;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use pg_sync::bridge::Source;
use pg_sync::identity::{self, owner_hash, source_id, subscription_id};
use pg_sync::reference::of_source;
use serde_json::{Value, json};
use web::{Call, Peers as _};

use super::jobs::JobError;
use super::{Platform, Session};
use crate::bridge::{ORIGIN, SOURCE_HEADER, Subscribe, object_name};
use crate::error::Error;
use crate::event::{Draft, Kind};
use crate::pg_sync::{ORDER_BY, ORDER_KIND, Observe, Origin, PgSyncError, Waiting, resolve};
use crate::registry::pg_bridges::{self, MAX_BRIDGES};
use crate::runtime::exchange::within;
use crate::session::State;
use crate::session::decide::{self, Decide, Told};
use crate::session::store::{Observation, Order, Watches};
use crate::session::watch::{Arrival, MAX_WATCHES, Reception, Watch, Watching};

/// How long a bridge may take, in milliseconds: it probes a new source for ten seconds.
const CALL_MS: u32 = 20_000;
/// The largest answer of a bridge: the state of one subscription.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The largest page of a log: a mebibyte of values, a last change that goes beyond it, and what stands around them.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// What is observed now.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// Whether nothing of it was there before.
    pub(crate) is_new: bool,
    /// As it is answered.
    pub(crate) shown: Value,
}

/// What a bridge has said.
enum Answer {
    /// Yes.
    Well(Value),
    /// No.
    Refused(PgSyncError),
    /// It has no such thing.
    Unknown,
    /// Nobody knows whether it was reached.
    Lost,
}

impl<P: Platform> Session<P> {
    /// Observes what a body asks for. When it is there, every matching change that is committed later is told.
    pub(crate) async fn observe(&self, body: &Value) -> Result<Observed, Error> {
        if self.platform.bridges().is_none() {
            return Err(PgSyncError::Disabled.into());
        }
        let origin = Origin::read(body)?;
        let owner = self.look(|core| core.state.requested_by.clone())?;
        let db = self.platform.db();
        let found = resolve(db.as_deref(), &self.settings, &owner, origin.as_str()).await.map_err(PgSyncError::from)?;
        let wanted = Observe::read(body, found.replica)?;
        if !found.tables.allow(&wanted.options.table, wanted.options.filter.as_deref()) {
            return Err(PgSyncError::TableNotAllowed.into());
        }
        let named = match &origin {
            Origin::Connection(name) => identity::Origin::Connection(name),
            Origin::Url(url) => identity::Origin::Url(url),
        };
        let source_ref = of_source(&found.url, &wanted.options);
        let source_id = source_id(&owner, named, &wanted.options);
        let id = subscription_id(&self.look(|core| core.state.id.clone())?, &source_id);
        let _alone = self.watching.lock().await;
        if self.watch(&id)?.is_some_and(|watch| watch.state == Watching::Removing) {
            // What was wanted before comes to its end first.
            self.unsubscribe(&id).await?;
            if self.watch(&id)?.is_some() {
                return Err(PgSyncError::BridgeUnavailable.into());
            }
        }
        let before = self.watch(&id)?;
        let known = Watches(self.platform.sql()).observation(&id)?.filter(|_| before.is_some());
        if let Some(known) = &known
            && known.wake != wanted.wake
            && !wanted.replace
        {
            let wake = serde_json::to_value(&known.wake).unwrap_or_default();
            return Err(PgSyncError::WakeConflict(wake).into());
        }
        let watches = self.look(|core| core.state.watches.len())?;
        if before.is_none() && watches >= MAX_WATCHES {
            let limit = i64::try_from(MAX_WATCHES).unwrap_or(i64::MAX);
            return Err(PgSyncError::Quota { limit, scope: "session" }.into());
        }
        if !self.look(|core| decide::observes(&core.state))? {
            return Err(Error::NotWritable);
        }
        let source = Source {
            id: source_id.clone(),
            owner: owner.clone(),
            connection: origin.as_str().to_owned(),
            options: wanted.options,
        };
        let created_at = known.map_or_else(|| self.platform.now_ms(), |known| known.created_at);
        let observation = Observation { source, wake: wanted.wake, source_ref: Some(source_ref.clone()), created_at };
        self.change_with(|core, decide| decide::add_watch(&mut core.state, decide, &id, &source_id), &|rows| {
            Watches(rows.0).put(&id, &observation)
        })?;
        let was_active = before.is_some_and(|watch| watch.state == Watching::Active);
        let answer = self.subscribe(&id, &observation).await?;
        let state = match answer {
            Answer::Well(answer) => answer.get("state").cloned().unwrap_or_default(),
            Answer::Refused(refused) => {
                self.end_watch(&id, &source_id, was_active)?;
                return Err(refused.into());
            }
            Answer::Unknown | Answer::Lost => return Err(PgSyncError::BridgeUnavailable.into()),
        };
        let stream = format!("/_electric/pg-sync/{}/{source_ref}", owner_hash(&owner));
        let shown = json!({
            "source_id": source_id,
            "subscription_id": id,
            "wake": observation.wake,
            "sourceRef": source_ref,
            "streamUrl": stream,
            "state": state,
        });
        Ok(Observed { is_new: !was_active, shown })
    }

    fn watch(&self, id: &str) -> Result<Option<Watch>, Error> {
        self.look(|core| core.state.watches.iter().find(|watch| watch.id == id).cloned())
    }

    /// The subscription to a source that is wanted.
    pub(crate) fn watch_of(&self, source_id: &str) -> Result<Option<Watch>, Error> {
        let is_wanted = |watch: &&Watch| watch.source_id == source_id && watch.state != Watching::Removing;
        self.look(|core| core.state.watches.iter().find(is_wanted).cloned())
    }

    /// Nobody wants to hear of a source any more. Whether it was observed.
    pub(crate) async fn unobserve(&self, source_id: &str) -> Result<bool, Error> {
        let Some(watch) = self.watch_of(source_id)? else { return Ok(false) };
        self.change(|core, decide| decide::unobserve(&mut core.state, decide, &watch.id))?;
        let _alone = self.watching.lock().await;
        self.unsubscribe(&watch.id).await?;
        Ok(true)
    }

    /// What is observed, as the bridges see it.
    pub(crate) async fn observations(&self) -> Result<Vec<Value>, Error> {
        let watches: Vec<Watch> = self.look(|core| core.state.watches.clone())?;
        let wanted = watches.iter().filter(|watch| watch.state != Watching::Removing);
        // At most MAX_WATCHES.
        join_all(wanted.map(|watch| self.observation(watch))).await.into_iter().collect()
    }

    async fn observation(&self, watch: &Watch) -> Result<Value, Error> {
        let mut state = "pending";
        if watch.state == Watching::Active {
            match self.ask_bridge(&watch.source_id, Method::POST, "show", &json!({"subscription_id": watch.id})).await {
                Answer::Well(shown) => return Ok(shown),
                Answer::Unknown => self.lose(watch)?,
                Answer::Refused(_) | Answer::Lost => state = "unknown",
            }
        }
        let known = Watches(self.platform.sql()).observation(&watch.id)?;
        let of = known.as_ref();
        Ok(json!({
            "source_id": watch.source_id,
            "subscription_id": watch.id,
            "connection": of.map(|known| known.source.connection.as_str()),
            "table": of.map(|known| known.source.options.table.as_str()),
            "wake": of.map(|known| &known.wake),
            "state": state,
            "created_at": of.map(|known| known.created_at),
        }))
    }

    /// A bridge that waits is to go on at once. Whether the source is observed.
    pub(crate) async fn retry_bridge(&self, source_id: &str) -> Result<bool, Error> {
        if self.watch_of(source_id)?.is_none() {
            return Ok(false);
        }
        match self.ask_bridge(source_id, Method::POST, "retry", &json!({})).await {
            Answer::Well(_) | Answer::Unknown => Ok(true),
            Answer::Refused(_) | Answer::Lost => Err(PgSyncError::BridgeUnavailable.into()),
        }
    }

    /// Looks after subscriptions: what was not answered is asked again, and bridges that were collected are made again.
    pub(super) async fn tend_watches(&self, ids: &[String]) -> Result<(), JobError> {
        let _alone = self.watching.lock().await;
        // At most MAX_WATCHES.
        for id in ids {
            let Some(watch) = self.watch(id)? else { continue };
            match watch.state {
                Watching::Removing => self.unsubscribe(id).await?,
                Watching::Pending { .. } => self.subscribe_again(&watch).await?,
                Watching::Active => self.check(&watch).await?,
            }
        }
        Ok(())
    }

    async fn check(&self, watch: &Watch) -> Result<(), Error> {
        let (id, source_id) = (&watch.id, &watch.source_id);
        let seen = self.ask_bridge(source_id, Method::POST, "show", &json!({"subscription_id": id})).await;
        match seen {
            Answer::Well(_) => self.change(|core, decide| decide::on_observed(&mut core.state, decide, id)),
            Answer::Unknown => self.lose(watch),
            Answer::Refused(_) | Answer::Lost => {
                self.change(|core, decide| decide::on_bridge_not_reached(&mut core.state, decide, id))
            }
        }
    }

    /// The bridge does not know of a subscription that counts on it: that is a gap, and it is asked for again.
    fn lose(&self, watch: &Watch) -> Result<(), Error> {
        if self.watch(&watch.id)?.is_none_or(|now| now.state != Watching::Active) {
            return Ok(());
        }
        let at = self.platform.now_ms();
        let (incarnation, from_seq) = watch.taken.map_or((0, 0), |taken| (taken.incarnation, taken.to_seq));
        let key = format!("lost:{at}");
        let body = json!({
            "key": key,
            "source_id": watch.source_id,
            "subscription_id": watch.id,
            "incarnation": incarnation,
            "from_seq": from_seq,
            "reason": "source_lost",
            "at": at,
            "count": 1,
        });
        let arrival = Arrival { id: &watch.id, kind: "pg_sync.gap", key: &key, incarnation, range: None };
        self.receive_with(&arrival, &body, |state, decide| decide::on_lost(state, decide, arrival.id))?;
        Ok(())
    }

    async fn subscribe_again(&self, watch: &Watch) -> Result<(), Error> {
        let Some(observation) = Watches(self.platform.sql()).observation(&watch.id)? else {
            return self.end_watch(&watch.id, &watch.source_id, false);
        };
        match self.subscribe(&watch.id, &observation).await? {
            // It may have a place in the log a little later.
            Answer::Refused(PgSyncError::BridgeUnavailable) => {
                self.change(|core, decide| decide::on_bridge_not_reached(&mut core.state, decide, &watch.id))
            }
            Answer::Refused(_) => self.end_watch(&watch.id, &watch.source_id, true),
            Answer::Well(_) | Answer::Unknown | Answer::Lost => Ok(()),
        }
    }

    /// Asks the bridge for a subscription. What it does not refuse is noted.
    async fn subscribe(&self, id: &str, observation: &Observation) -> Result<Answer, Error> {
        let Observation { source, wake, .. } = observation;
        if let Some(db) = self.platform.db() {
            match self.reserve(&*db, observation).await {
                Ok(true) => {}
                Ok(false) => return Ok(Answer::Refused(PgSyncError::Quota { limit: MAX_BRIDGES, scope: "user" })),
                Err(error) => {
                    self.warn("agents/bridge-not-reserved", &error);
                    self.change(|core, decide| decide::on_bridge_not_reached(&mut core.state, decide, id))?;
                    return Ok(Answer::Lost);
                }
            }
        }
        let session = self.look(|core| core.state.id.clone())?;
        let wanted = Subscribe { source: source.clone(), subscription_id: id.to_owned(), session, wake: wake.clone() };
        let body = serde_json::to_value(&wanted).map_err(|error| Error::Internal(error.to_string()))?;
        let answer = self.ask_bridge(&source.id, Method::POST, "subscribe", &body).await;
        self.change(|core, decide| match &answer {
            Answer::Well(_) => decide::on_observed(&mut core.state, decide, id),
            Answer::Refused(_) => {}
            Answer::Unknown | Answer::Lost => decide::on_bridge_not_reached(&mut core.state, decide, id),
        })?;
        Ok(answer)
    }

    /// Keeps a place for the bridge, and names its log, so that it can be read from the first answer on. Whether there is a place.
    async fn reserve(&self, db: &P::Db, observation: &Observation) -> Result<bool, DbError> {
        let Observation { source, source_ref, .. } = observation;
        let now = self.platform.now_ms();
        if !pg_bridges::reserve(db, &source.id, &source.owner, &source.connection, now).await? {
            return Ok(false);
        }
        if let Some(source_ref) = source_ref {
            pg_bridges::name_unless_taken(db, &source.id, &source.owner, source_ref).await?;
        }
        Ok(true)
    }

    /// A subscription that the bridge has refused is none. `is_told` when somebody counts on it.
    fn end_watch(&self, id: &str, source_id: &str, is_told: bool) -> Result<(), Error> {
        self.change_with(
            |core, decide| {
                decide::on_unobserved(&mut core.state, id);
                if is_told {
                    decide.append(&mut core.state, Draft::observation_ended(source_id, "source_removed"));
                }
            },
            &|rows| Watches(rows.0).remove(id),
        )
    }

    /// Tells the bridge that nobody wants a subscription any more; then it is forgotten here.
    async fn unsubscribe(&self, id: &str) -> Result<(), Error> {
        let Some(watch) = self.watch(id)?.filter(|watch| watch.state == Watching::Removing) else { return Ok(()) };
        match self.ask_bridge(&watch.source_id, Method::POST, "unsubscribe", &json!({"subscription_id": id})).await {
            Answer::Well(_) | Answer::Unknown => self.end_watch(id, &watch.source_id, false),
            Answer::Refused(_) | Answer::Lost => {
                self.change(|core, decide| decide::on_bridge_not_reached(&mut core.state, decide, id))
            }
        }
    }

    /// The session is being removed: bridges are told first, as long as it is insisted on.
    pub(super) async fn leave_bridges(&self) -> Result<(), Error> {
        let watches: Vec<Watch> = self.look(|core| core.state.watches.clone())?;
        for watch in watches {
            let body = json!({"subscription_id": watch.id});
            let left = self.ask_bridge(&watch.source_id, Method::POST, "unsubscribe", &body).await;
            let insists = self.look(|core| decide::insists_on_ending(&core.state))?;
            if matches!(left, Answer::Lost | Answer::Refused(_)) && insists && self.platform.bridges().is_some() {
                return Err(PgSyncError::BridgeUnavailable.into());
            }
        }
        Ok(())
    }

    /// Changes of a source that is observed, after a number.
    pub(super) async fn changes(&self, source_id: &str, after: u64, limit: usize) -> Result<Value, Error> {
        if self.watch_of(source_id)?.is_none() {
            return Err(if self.platform.bridges().is_some() { Error::NotFound } else { PgSyncError::Disabled.into() });
        }
        let url = format!("{ORIGIN}changes?after={after}&limit={limit}");
        let call =
            Call::new(Method::GET, url).with_header("x-caller", "service").map_err(|error| Error::Internal(error.0))?;
        match self.call_bridge(source_id, call, MAX_PAGE_BYTES).await {
            Answer::Well(page) => Ok(page),
            Answer::Refused(refused) => Err(refused.into()),
            Answer::Unknown | Answer::Lost => Err(PgSyncError::BridgeUnavailable.into()),
        }
    }

    async fn ask_bridge(&self, source_id: &str, method: Method, verb: &str, body: &Value) -> Answer {
        let call = Call { body: body.to_string().into_bytes(), ..Call::new(method, format!("{ORIGIN}{verb}")) };
        self.call_bridge(source_id, call, MAX_ANSWER_BYTES).await
    }

    async fn call_bridge(&self, source_id: &str, call: Call, limit: usize) -> Answer {
        let Some(bridges) = self.platform.bridges() else { return Answer::Refused(PgSyncError::Disabled) };
        let name = object_name(source_id);
        let asked = async { bridges.ask(&name, call.with_header(SOURCE_HEADER, source_id)?, limit).await };
        let Some(Ok((status, body))) = within(&self.platform, CALL_MS, asked).await else { return Answer::Lost };
        match status.as_u16() {
            200..=299 => Answer::Well(serde_json::from_slice(&body).unwrap_or_default()),
            400..=499 | 503 => match PgSyncError::of_answer(&body) {
                PgSyncError::BridgeUnavailable if status == StatusCode::NOT_FOUND => Answer::Unknown,
                refused => Answer::Refused(refused),
            },
            _ => Answer::Lost,
        }
    }

    /// Takes in what a bridge sends: at most once, and with everything that follows from it in one transaction.
    pub(super) fn receive(&self, arrival: &Arrival<'_>, body: &Value) -> Result<Reception, Error> {
        self.receive_with(arrival, body, |_, _| {})
    }

    /// The same; `then` happens to the session with it.
    fn receive_with(
        &self,
        arrival: &Arrival<'_>,
        body: &Value,
        then: impl FnOnce(&mut State, &mut Decide<'_>),
    ) -> Result<Reception, Error> {
        let reception = self.look(|core| decide::receives(&core.state, arrival))?;
        let Some(draft) = Draft::of_bridge(arrival.kind, body.clone()) else { return Err(Error::InvalidBody) };
        if reception != Reception::New {
            return Ok(reception);
        }
        let watches = Watches(self.platform.sql());
        let open = self.look(|core| decide::open_order(&core.state, arrival.id))?;
        let waiting = match open {
            Some(_) => watches.waiting(arrival.id)?,
            None => None,
        };
        let observation = watches.observation(arrival.id)?;
        let table = observation.as_ref().map(|known| known.source.options.table.as_str()).unwrap_or_default();
        let source = observation.as_ref().map(|known| known.source.id.as_str()).unwrap_or_default();
        let mut waiting = waiting.unwrap_or_else(|| Waiting::of(table, source));
        if matches!(draft.kind, Kind::PgSyncChange | Kind::PgSyncGap) {
            waiting.add(body);
        }
        let (told, now) = (Cell::new(Told::Event), self.platform.now_ms());
        self.change_with(
            |core, decide| {
                told.set(decide::on_arrival(&mut core.state, decide, arrival, draft));
                then(&mut core.state, decide);
            },
            &|rows| {
                let watches = Watches(rows.0);
                match told.get() {
                    Told::Event => Ok(()),
                    Told::Ended => watches.remove(arrival.id),
                    Told::Merged(seq) => {
                        rows.put_message(seq, &waiting.text())?;
                        watches.put_waiting(arrival.id, &waiting)
                    }
                    Told::Order(seq) => {
                        let kind = Some(ORDER_KIND.to_owned());
                        rows.put_order(seq, &Order { message: waiting.text(), by: ORDER_BY.to_owned(), kind }, now)?;
                        watches.put_waiting(arrival.id, &waiting)
                    }
                }
            },
        )?;
        Ok(Reception::New)
    }
}
