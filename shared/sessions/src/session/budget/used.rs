//! What was used, in all and day by day.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Kind, MAX_CURRENCIES, Meter, Scope, shown};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: f64 = 60_000.0;
/// Days whose sums wait to be told. Older ones are given up: nothing was told for so long that nobody counts on it.
const MAX_DAYS: usize = 7;

/// The day (UTC) of a time in milliseconds, counted from 1970.
pub fn day_of(now: i64) -> i64 {
    now.div_euclid(DAY_MS)
}

/// Amounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Used {
    /// Prompts that were sent.
    pub turns: u64,
    /// Milliseconds in which a turn ran and waited for nobody.
    pub running_ms: i64,
    /// Tokens.
    pub tokens: u64,
    /// Whether some of the tokens are a lower bound.
    #[serde(default)]
    pub estimated: bool,
    /// Money by currency; at most [`MAX_CURRENCIES`].
    #[serde(default)]
    pub cost: BTreeMap<String, f64>,
}

impl Used {
    /// How much of a kind; for money, in the currency that is given.
    pub fn amount(&self, kind: Kind, currency: Option<&str>) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53, which none of them reaches")]
        match kind {
            Kind::Turns => self.turns as f64,
            Kind::Minutes => self.running_ms as f64 / MINUTE_MS,
            Kind::Tokens => self.tokens as f64,
            Kind::Cost => currency.and_then(|currency| self.cost.get(currency)).copied().unwrap_or_default(),
        }
    }

    /// Adds money.
    pub fn add_cost(&mut self, currency: &str, amount: f64) {
        if let Some(sum) = self.cost.get_mut(currency) {
            *sum += amount;
        } else if self.cost.len() < MAX_CURRENCIES {
            self.cost.insert(currency.to_owned(), amount);
        }
    }

    /// Adds other amounts.
    pub fn add(&mut self, other: &Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.running_ms = self.running_ms.saturating_add(other.running_ms);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.estimated |= other.estimated;
        // Bounded by MAX_CURRENCIES on both sides.
        for (currency, amount) in &other.cost {
            self.add_cost(currency, *amount);
        }
    }

    /// As clients see it.
    pub fn shown(&self) -> Value {
        // Thousandths of a minute are enough for anybody.
        let minutes = (self.amount(Kind::Minutes, None) * 1_000.0).round() / 1_000.0;
        let mut members = Map::new();
        members.insert("turns".to_owned(), self.turns.into());
        members.insert("minutes".to_owned(), shown(minutes));
        members.insert("tokens".to_owned(), self.tokens.into());
        if self.estimated {
            members.insert("estimated".to_owned(), true.into());
        }
        let cost = self.cost.iter().map(|(currency, amount)| json!({"amount": shown(*amount), "currency": currency}));
        members.insert("cost".to_owned(), cost.collect());
        Value::Object(members)
    }
}

/// What one session used on one day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Day {
    /// Which day, counted from 1970.
    pub day: i64,
    /// How much.
    pub used: Used,
    /// Whether the database of all sessions does not know it yet.
    pub untold: bool,
}

/// A limit that is used up, or nearly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Whose limit.
    pub scope: Scope,
    /// Of what.
    pub kind: Kind,
    /// The day, for a limit of a day; else 0.
    pub day: i64,
}

/// What a session knows of its use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// All that was ever used.
    pub total: Used,
    /// The present day and those before that were not told; oldest first, at most [`MAX_DAYS`].
    pub days: VecDeque<Day>,
    /// Goes up with each count, so that an older telling changes nothing.
    pub revision: u64,
    /// What the other sessions of the creator used on a day, as far as it was asked.
    pub others: Option<(i64, Used)>,
    /// Since when the time of a running turn was not counted; none while no time counts.
    pub counting_since: Option<i64>,
    /// When what is untold is told again.
    pub tell_at: Option<i64>,
    /// What the agent's present session has reported.
    pub meter: Meter,
    /// Limits of which it was told that they are nearly used up.
    pub warned: Vec<Reached>,
    /// Limits of which it was told that they are used up.
    pub reached: Vec<Reached>,
}

impl Usage {
    /// Counts something that was used now.
    pub fn count(&mut self, now: i64, count: impl Fn(&mut Used)) {
        let day = day_of(now);
        count(&mut self.total);
        if self.days.back().is_none_or(|last| last.day != day) {
            self.days.retain(|day| day.untold);
            self.days.push_back(Day { day, ..Day::default() });
            while self.days.len() > MAX_DAYS {
                self.days.pop_front();
            }
        }
        if let Some(last) = self.days.back_mut() {
            count(&mut last.used);
            last.untold = true;
        }
        self.revision = self.revision.saturating_add(1);
    }

    /// What all sessions of the creator used on the day of `now`, as far as it is known.
    pub fn user_day(&self, now: i64) -> Used {
        let day = day_of(now);
        let mut used = self.days.iter().find(|own| own.day == day).map(|own| own.used.clone()).unwrap_or_default();
        if let Some((_, others)) = self.others.as_ref().filter(|(asked, _)| *asked == day) {
            used.add(others);
        }
        used
    }

    /// Whether anything is untold.
    pub fn is_untold(&self) -> bool {
        self.days.iter().any(|day| day.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_kept_until_they_are_told() {
        let mut usage = Usage::default();
        usage.count(DAY_MS - 1, |used| used.turns += 1);
        usage.count(DAY_MS, |used| used.turns += 2);
        assert_eq!(usage.total.turns, 3);
        assert_eq!(usage.days.iter().map(|day| (day.day, day.used.turns)).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        usage.days[0].untold = false;
        usage.count(2 * DAY_MS, |used| used.turns += 4);
        assert_eq!(usage.days.iter().map(|day| day.day).collect::<Vec<_>>(), [1, 2]);
        for day in 3..100 {
            usage.count(day * DAY_MS, |used| used.turns += 1);
        }
        assert_eq!(usage.days.len(), MAX_DAYS);
    }

    #[test]
    fn the_day_of_a_user_is_that_of_all_sessions() {
        let mut usage = Usage::default();
        usage.count(5 * DAY_MS, |used| used.add_cost("USD", 1.25));
        usage.others = Some((5, Used { turns: 7, cost: [("USD".to_owned(), 0.5)].into(), ..Used::default() }));
        let used = usage.user_day(5 * DAY_MS + 3);
        assert_eq!((used.turns, used.cost["USD"]), (7, 1.75));
        assert_eq!(usage.user_day(6 * DAY_MS), Used::default(), "yesterday's does not count");
    }

    #[test]
    fn currencies_are_bounded() {
        let mut used = Used::default();
        for number in 0..100 {
            used.add_cost(&format!("C{number}"), 1.0);
        }
        assert_eq!(used.cost.len(), MAX_CURRENCIES);
    }
}
