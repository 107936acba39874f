//! Limits, as clients and operators write them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Used, is_currency, shown};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Prompts that were sent.
    Turns,
    /// Minutes in which a turn ran and waited for nobody.
    Minutes,
    /// Tokens of the model.
    Tokens,
    /// Money.
    Cost,
}

impl Kind {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 4] = [Self::Turns, Self::Minutes, Self::Tokens, Self::Cost];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Minutes => "minutes",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }
}

/// For whom a limit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One session, as long as it lives.
    Session,
    /// All sessions of its creator, on one day (UTC).
    UserDay,
}

impl Scope {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::UserDay => "user-day",
        }
    }
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// How much, above 0.
    pub amount: f64,
    /// Of what; compared as it is written.
    pub currency: String,
}

/// What may be used. What is not named is not limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<f64>,
    /// Minutes of running turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// Money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// How much of one limit is used.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    /// For whom the limit holds.
    pub scope: Scope,
    /// Of what.
    pub kind: Kind,
    /// The limit.
    pub limit: f64,
    /// What is used.
    pub used: f64,
    /// The currency of the budget's money.
    pub currency: Option<&'a str>,
    /// Whether some of the tokens are a lower bound.
    pub estimated: bool,
}

/// A budget that is none: members of other types, unknown members, numbers that are not above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("turns, minutes and tokens are positive numbers, cost is an amount and a currency")]
pub struct BudgetError;

impl Budget {
    /// Reads a budget. An unknown member is refused: a limit that is misspelt must not be taken for none.
    pub fn read(value: &Value) -> Result<Self, BudgetError> {
        let members = value.as_object().ok_or(BudgetError)?;
        let known = ["turns", "minutes", "tokens", "cost"];
        if members.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(BudgetError);
        }
        let budget: Self = serde_json::from_value(value.clone()).map_err(|_| BudgetError)?;
        let amounts = [budget.turns, budget.minutes, budget.tokens, budget.cost.as_ref().map(|cost| cost.amount)];
        let is_fine = amounts.into_iter().flatten().all(|amount| amount.is_finite() && amount > 0.0);
        let currency = budget.cost.as_ref().is_none_or(|cost| is_currency(&cost.currency));
        if is_fine && currency { Ok(budget) } else { Err(BudgetError) }
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limit of a kind.
    pub fn limit(&self, kind: Kind) -> Option<f64> {
        match kind {
            Kind::Turns => self.turns,
            Kind::Minutes => self.minutes,
            Kind::Tokens => self.tokens,
            Kind::Cost => self.cost.as_ref().map(|cost| cost.amount),
        }
    }

    /// The currency of its limit of money.
    pub fn currency(&self) -> Option<&str> {
        self.cost.as_ref().map(|cost| cost.currency.as_str())
    }

    /// How much of a limit is used: the limit and the use, where there is a limit.
    pub fn compare(&self, kind: Kind, used: &Used) -> Option<(f64, f64)> {
        Some((self.limit(kind)?, used.amount(kind, self.currency())))
    }

    /// The same, with what there is to tell about it.
    pub fn spent(&self, scope: Scope, kind: Kind, used: &Used) -> Option<Spent<'_>> {
        let (limit, amount) = self.compare(kind, used)?;
        Some(Spent { scope, kind, limit, used: amount, currency: self.currency(), estimated: used.estimated })
    }

    /// Whether a limit is used up. Sums of fractions may be a little below what they stand for.
    pub fn is_exhausted(&self, kind: Kind, used: &Used) -> bool {
        self.compare(kind, used).is_some_and(|(limit, used)| used >= limit * (1.0 - 1e-9))
    }

    /// As clients see it.
    pub fn shown(&self) -> Value {
        let mut members = Map::new();
        for (name, amount) in [("turns", self.turns), ("minutes", self.minutes), ("tokens", self.tokens)] {
            members.extend(amount.map(|amount| (name.to_owned(), shown(amount))));
        }
        if let Some(cost) = &self.cost {
            members.insert("cost".to_owned(), json!({"amount": shown(cost.amount), "currency": cost.currency}));
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_strictly() {
        let whole = json!({"turns": 3, "minutes": 1.5, "tokens": 1000, "cost": {"amount": 2.5, "currency": "USD"}});
        let budget = Budget::read(&whole).unwrap();
        assert_eq!(budget.shown(), whole);
        assert_eq!(Budget::read(&json!({})), Ok(Budget::default()));
        for wrong in [
            json!(null),
            json!([]),
            json!({"turn": 3}),
            json!({"turns": 0}),
            json!({"turns": -1}),
            json!({"turns": "3"}),
            json!({"cost": 5}),
            json!({"cost": {"amount": 5}}),
            json!({"cost": {"amount": 0, "currency": "USD"}}),
            json!({"cost": {"amount": 1, "currency": ""}}),
            json!({"cost": {"amount": 1, "currency": "US DOLLARS"}}),
        ] {
            assert_eq!(Budget::read(&wrong), Err(BudgetError), "{wrong}");
        }
    }

    #[test]
    fn other_currencies_are_compared_with_no_limit() {
        let budget = Budget { cost: Some(Cost { amount: 1.0, currency: "USD".into() }), ..Budget::default() };
        let mut used = Used::default();
        used.add_cost("EUR", 5.0);
        assert!(!budget.is_exhausted(Kind::Cost, &used));
        for _ in 0..10 {
            used.add_cost("USD", 0.1);
        }
        assert!(budget.is_exhausted(Kind::Cost, &used), "ten tenths are one");
    }
}
