//! Notifications and what becomes of them (agents.md 20.3). A notice is written with its event; from it come deliveries, one for each
//! webhook, which are settled one by one. The index of all sessions is told of each change.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Row, Sql, SqlError};

use super::{numbers, text, unreadable};
use crate::webhook::Notice;

/// Deliveries of one session that may wait. What comes beyond is dead at once; it may be sent again by a person.
const MAX_PENDING: usize = 1_000;
/// Deliveries that are remembered after they were settled.
const MAX_SETTLED: usize = 5_000;

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is sent, or waits to be sent.
    Pending,
    /// The receiver has it.
    Done,
    /// It is given up.
    Dead,
}

impl DeliveryState {
    /// The name in stores and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    fn stored(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "done" => Self::Done,
            _ => Self::Dead,
        }
    }
}

/// A notice on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name, which the receiver knows it by.
    pub id: String,
    /// Where it goes.
    pub webhook_id: String,
    /// What it is about.
    pub topic: String,
    /// What is sent.
    pub body: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// What the receiver answered last.
    pub last_status: Option<u16>,
    /// When it is sent next, or forgotten once it is settled; in milliseconds since 1970.
    pub at: i64,
    /// When it was made.
    pub created_at: i64,
}

/// A delivery that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its name.
    pub id: String,
    /// Where it goes.
    pub webhook_id: String,
    /// What it is about.
    pub topic: String,
    /// What is sent.
    pub body: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How far the delivery is now.
    pub state: DeliveryState,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// When it is sent next, or forgotten.
    pub at: i64,
}

macro_rules! columns {
    () => {
        "SELECT delivery_id, webhook_id, type, body, state, attempts, last_status, at, created_at FROM deliveries "
    };
}

const DUE: &str = concat!(columns!(), "WHERE state = 'pending' AND at <= ? ORDER BY at, delivery_id LIMIT ?");
const UNTOLD: &str = concat!(columns!(), "WHERE told = 0 ORDER BY created_at, delivery_id LIMIT ?");

/// The rows of notifications.
#[derive(Clone, Debug)]
pub struct Outbox<S>(pub S);

impl<S: Sql> Outbox<S> {
    /// Stores the notice of an event, once.
    pub fn put_notice(&self, event_id: &str, notice: &Notice) -> Result<(), SqlError> {
        let body = serde_json::to_string(notice).map_err(unreadable)?;
        let row = [Param::Text(event_id), Param::Int(notice.created_at), Param::Text(&body)];
        self.0.execute("INSERT OR IGNORE INTO outbox (event_id, ts, body) VALUES (?, ?, ?)", &row)
    }

    /// Notices of which no deliveries were made yet, with their events' ids, oldest first, at most so many.
    pub fn notices(&self, most: usize) -> Result<Vec<(String, Notice)>, SqlError> {
        let mut found = Vec::new();
        self.0.query("SELECT event_id, body FROM outbox ORDER BY ts LIMIT ?", &[Param::count(most)], &mut |row| {
            let notice = serde_json::from_str(&row.text(1)?.unwrap_or_default()).map_err(unreadable)?;
            found.push((row.text(0)?.unwrap_or_default().into_owned(), notice));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Puts deliveries in the place of the notices of events. `kept_until` is when those are forgotten that find no place any more.
    pub fn expand(
        &self,
        event_ids: &[&str],
        deliveries: &[NewDelivery],
        now: i64,
        kept_until: i64,
    ) -> Result<(), SqlError> {
        self.0.transaction(&mut || {
            let mut pending = self.count("SELECT COUNT(*) FROM deliveries WHERE state = 'pending'")?;
            for delivery in deliveries {
                let (state, at) = if pending < MAX_PENDING { ("pending", now) } else { ("dead", kept_until) };
                pending = pending.saturating_add(1);
                let row = [
                    Param::Text(&delivery.id),
                    Param::Text(&delivery.webhook_id),
                    Param::Text(&delivery.topic),
                    Param::Text(&delivery.body),
                    Param::Text(state),
                    Param::Int(at),
                    Param::Int(now),
                ];
                let insert = "INSERT OR IGNORE INTO deliveries (delivery_id, webhook_id, type, body, state, attempts, \
                              last_status, at, created_at, told) VALUES (?, ?, ?, ?, ?, 0, NULL, ?, ?, 0)";
                self.0.execute(insert, &row)?;
            }
            for event_id in event_ids {
                self.0.execute("DELETE FROM outbox WHERE event_id = ?", &[Param::Text(event_id)])?;
            }
            let settled = self.count("SELECT COUNT(*) FROM deliveries WHERE state <> 'pending'")?;
            if settled > MAX_SETTLED {
                let excess = Param::count(settled.saturating_sub(MAX_SETTLED));
                let delete = "DELETE FROM deliveries WHERE delivery_id IN (SELECT delivery_id FROM deliveries WHERE \
                              state <> 'pending' ORDER BY created_at, delivery_id LIMIT ?)";
                self.0.execute(delete, &[excess])?;
            }
            Ok(())
        })
    }

    /// Deliveries that are to be sent by now, the longest waiting first, at most so many.
    pub fn due(&self, now: i64, most: usize) -> Result<Vec<Delivery>, SqlError> {
        self.list(DUE, &[Param::Int(now), Param::count(most)])
    }

    /// Deliveries of whose last change the index was not told, at most so many.
    pub fn untold(&self, most: usize) -> Result<Vec<Delivery>, SqlError> {
        self.list(UNTOLD, &[Param::count(most)])
    }

    /// Notes that a delivery is sent once more. Whoever reads this after a crash sends it again at `at`.
    pub fn begin(&self, delivery: &Delivery, at: i64) -> Result<(), SqlError> {
        let row = [Param::Int(delivery.attempts.saturating_add(1).into()), Param::Int(at), Param::Text(&delivery.id)];
        self.0.execute("UPDATE deliveries SET attempts = ?, at = ? WHERE delivery_id = ? AND state = 'pending'", &row)
    }

    /// Notes how the attempt of that number ended, unless the delivery was begun anew since.
    pub fn end(&self, id: &str, attempts: u32, outcome: &Outcome) -> Result<(), SqlError> {
        let row = [
            Param::Text(outcome.state.as_str()),
            outcome.status.map_or(Param::Null, |status| Param::Int(status.into())),
            Param::Int(outcome.at),
            Param::Text(id),
            Param::Int(attempts.into()),
        ];
        let update = "UPDATE deliveries SET state = ?, last_status = ?, at = ?, told = 0 \
                      WHERE delivery_id = ? AND attempts = ? AND state = 'pending'";
        self.0.execute(update, &row)
    }

    /// A delivery could not be tried at all: it waits until `at`.
    pub fn postpone(&self, delivery: &Delivery, at: i64) -> Result<(), SqlError> {
        let row = [Param::Int(at), Param::Text(&delivery.id), Param::Int(delivery.attempts.into())];
        self.0
            .execute("UPDATE deliveries SET at = ? WHERE delivery_id = ? AND attempts = ? AND state = 'pending'", &row)
    }

    /// Notes that the index knows a delivery as it was read.
    pub fn told(&self, delivery: &Delivery) -> Result<(), SqlError> {
        let row =
            [Param::Text(&delivery.id), Param::Int(delivery.attempts.into()), Param::Text(delivery.state.as_str())];
        self.0.execute("UPDATE deliveries SET told = 1 WHERE delivery_id = ? AND attempts = ? AND state = ?", &row)
    }

    /// Whether there is such a delivery.
    pub fn knows(&self, id: &str) -> Result<bool, SqlError> {
        Ok(text(&self.0, "SELECT 'x' FROM deliveries WHERE delivery_id = ?", &[Param::Text(id)])?.is_some())
    }

    /// A delivery is sent again from its beginning.
    pub fn replay(&self, id: &str, now: i64) -> Result<(), SqlError> {
        let update = "UPDATE deliveries SET state = 'pending', attempts = 0, at = ?, told = 0 WHERE delivery_id = ?";
        self.0.execute(update, &[Param::Int(now), Param::Text(id)])
    }

    /// Forgets a delivery: nobody is to get it any more.
    pub fn forget(&self, id: &str) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM deliveries WHERE delivery_id = ?", &[Param::Text(id)])
    }

    /// Forgets what was settled long enough ago.
    pub fn forget_old(&self, now: i64) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM deliveries WHERE state <> 'pending' AND at <= ?", &[Param::Int(now)])
    }

    /// When something is to be done next; none when nothing is left.
    pub fn next_at(&self) -> Result<Option<i64>, SqlError> {
        Ok(numbers::<1>(&self.0, "SELECT MIN(at) FROM deliveries", &[])?.and_then(|[at]| at))
    }

    fn count(&self, sql: &str) -> Result<usize, SqlError> {
        let found = numbers::<1>(&self.0, sql, &[])?.and_then(|[count]| count);
        Ok(found.and_then(|count| usize::try_from(count).ok()).unwrap_or_default())
    }

    fn list(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Delivery>, SqlError> {
        let mut found = Vec::new();
        self.0.query(sql, params, &mut |row| {
            found.push(delivery(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

fn delivery(row: &dyn Row) -> Result<Delivery, SqlError> {
    let text = |column| -> Result<String, SqlError> { Ok(row.text(column)?.unwrap_or_default().into_owned()) };
    Ok(Delivery {
        id: text(0)?,
        webhook_id: text(1)?,
        topic: text(2)?,
        body: text(3)?,
        state: DeliveryState::stored(&text(4)?),
        attempts: row.int(5)?.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or_default(),
        last_status: row.int(6)?.and_then(|status| u16::try_from(status).ok()),
        at: row.int(7)?.unwrap_or_default(),
        created_at: row.int(8)?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use database::local_sqlite::Rusqlite;

    use super::*;

    fn outbox() -> Outbox<Rusqlite> {
        let sql = Rusqlite::in_memory().unwrap();
        super::super::create(&sql).unwrap();
        Outbox(sql)
    }

    fn made(numbers: std::ops::Range<usize>) -> Vec<NewDelivery> {
        let delivery = |number: usize| NewDelivery {
            id: format!("{number:05}"),
            webhook_id: "w".to_owned(),
            topic: "turn.finished".to_owned(),
            body: "{}".to_owned(),
        };
        numbers.map(delivery).collect()
    }

    fn end(outbox: &Outbox<Rusqlite>, delivery: &Delivery, state: DeliveryState, at: i64) {
        outbox.end(&delivery.id, delivery.attempts, &Outcome { state, status: Some(200), at }).unwrap();
    }

    #[test]
    fn a_notice_becomes_its_deliveries_once() {
        let outbox = outbox();
        let notice: Notice = serde_json::from_value(serde_json::json!({"type": "turn.finished", "created-at": 1,
            "session-id": "s", "title": "", "status": "running", "data": {}}))
        .unwrap();
        for _ in 0..2 {
            outbox.put_notice("e", &notice).unwrap();
            assert_eq!(outbox.notices(10).unwrap(), [("e".to_owned(), notice.clone())]);
            outbox.expand(&["e"], &made(0..2), 5, 99).unwrap();
            assert_eq!(outbox.notices(10).unwrap(), []);
            assert_eq!(outbox.due(5, 10).unwrap().len(), 2);
            assert_eq!(outbox.due(4, 10).unwrap(), []);
        }
        assert_eq!((outbox.due(5, 1).unwrap().len(), outbox.next_at().unwrap()), (1, Some(5)));
    }

    #[test]
    fn waiting_and_settled_deliveries_are_bounded() {
        let outbox = outbox();
        outbox.expand(&[], &made(0..1_003), 5, 99).unwrap();
        assert_eq!(outbox.due(5, 2_000).unwrap().len(), 1_000);
        let untold = outbox.untold(2_000).unwrap();
        let dead: Vec<&Delivery> = untold.iter().filter(|one| one.state == DeliveryState::Dead).collect();
        assert_eq!((dead.len(), dead[0].at, dead[0].attempts), (3, 99, 0));
        for round in 0..6 {
            for delivery in outbox.due(5, 2_000).unwrap() {
                end(&outbox, &delivery, DeliveryState::Done, 99);
            }
            let first = 2_000 + round * 1_000;
            outbox.expand(&[], &made(first..first + 1_000), 5, 99).unwrap();
        }
        assert_eq!(outbox.count("SELECT COUNT(*) FROM deliveries WHERE state <> 'pending'").unwrap(), MAX_SETTLED);
        outbox.forget_old(98).unwrap();
        assert_eq!(outbox.count("SELECT COUNT(*) FROM deliveries").unwrap(), MAX_SETTLED + 1_000);
        outbox.forget_old(99).unwrap();
        assert_eq!(outbox.count("SELECT COUNT(*) FROM deliveries").unwrap(), 1_000);
    }

    #[test]
    fn an_outcome_counts_for_its_own_attempt() {
        let outbox = outbox();
        outbox.expand(&[], &made(0..1), 5, 99).unwrap();
        let first = outbox.due(5, 1).unwrap().remove(0);
        outbox.begin(&first, 50).unwrap();
        assert_eq!(outbox.due(49, 1).unwrap(), [], "whoever reads it after a crash waits");
        let begun = outbox.due(50, 1).unwrap().remove(0);
        assert_eq!(begun.attempts, 1);
        // Somebody replays it meanwhile: what comes of the old attempt is nobody's business.
        outbox.replay(&first.id, 7).unwrap();
        end(&outbox, &begun, DeliveryState::Dead, 99);
        let again = outbox.due(7, 1).unwrap().remove(0);
        assert_eq!((again.attempts, again.state), (0, DeliveryState::Pending));
        // What was told is told again only when it changed.
        outbox.told(&again).unwrap();
        assert_eq!(outbox.untold(1).unwrap(), []);
        end(&outbox, &again, DeliveryState::Done, 99);
        outbox.told(&again).unwrap();
        assert_eq!(outbox.untold(1).unwrap().len(), 1, "that was about an earlier state");
        assert!(outbox.knows(&first.id).unwrap() && !outbox.knows("unknown").unwrap());
        outbox.forget(&first.id).unwrap();
        assert_eq!(outbox.next_at().unwrap(), None);
    }
}
